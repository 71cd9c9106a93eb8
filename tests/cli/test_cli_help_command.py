"""`rafiki help`, and what a command is called elsewhere."""

from __future__ import annotations

import pytest
import typer.main

from rafiki.constants import ExitCode
from rafiki_cli import lazy
from rafiki_cli.commands.help import TOPICS
from rafiki_cli.completion.shell import complete
from rafiki_cli.main import RafikiGroup, _app


@pytest.mark.parametrize("words", [["train"], ["train", "create"], ["up"], ["help"]])
def test_the_help_of_a_command_is_that_of_its_option(cli, words: list[str]) -> None:
    assert cli("help", *words).out == cli(*words, "--help").out


def test_without_a_command_there_is_the_list_of_all_and_of_pages(cli) -> None:
    out = cli("help").out
    assert out.startswith(cli("--help").out.rstrip())
    assert [name for name in TOPICS if f"\n  {name} " not in out] == []


def test_a_page_of_the_reference_is_shown(cli) -> None:
    assert "TABULAR_REGRESSION" in cli("help", "tasks").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "There is no command `rafiki trian`. Did you mean 'train'?"),
        (["task"], "Did you mean 'tasks'?"),
        (["train", "crate"], "There is no command `rafiki train crate`. Did you mean 'create'?"),
        (["up", "now"], "There is no command `rafiki up now`. See `rafiki up --help`."),
    ],
)
def test_what_is_no_command_is_answered_with_the_nearest(cli, words: list[str], says: str) -> None:
    result = cli("help", *words)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert says in result.err


@pytest.mark.parametrize(
    ("typed", "meant"), [("stop", "down"), ("start", "up"), ("ps", "status"), ("Serve", "infer create")]
)
def test_a_name_of_other_programs_is_answered_with_ours(cli, typed: str, meant: str) -> None:
    result = cli(typed)
    assert result.code == ExitCode.USAGE
    assert f"Did you mean '{meant}'?" in result.err


def test_each_name_that_is_suggested_is_a_command(cli) -> None:
    for typed, meant in lazy._MEANT.items():
        assert typed not in RafikiGroup.modules()
        assert cli(*meant.split(), "--help").code == 0, meant


def test_up_and_down_are_side_by_side(cli) -> None:
    lines = [line.split()[0] for line in cli("--help").out.splitlines() if line.startswith("  ") and line.split()]
    assert lines.index("down") == lines.index("up") + 1


def test_its_words_are_completed() -> None:
    root = typer.main.get_command(_app)

    def values(*words: str) -> list[str]:
        return [value for value, _ in complete(root, ["help", *words[:-1]], words[-1]).values]

    assert values("ta") == ["tasks"]
    assert "create" in values("train", "cr")
    assert values("up", "") == []
