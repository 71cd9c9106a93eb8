from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from rafiki.constants import ExitCode
from rafiki_cli.main import RafikiGroup

HEAVY = ("httpx", "sqlalchemy", "pydantic", "pydantic_core", "rich", "yaml", "numpy", "msgspec", "psutil")


def _commands() -> list[str]:
    """Every command as it is typed, groups included."""
    found = []
    for name, module in RafikiGroup.modules().items():
        found.append(name)
        app = __import__(module, fromlist=["app"]).app
        subcommands = app.commands
        if name not in subcommands:
            found += [f"{name} {sub}" for sub in subcommands]
    return found


GROUPS = {name for name in RafikiGroup.modules() if any(c.startswith(f"{name} ") for c in _commands())}


@pytest.mark.parametrize("words", ["", "train", "train create", "train importance", "trial plot", "model upload", "up"])
def test_help_loads_none_of_the_heavy_libraries(words: str) -> None:
    code = (
        "import sys\nfrom rafiki_cli.main import main\n"
        f"code = main({[*words.split(), '--help']!r})\n"
        f"print('LOADED', code, [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED 0 []"
    assert "rafiki" in done.stdout


@pytest.mark.parametrize("command", _commands())
def test_every_command_has_help(cli, command: str) -> None:
    result = cli(*command.split(), "--help")
    assert result.code == 0
    assert f" rafiki {command}" in result.out


def _examples(text: str) -> list[str]:
    """The commands below "Examples:" in a help text."""
    return [line.strip() for line in text.partition("\nExamples:\n")[2].splitlines() if line.startswith("  ")]


@pytest.mark.parametrize("command", [c for c in _commands() if c not in GROUPS])
def test_every_command_shows_examples_of_itself_line_by_line(cli, monkeypatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    examples = _examples(cli(*command.split(), "--help").out)
    assert examples
    # A global option may stand before the command, and a shell's own words around it. One goes without its name.
    command = "train" if command == "train file" else command
    assert all(re.search(rf"\brafiki (--\w+ \S+ )?{command}\b", e) for e in examples), examples


@pytest.mark.parametrize("command", ["", *_commands()])
def test_help_fits_80_columns_with_options_in_one_column(cli, monkeypatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = cli(*command.split(), "--help").out
    assert [line for line in out.splitlines() if len(line) > 80] == []
    options = out.partition("\nOptions:\n")[2].partition("\n\n")[0].splitlines()
    starts = {m.end() for line in options if (m := re.match(r"  -.{1,28}?  +(?=\S)|  {4,}(?=\S)", line))}
    assert len(starts) <= 1, out


def test_the_help_of_rafiki_shows_every_command_in_a_section(cli) -> None:
    out = cli("--help").out
    listed = [name for section in RafikiGroup.sections.values() for name in section]
    assert len(listed) == len(set(listed))
    for heading, section in RafikiGroup.sections.items():
        below = out.partition(f"\n{heading}:\n")[2].partition("\n\n")[0]
        assert re.findall(r"(?m)^  (\S+) +\S", below) == list(section)


def test_no_help_of_any_command_loads_a_heavy_library() -> None:
    code = (
        f"import contextlib, io, sys\nfrom rafiki_cli.main import main\nfor command in {['', *_commands()]!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        assert main([*command.split(), '--help']) == 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("trian", "'train'"),
        ("contxt list", "'context'"),
        ("train craete", "'create'"),
        ("token revok x", "'revoke'"),
        ("config sett", "'set'"),
        ("train create --trils 3", "'--trials'"),
        ("train list --ouput json", "'--output'"),
        ("up --foregroud", "'--foreground'"),
        ("status --contxt x", "'--context'"),
        ("status --quite", "'--quiet'"),
        ("--verson", "'--version'"),
    ],
)
def test_what_is_mistyped_is_answered_with_the_nearest(cli, typed: str, meant: str) -> None:
    result = cli(*typed.split())
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert f"Did you mean {meant}?" in result.err


def test_what_is_near_to_nothing_gets_no_suggestion(cli) -> None:
    for typed in (["xyzzy"], ["train", "xyzzy"], ["train", "list", "--xyzzy"]):
        result = cli(*typed)
        assert result.code == ExitCode.USAGE
        assert "Did you mean" not in result.err


def test_a_misspelt_command_is_answered_with_the_nearest_one(cli) -> None:
    result = cli("trian")
    assert result.code == ExitCode.USAGE
    assert "Did you mean" in result.err


def test_an_unknown_option_is_a_usage_error(cli) -> None:
    assert cli("status", "--nonsense").code == ExitCode.USAGE


@pytest.mark.parametrize("arguments", [["--config"], ["status", "--admin"]])
def test_a_global_option_without_a_value_is_a_usage_error(cli, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert result.code == ExitCode.USAGE
    assert "needs a value" in result.err


def test_version_prints_the_version_alone(cli) -> None:
    from rafiki import __version__

    assert cli("version") == cli("--version") == (0, f"{__version__}\n", "")
    assert json.loads(cli("version", "-o", "json").out) == {"version": __version__}


@pytest.mark.parametrize("group", ["train", "dataset", "model", "trial", "infer", "user", "config"])
def test_the_help_of_a_group_is_not_cut(cli, monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = cli(group, "--help").out
    assert "..." not in out.partition("Commands:")[2]


def test_the_superadmin_is_no_type_to_choose(cli) -> None:
    assert "superadmin" not in cli("user", "create", "--help").out.lower()
    assert cli("user", "create", "a@rafiki", "--type", "SUPERADMIN").code == ExitCode.USAGE
