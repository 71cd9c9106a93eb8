"""What people read names no path that a wheel does not bring: helps, messages, and the files that are generated."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rafiki_cli.commands.help import TOPICS, page
from rafiki_cli.main import RafikiGroup, main

ROOT = Path(__file__).parents[1]
# Folders of the checkout. `tests` and `models` are also folders of a project that `rafiki init` makes.
_PATH = re.compile(r"(?<![\w/.{-])(?:docs|templates|examples|benchmarks|rafiki|rafiki_cli|\.ci)/[\w./-]*\w")
_OF_A_PROJECT = re.compile(r"(?<![\w/.{-])(?:tests|data|models|schemas)/[\w./-]*\w")


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module that are no documentation of code."""
    tree = ast.parse(file.read_text("utf-8"))
    kept = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in kept:
            yield node.lineno, node.value


def _sources() -> list[Path]:
    return [file for package in ("rafiki", "rafiki_cli") for file in sorted((ROOT / package).rglob("*.py"))]


def test_no_message_names_a_file_of_the_checkout() -> None:
    found = [
        f"{file.relative_to(ROOT)}, line {line}: {m[0]}"
        for file in _sources()
        for line, text in _texts(file)
        for m in _PATH.finditer(text)
    ]
    assert found == []


def test_the_scan_finds_what_it_is_for(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text('"""docs/index.md"""\nHELP = f"see docs/reference/tasks.md for {1}"\n')
    assert [_PATH.search(text)[0] for _, text in _texts(file) if _PATH.search(text)] == ["docs/reference/tasks.md"]  # type: ignore[index]


def _commands() -> list[str]:
    found = []
    for name, module in RafikiGroup.modules().items():
        app = __import__(module, fromlist=["app"]).app
        found += [name] if name in app.commands else [name, *(f"{name} {sub}" for sub in app.commands)]
    return found


@pytest.mark.parametrize("command", ["", *_commands()])
def test_no_help_names_a_file_of_the_checkout(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    assert _PATH.findall(capsys.readouterr().out) == []


def _generated() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "templates", "docs/reference/tasks.md", "docs/reference/search.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [ROOT / name for name in listed.stdout.splitlines()]
    return [f for f in names if f.suffix not in (".zip", ".png", ".wav") and f.name != "make_samples.py"]


def test_no_file_that_is_copied_into_a_project_names_one_of_the_checkout() -> None:
    files = _generated()
    assert len(files) > 20
    found = [f"{f.relative_to(ROOT)}: {m[0]}" for f in files for m in _PATH.finditer(f.read_text("utf-8", "replace"))]
    assert found == []


def test_a_project_has_every_path_that_its_files_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "demo"
    assert main(["init", str(project)]) == 0
    capsys.readouterr()
    for file in project.rglob("*"):
        if file.is_file() and file.suffix in ("", ".md", ".yaml", ".yml", ".py", ".toml", ".txt"):
            for m in _OF_A_PROJECT.finditer(file.read_text("utf-8")):
                assert (project / m[0]).exists() or (project / file.parent / m[0]).exists(), (file.name, m[0])


def test_each_page_is_readable_without_its_links() -> None:
    for topic in TOPICS:
        text = page(topic)
        assert text.startswith("# ")
        assert "](" not in text
