"""Messages on a terminal: their lines are broken between words, and not within what people copy."""

from __future__ import annotations

import io
import os

import pytest

from rafiki_cli import terminal


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((30, 20)))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("one two three four five six seven", ["one two three four five six", "seven"]),
        ("  an indented line that is too long for it", ["  an indented line that is too", "  long for it"]),
        ("look at it with `rafiki train watch demo` now", ["look at it with", "`rafiki train watch demo` now"]),
        (
            "at http://127.0.0.1:40123/predict?with=a-long-end it is",
            ["at", "http://127.0.0.1:40123/predict?with=a-long-end", "it is"],
        ),
        ("a first line\nand a second one that does not fit", ["a first line", "and a second one that does not", "fit"]),
        ("", [""]),
    ],
)
def test_lines_are_broken_between_words(text: str, lines: list[str]) -> None:
    assert terminal.fitted(text, stream=Tty()).split("\n") == lines


def test_what_goes_into_a_file_is_left_as_it_is() -> None:
    text = "one two three four five six seven eight nine"
    assert terminal.fitted(text, stream=io.StringIO()) == text


def test_a_value_hangs_beside_its_title() -> None:
    text = terminal.fitted("TITLE  one two three four five six", stream=Tty(), indent=" " * 7)
    assert text.split("\n") == ["TITLE  one two three four five", "       six"]
