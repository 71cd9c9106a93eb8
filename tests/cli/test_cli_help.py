from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer.main

from rafiki.constants import ExitCode
from rafiki_cli.main import RafikiGroup

HEAVY = ("httpx", "sqlalchemy", "pydantic", "pydantic_core", "rich", "yaml", "numpy", "msgspec", "psutil")


def _commands() -> list[str]:
    """Every command as it is typed, groups included."""
    found = []
    for name, (module, _) in RafikiGroup.table.items():
        found.append(name)
        loaded = typer.main.get_command(__import__(module, fromlist=["app"]).app)
        subcommands = getattr(loaded, "commands", {})
        if name not in subcommands:
            found += [f"{name} {sub}" for sub in subcommands]
    return found


@pytest.mark.parametrize("arguments", [[], ["train"], ["train", "create"], ["model", "upload"], ["logs"], ["up"]])
def test_help_loads_none_of_the_heavy_libraries(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom rafiki_cli.main import main\n"
        f"code = main({[*arguments, '--help']!r})\n"
        f"print('LOADED', code, [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED 0 []"
    assert "Usage: rafiki" in done.stdout


@pytest.mark.parametrize("command", _commands())
def test_every_command_has_help(cli, command: str) -> None:
    result = cli(*command.split(), "--help")
    assert result.code == 0
    assert f"Usage: rafiki {command}" in result.out


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
