"""The screens in the documentation are what a terminal of 80 columns shows."""

from __future__ import annotations

import os
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from docs._generate import lessons, screen_svg, screens

KEPT = screens.FOLDER
_SVG = "http://www.w3.org/2000/svg"


def test_a_screen_is_what_stands_there_at_the_end() -> None:
    live = b"working 1\r\x1b[2Kworking 2\r\x1b[2K\x1b[32mdone\x1b[0m\r\n"
    assert screens.screen_of(live) == "done\n"


def test_what_scrolled_out_of_a_screen_is_kept() -> None:
    data = b"".join(b"line %d\r\n" % i for i in range(100))
    assert screens.screen_of(data, lines=10).splitlines() == [f"line {i}" for i in range(100)]


def test_a_long_line_is_broken_where_a_terminal_breaks_it() -> None:
    assert screens.screen_of(b"x" * 100).splitlines() == ["x" * 80, "x" * 20]


def test_a_command_runs_on_a_terminal_of_80_columns(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns); sys.exit(7)"
    status, data = screens.run_in_terminal([sys.executable, "-c", code], tmp_path, dict(os.environ), 60.0)
    assert (status, screens.screen_of(data)) == (7, "True 80\n")


def test_a_command_that_does_not_end_is_ended_and_its_screen_is_told(tmp_path: Path) -> None:
    code = "import signal; print('waiting', flush=True); signal.pause()"
    with pytest.raises(screens.ScreenError, match="has not ended after 3 s:\nwaiting"):
        screens.run_in_terminal([sys.executable, "-c", code], tmp_path, dict(os.environ), 3.0)


def test_what_is_typed_is_typed_when_it_is_asked_for(tmp_path: Path) -> None:
    code = "print(input('Go on? ') + input('Sure? '))"
    answers = [lessons.Answer("Go on? ", "y\n"), lessons.Answer("Sure? ", "es\n")]
    status, data = screens.run_in_terminal([sys.executable, "-c", code], tmp_path, dict(os.environ), 60.0, answers)
    assert (status, screens.screen_of(data)) == (0, "Go on? y\nSure? es\nyes\n")


def test_a_step_that_fails_says_what_was_on_the_screen(tmp_path: Path) -> None:
    step = lessons.Step("rafiki trian")
    with pytest.raises(screens.ScreenError, match=r"rafiki trian ended with 2:(.|\n)*No such command"):
        screens.capture(step, tmp_path, screens.environment(tmp_path))


def test_a_step_of_several_commands_shows_each_and_ends_with_the_first_that_fails(tmp_path: Path) -> None:
    step = lessons.Step(
        ["export A=it", lessons.Typed("echo ...", "echo $A"), "exit_with() { return $1; }; exit_with 3", "echo no"]
    )
    with pytest.raises(screens.ScreenError) as raised:
        screens.capture(step, tmp_path, screens.environment(tmp_path))
    assert "ended with 3:\n$ export A=it\n$ echo ...\nit\n$ exit_with()" in str(raised.value)
    assert "\nno" not in str(raised.value)


def test_a_lesson_that_is_no_lesson_is_refused_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("steps: [{rum: ls}]")
    with pytest.raises(ValueError, match=r"^odd\.yaml: "):
        lessons.read_lessons(tmp_path)


_OF_THE_MACHINE = (
    r"Port 0, the usual one, is taken by .*? from now on\. ",
    r"warning: Model code runs without a box \(.*?`apt install bubblewrap`\)\. ",
)


def _told(text: str) -> str:
    """A screen without its numbers, ids, times and columns."""
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{64}\b|\b[0-9a-f]{8}\b", "ID", text)
    told = " ".join(re.sub(r"─+", "─", re.sub(r"\d+", "0", text)).split())
    # How many of a few trials run side by side, and so which of them are chosen, is a matter of the moment.
    told = re.sub(r"\b0 (trial|model|member|worker)s?\b", r"0 \1s", told)
    # Of this machine: another stack has the usual port, or nothing makes boxes for models.
    return re.sub("|".join(_OF_THE_MACHINE), "", told)


@pytest.mark.acceptance
@pytest.mark.long
@pytest.mark.parametrize("name", ["team", "own-model"])
def test_a_lesson_still_shows_what_was_captured(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(screens, "FOLDER", tmp_path)
    (lesson,) = [lesson for lesson in lessons.read_lessons() if lesson.name == name]
    assert screens.play(lesson, [])
    stable = [str(step.screen) for step in lesson.steps if step.is_stable]
    assert stable
    kept = {name: _told((KEPT / f"{name}.txt").read_text("utf-8")) for name in stable}
    assert {name: _told((tmp_path / f"{name}.txt").read_text("utf-8")) for name in stable} == kept


def test_the_kept_screens_fit_their_terminal_and_name_no_folder_of_the_run() -> None:
    steps = [step for lesson in lessons.read_lessons() for step in lesson.steps if step.screen]
    assert steps
    for step in steps:
        text = (KEPT / f"{step.screen}.txt").read_text("utf-8")
        assert max(map(len, text.splitlines())) <= step.columns, step.screen
        assert not [folder for folder in ("/tmp/", sys.prefix, str(lessons.ROOT)) if folder in text], step.screen
        assert not re.search(r"rfk_\w", text), step.screen
        assert text.strip(), step.screen


def test_a_screen_as_svg_keeps_its_columns_its_colours_and_what_is_dim() -> None:
    data = b"\x1b[1;32mgood\x1b[0m \x1b[2mso so\x1b[0m  <b> \x1b[7mturned\x1b[0m\r\n"
    svg = screen_svg.to_svg(screen_svg.lines_of(data, 80, 5), "rafiki <run>", 80)
    root = ET.fromstring(svg)
    texts = [(t.text, t.get("x"), t.get("fill"), t.get("font-weight")) for t in root.iter(f"{{{_SVG}}}text")]
    dark, green, grey = "#16211f", "#7ed385", "#8c9c98"
    assert texts[1:] == [
        ("good", "12", green, "bold"),
        ("so so", "52", grey, None),
        ("<b>", "108", None, None),
        ("turned", "140", dark, None),
    ]
    assert root.get("aria-label") == "The screen of rafiki <run>"


def test_the_kept_drawings_say_the_same_as_the_texts_are_small_and_name_no_host() -> None:
    for file in sorted(screens.FOLDER.glob("*.txt")):
        svg = file.with_suffix(".svg").read_text("utf-8")
        assert len(svg) < 25_000, file.name
        hosts = set(re.findall(r"https?://([\w.]+)", svg.replace(f'xmlns="{_SVG}"', "")))
        assert hosts <= {"127.0.0.1", "10.0.0.1"}, file.name
        shown = "".join(str(t.text) for t in list(ET.fromstring(svg).iter(f"{{{_SVG}}}text"))[1:])
        assert "".join(shown.split()) == "".join(file.read_text("utf-8").split()), file.name
