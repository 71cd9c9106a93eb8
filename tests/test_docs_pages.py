"""The pages are built without a warning, their links lead somewhere, and what people should type is understood."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs._generate import commands, lessons, pages
from rafiki_cli.target import options

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MADE = DOCS / pages.COMMANDS
SOURCES = [
    file
    for file in sorted(DOCS.rglob("*.md"))
    if "_build" not in file.relative_to(DOCS).parts and (file.parent != MADE or file.stem == "index")
]
PAGES = [file for file in SOURCES if "_notes" not in file.parts]
FILES = [ROOT / "README.md", ROOT / "examples" / "README.md", *SOURCES]
COMMANDS = {c.path: c for c in commands.walk()}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def without_blocks(text: str) -> str:
    return re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)


# ---- the build


@pytest.mark.long
def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    built = {file.relative_to(tmp_path).with_suffix("").as_posix() for file in tmp_path.rglob("*.html")}
    assert {file.relative_to(DOCS).with_suffix("").as_posix() for file in PAGES} <= built
    assert {f"reference/commands/{group.path[0]}" for group in commands.groups()} <= built
    settings = (tmp_path / "reference" / "settings.html").read_text("utf-8")
    assert 'id="confval-admin.port"' in settings
    assert "from the code:" not in settings


def test_what_is_generated_is_always_the_same_text() -> None:
    code = (
        "from docs._generate import pages\n"
        "for name in sorted(pages.FRAGMENTS): print(pages.FRAGMENTS[name]())\n"
        "for text in pages.command_pages().values(): print(text)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]


def test_every_generated_part_has_a_place_on_one_page() -> None:
    text = "\n".join(file.read_text("utf-8") for file in PAGES)
    found = re.findall(r"^<!-- from the code: ([\w-]+) -->$", text, re.MULTILINE)
    assert sorted(found) == sorted(pages.FRAGMENTS)


def test_a_page_that_asks_for_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(KeyError):
        pages.fill("<!-- from the code: nonsense -->")


def test_every_screen_is_shown_and_no_other_is_kept() -> None:
    text = "\n".join(file.read_text("utf-8") for file in PAGES)
    shown = set(re.findall(r"^```{screen} ([\w-]+)$", text, re.MULTILINE))
    shown |= set(re.findall(r"\(docs/screens/([\w-]+)\.svg\)", (ROOT / "README.md").read_text("utf-8")))
    kept = {name for lesson in lessons.read_lessons() for name in lesson.screens}
    for suffix in ("txt", "svg"):
        assert {file.stem for file in (DOCS / "screens").glob(f"*.{suffix}")} == shown == kept


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.parent.name in ("tutorial", "howto") or f.name == "README.md"], ids=name_of
)
def test_what_commands_answer_is_captured_and_never_typed_by_hand(file: Path) -> None:
    languages = re.findall(r"^```(\S*)", file.read_text("utf-8"), re.MULTILINE)[::2]
    assert {name for name in languages if not name.startswith("{")} <= {"sh", "python", "yaml", "toml", "json"}


@pytest.mark.parametrize("file", PAGES, ids=name_of)
def test_a_page_begins_with_words_to_its_reader(file: Path) -> None:
    text = file.read_text("utf-8")
    assert re.match(r"# [^\n]+\n\n[A-Z`][^\n]{30,}", text), "a heading, then what the reader will be able to do"
    assert not re.search(r"^# ", without_blocks(text)[2:], re.MULTILINE), "one title a page"


# ---- links


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_links_within_the_repository_lead_somewhere(file: Path) -> None:
    text = without_blocks(file.read_text("utf-8"))
    # Prose that is woven into pages is linked from where it ends up.
    folder = {"commands": MADE}.get(file.stem, DOCS / "reference") if "_notes" in file.parts else file.parent
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path = link.partition("#")[0]
        if re.match(r"\w+://", link) or not path:
            continue
        target = (folder / path).resolve()
        made = target.parent == MADE and target.name in pages.command_pages()
        assert target.exists() or made, f"{link} in {file.name}"


def test_the_readme_leads_to_every_kind_of_page() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for part in ("tutorial/first-project.md", "howto/", "reference/", "explanation/architecture.md", "contributing.md"):
        assert f"(docs/{part}" in readme


def test_files_beside_the_docs_name_pages_that_there_are() -> None:
    files = [*ROOT.glob("*.md"), *ROOT.glob("*.yaml"), *ROOT.glob("Makefile")]
    for folder in ("rafiki", "rafiki_cli", "benchmarks", "examples", "templates", "tests"):
        files += [f for end in ("py", "md", "yaml") for f in (ROOT / folder).rglob(f"*.{end}")]
    named = [(f, m) for f in files for m in re.findall(r"\bdocs/[\w/.-]+\.md\b", f.read_text("utf-8", "replace"))]
    assert len(named) > 5
    assert [(f.name, m) for f, m in named if not (ROOT / m).is_file() and f.name != "CHANGELOG.md"] == []


# ---- what people are told to type


def shell_lines(text: str) -> Iterator[str]:
    """What is typed in all shell blocks, continued lines joined, without comments and without what is answered."""
    for block in re.findall(r"^```(?:sh|console|bash)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        lines = block.replace("\\\n", " ").splitlines()
        typed = [line[2:] for line in lines if line.startswith("$ ")]
        for line in typed or lines:
            if re.search(r"\brafiki\s", line):
                yield re.sub(r"\s#\s.*$", "", line)


def rafiki_calls(line: str) -> Iterator[list[str]]:
    """The arguments of each call of rafiki in a line: also after ``&&``, a pipe, a case label or variables."""
    lexer = shlex.shlex(re.sub(r"\$\(.*?\)", "X", line), posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split, lexer.commenters = True, ""
    words = list(lexer)
    while words:
        end = next((i for i, w in enumerate(words) if set(w) <= set("();<>|&")), len(words))
        part, words = words[:end], words[end + 1 :]
        while part and re.match(r"[A-Z_]+=|\$$|export$", part[0]):
            part.pop(0)
        if part[:1] == ["rafiki"]:
            yield part[1:]


def take_command(words: list[str]) -> tuple[str, ...]:
    """The command that words begin with, which is taken from them."""
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in COMMANDS:
        path = (*path, words.pop(0))
    # `rafiki train titanic.csv`: the command that takes a file goes without its name.
    takes_file = (*path, "file") in COMMANDS and words and "." in words[0]
    return (*path, "file") if takes_file else path


def check_call(arguments: list[str]) -> str | None:
    """Why the command line would not understand a call; None when it would."""
    _, rest = options.take_global_options(arguments)
    if not rest or rest == ["--version"]:
        return None
    path = take_command(rest)
    if not path or (COMMANDS[path].is_group and rest and "--help" not in rest):
        return f"there is no command {' '.join([*path, *rest[:1]])!r}"
    if COMMANDS[path].is_group or "--help" in rest:
        return None
    try:
        COMMANDS[path].command.make_context(" ".join(path), list(rest))
    except Exception as e:
        message = str(getattr(e, "message", e)) or type(e).__name__
        return None if re.search(r"does not exist|No such file", message) else message
    return None


def examples() -> Iterator[tuple[str, str]]:
    for file in FILES:
        for line in shell_lines(file.read_text("utf-8")):
            yield name_of(file), line
    for lesson in lessons.read_lessons():
        for step in lesson.steps:
            # A lesson may show what goes wrong.
            if step.exit_codes == (0,):
                yield from ((f"lesson {lesson.name}", command.show) for command in step.commands)
    for command in COMMANDS.values():
        for line in commands.examples(command):
            yield command.name, re.sub(r"\s#\s.*$", "", line)


def test_every_command_that_is_shown_would_be_understood() -> None:
    calls = [(where, line, call) for where, line in examples() for call in rafiki_calls(line)]
    assert len(calls) > 60
    wrong = [f"{where}: {line.strip()}: {why}" for where, line, call in calls if (why := check_call(call))]
    assert wrong == []


def test_what_would_not_be_understood_is_found() -> None:
    for line in (
        "rafiki trian create",
        "rafiki train show",
        "rafiki train list --nonsense",
        "up && rafiki status a b c",
    ):
        assert [why for call in rafiki_calls(line) if (why := check_call(call))], line


def spans() -> Iterator[tuple[str, list[str]]]:
    """Commands that are named within sentences."""
    for file in FILES:
        for span in re.findall(r"`(rafiki [a-z][^`\n]*)`", without_blocks(file.read_text("utf-8"))):
            yield name_of(file), re.split(r"[|;]|&&", span)[0].split()[1:]


def test_every_command_and_option_that_is_named_exists() -> None:
    known: dict[tuple[str, ...], Any] = COMMANDS
    wrong = []
    for where, words in spans():
        path = take_command(words)
        names = {o for p in known[path].command.params for o in (*p.opts, *p.secondary_opts)} if path else set()
        names |= {w.rstrip(",") for option in commands.global_options() for w in option.split() if w.startswith("-")}
        unknown = [w.split("=")[0] for w in words if re.match(r"--?[a-z]", w) and w.split("=")[0] not in names]
        is_no_command = not path or (known[path].is_group and words and words[0].islower())
        wrong += [f"{where}: rafiki {' '.join([*path, *words])}"] if unknown or is_no_command else []
    assert wrong == []
