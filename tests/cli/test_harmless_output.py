"""What strangers named or logged does nothing to the terminal of who reads it."""

from __future__ import annotations

import sys

import pytest

from rafiki_cli import terminal
from rafiki_cli.render.output import Column

TITLE, CLIPBOARD, CLEAR = "\x1b]0;pwned\x07", "\x1b]52;c;cm0gLXJm\x07", "\x1b[2J\x1b[H"


@pytest.mark.parametrize("hostile", [TITLE, CLIPBOARD, CLEAR, "\x9b2J", "\rerror: gone", "a\bb", "\x00"])
def test_what_a_terminal_would_act_upon_is_replaced(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(hostile)
    terminal.report(hostile)
    told = capsys.readouterr().err
    assert "\ufffd" in told
    assert not set(told) & {"\x1b", "\x9b", "\x07", "\r", "\b", "\x00"}


def test_colours_lines_and_tabs_stay() -> None:
    text = "\x1b[31mred\x1b[0m\tand\nmore\r\nof it"
    assert terminal.harmless(text) == "\x1b[31mred\x1b[0m\tand\nmore\nof it"


def test_data_is_harmless_on_a_terminal_and_as_it_is_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.put("a\bb")
    assert capsys.readouterr().out == "a\bb\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    terminal.put("a\bb")
    assert capsys.readouterr().out == "a\ufffdb\n"
    column: Column[str] = Column("NAME", lambda row: row)
    assert column.cell("a" + CLEAR, is_short=True) == "a\ufffd[2J\ufffd[H"
