"""Lessons: what is typed for the screens that the pages show, read from ``docs/lessons/NAME.yaml``.

A lesson is played in an empty home of its own, from its first step to its last. A step runs one or several commands in
one shell, and is kept as the screen that it names; a step without a screen only prepares what follows.

| key of a step | meaning |
|---|---|
| ``run`` | the command, or a list of them; of ``{show: ..., run: ...}`` the first is shown and the second is run |
| ``screen`` | the name of the screen that is kept |
| ``in`` | the folder, below the lesson's home; made when it is missing |
| ``before`` | commands that are run in the same shell before, unseen |
| ``answers`` | what is typed: a list of ``{when: TEXT ON THE SCREEN, type: TEXT}`` |
| ``write`` | ``{file: ..., page: ..., block: N}``: the file that a page tells its reader to save |
| ``copy`` | a file of ``docs/lessons`` or of the repository that is put into the folder |
| ``exit_codes`` | what each command may end with; 0 unless said otherwise |
| ``deadline_s`` | how long all of the step may take, in seconds |
| ``is_stable`` | all but numbers, ids and times is the same every time: a test plays it again and compares |
| ``columns`` | the width of the terminal: 80, and more for what is read in logs |
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
FOLDER = DOCS / "lessons"


class Typed(msgspec.Struct, forbid_unknown_fields=True):
    """A command that is shown in another form than it is run in."""

    show: str
    run: str


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What is typed when a text is on the screen."""

    when: str
    type: str


class SavedBlock(msgspec.Struct, forbid_unknown_fields=True):
    """A block of code of a page, counted from 0, that is saved as a file."""

    file: str
    page: str
    block: int = 0


class Step(msgspec.Struct, forbid_unknown_fields=True, rename={"folder": "in"}):
    """One screen of a lesson, or what prepares the next."""

    run: str | Typed | list[str | Typed] = []
    screen: str | None = None
    folder: str = "."
    before: list[str] = []
    answers: list[Answer] = []
    write: SavedBlock | None = None
    copy: str | None = None
    exit_codes: tuple[int, ...] = (0,)
    deadline_s: float = 300.0
    columns: int = 80
    is_stable: bool = False

    @property
    def commands(self) -> list[Typed]:
        lines = self.run if isinstance(self.run, list) else [self.run]
        return [Typed(line, line) if isinstance(line, str) else line for line in lines]

    @property
    def title(self) -> str:
        """What the bar above the screen says: the command, where there is one alone."""
        return self.commands[0].show if len(self.commands) == 1 else ""


class Lesson(msgspec.Struct, forbid_unknown_fields=True):
    """Steps that are played one after the other in one home."""

    steps: list[Step]
    name: str = ""
    needs_hosts: bool = False
    """Two Docker hosts in one Swarm: :mod:`docs._generate.hosts` says by which variables steps find them."""

    @property
    def screens(self) -> list[str]:
        return [step.screen for step in self.steps if step.screen]


def read_lessons(folder: Path = FOLDER) -> list[Lesson]:
    """All lessons, by name.

    Raises:
        ValueError: naming the file whose form is not that of a lesson.
    """
    lessons = []
    for file in sorted(folder.glob("*.yaml")):
        try:
            lesson = msgspec.yaml.decode(file.read_bytes(), type=Lesson)
        except (msgspec.MsgspecError, ValueError) as e:
            raise ValueError(f"{file.name}: {e}") from None
        lesson.name = file.stem
        lessons.append(lesson)
    return lessons


def script_of(step: Step) -> str:
    """The shell script of a step. It ends with the code of the first command that is not as told, else of the last."""
    wanted = " ".join(map(str, step.exit_codes))
    lines = [
        f"{{ {line}\n}} >/dev/null 2>&1 || {{ echo {shlex.quote(f'before: {line}')}; exit 97; }}"
        for line in step.before
    ]
    for command in step.commands:
        if len(step.commands) > 1:
            lines.append(f"printf '\\033[1m$ %s\\033[0m\\n' {shlex.quote(command.show)}")
        lines.append(f"{command.run}\ncode=$?; case ' {wanted} ' in *\" $code \"*) ;; *) exit $code ;; esac")
    return "\n".join([*lines, "exit $code" if step.commands else "exit 0"])


def saved_block(block: SavedBlock) -> str:
    """The text of a block of Python or YAML of a page.

    Raises:
        ValueError: when the page has fewer blocks.
    """
    text = (DOCS / block.page).read_text("utf-8")
    found = re.findall(r"^```(?:python|yaml)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    if block.block >= len(found):
        raise ValueError(f"{block.page} has {len(found)} blocks of code, not one of number {block.block}.")
    return str(found[block.block])
