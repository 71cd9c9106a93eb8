"""Captured terminal screens, shown by the directive ``{screen} NAME``.

``make screens`` plays the lessons of ``docs/lessons`` in pseudo-terminals of 80 columns, with projects and stacks of
their own, and keeps what a person would have seen: ``docs/screens/NAME.txt`` as text, ``NAME.svg`` with its colours.
``make screens NAMES='first-project predict'`` plays only the lessons of these names, or those that have these screens,
and keeps only these.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docs._generate.hosts import two_hosts
from docs._generate.lessons import FOLDER as LESSONS
from docs._generate.lessons import ROOT, Answer, Lesson, Step, read_lessons, saved_block, script_of
from docs._generate.screen_svg import lines_of, text_of, to_svg

FOLDER = ROOT / "docs" / "screens"
COLUMNS, LINES = 80, 45


# ---- in the pages


def directive(folder: Path) -> Any:
    """The Sphinx directive that shows a captured screen as a terminal would."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class Screen(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[nodes.Node]:
            name = self.arguments[0]
            file, drawn = folder / f"{name}.txt", folder / f"{name}.svg"
            for path in (file, drawn):
                self.env.note_dependency(str(path))
                if not path.is_file():
                    raise self.error(f"There is no screen {path.name}: run `make screens`.")
            text = file.read_text("utf-8").rstrip()
            # The drawing is for the eyes; its text is for those who cannot see it, and for the search.
            box = nodes.container(classes=["screen"])
            box += nodes.raw("", drawn.read_text("utf-8"), format="html")
            box += nodes.literal_block(text, text, language="text")
            return [box]

    return Screen


# ---- in a terminal


class ScreenError(Exception):
    """A command of the lesson did not do what the lesson says."""


def screen_of(data: bytes, columns: int = COLUMNS, lines: int = LINES) -> str:
    """What is on a terminal after these bytes, with what scrolled out at its top."""
    return text_of(lines_of(data, columns, lines))


def run_in_terminal(
    command: Sequence[str],
    folder: Path,
    environ: dict[str, str],
    deadline_s: float,
    answers: Sequence[Answer] = (),
    columns: int = COLUMNS,
) -> tuple[int, bytes]:
    """Run a command on a pseudo-terminal; returns its exit status and all that it wrote there.

    Each answer is typed once, in their order, when what it waits for has come on the screen.

    Raises:
        ScreenError: when it has not ended by the deadline.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    process = subprocess.Popen(
        command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    out = bytearray()
    waiting, seen = list(answers), 0
    end = time.monotonic() + deadline_s
    try:
        while (left := end - time.monotonic()) > 0:
            if not select.select([ours], [], [], min(left, 1.0))[0]:
                # A service that was started may hold the terminal open after its command has ended.
                if process.poll() is not None:
                    break
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # nobody holds the other side any more
                break
            if not data:
                break
            out += data
            if waiting and (at := out.find(waiting[0].when.encode(), seen)) >= 0:
                seen = at + len(waiting[0].when)
                os.write(ours, waiting.pop(0).type.encode())
        if time.monotonic() >= end:
            raise ScreenError(f"{' '.join(command)} has not ended after {deadline_s:g} s:\n{screen_of(bytes(out))}")
        return process.wait(timeout=30), bytes(out)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        os.close(ours)


def environment(home: Path) -> dict[str, str]:
    """The environment of a person who has just opened a terminal, with this checkout as the installed Rafiki."""
    kept = {k: v for k, v in os.environ.items() if k in ("LD_LIBRARY_PATH", "TMPDIR", "LANG")}
    programs = home / ".bin"
    programs.mkdir(exist_ok=True)
    for name, line in (("rafiki", f"{sys.executable} -m rafiki_cli"), ("python", sys.executable)):
        (programs / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (programs / name).chmod(0o755)
    return {
        "LANG": "C.UTF-8",
        **kept,
        "PATH": f"{programs}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "OMP_NUM_THREADS": "1",
        "CHECKOUT": str(ROOT),
    }


def _as_told(data: bytes, home: Path, environ: dict[str, str]) -> bytes:
    """What a command wrote, without what is this machine's alone, or a secret; before a terminal breaks its lines."""
    places: list[tuple[object, str]] = [(home, "~"), (sys.prefix, "~/.venv"), (ROOT, "~/rafiki")]
    if "NODE2" in environ:
        places += [(environ["NODE2"], "ssh://root@node2"), (environ["ADDRESS"], "10.0.0.1")]
    for place, told in places:
        data = data.replace(str(place).encode(), told.encode())
    return re.sub(rb"\brfk_\w[\w-]+", b"rfk_...", data)


def capture(step: Step, home: Path, environ: dict[str, str]) -> bytes:
    """Run one step and return what it wrote.

    Raises:
        ScreenError: when it ends in another way than the lesson says.
    """
    folder = home / step.folder
    folder.mkdir(parents=True, exist_ok=True)
    if step.copy:
        source = LESSONS / step.copy
        shutil.copy(source if source.is_file() else ROOT / step.copy, folder)
    if step.write:
        (folder / step.write.file).write_text(saved_block(step.write), "utf-8")
    command = ["bash", "-c", script_of(step)]
    code, data = run_in_terminal(command, folder, environ, step.deadline_s, step.answers, step.columns)
    data = _as_told(data, home, environ)
    if code not in step.exit_codes:
        shown = "; ".join(command.show for command in step.commands)
        raise ScreenError(f"{shown} ended with {code}:\n{screen_of(data)}")
    return data


def _keep(step: Step, data: bytes) -> None:
    FOLDER.mkdir(exist_ok=True)
    lines = lines_of(data, step.columns, LINES)
    (FOLDER / f"{step.screen}.txt").write_text(text_of(lines), "utf-8")
    (FOLDER / f"{step.screen}.svg").write_text(to_svg(lines, step.title, step.columns), "utf-8")


def play(lesson: Lesson, wanted: list[str]) -> bool:
    """Play one lesson and keep its screens; False when a step did not do what the lesson says."""
    home = Path(tempfile.mkdtemp(prefix="r-"))
    environ = environment(home)
    stack = contextlib.ExitStack()
    try:
        if lesson.needs_hosts:
            environ |= stack.enter_context(two_hosts())
        for step in lesson.steps:
            try:
                data = capture(step, home, environ)
            except ScreenError as e:
                print(f"{lesson.name}, {step.screen or 'unseen'}: {e}", file=sys.stderr)
                return False
            if step.screen and (not wanted or lesson.name in wanted or step.screen in wanted):
                _keep(step, data)
                print(f"{step.screen}: {len(screen_of(data).splitlines())} lines", file=sys.stderr)
        return True
    finally:
        for folder in {home / step.folder for step in lesson.steps}:
            if (folder / ".rafiki").is_dir():
                command = [sys.executable, "-m", "rafiki_cli", "down"]
                subprocess.run(command, cwd=folder, env=environ, capture_output=True, timeout=120, check=False)
        stack.close()
        shutil.rmtree(home, ignore_errors=True)


def main(wanted: list[str]) -> int:
    """Play the lessons that are wanted (all when none is named); 1 when a step failed or a name is unknown."""
    lessons = read_lessons()
    known = {name for lesson in lessons for name in (lesson.name, *lesson.screens)}
    if unknown := sorted(set(wanted) - known):
        print(f"There is no lesson or screen {', '.join(unknown)}.", file=sys.stderr)
        return 1
    chosen = [it for it in lessons if not wanted or {it.name, *it.screens} & set(wanted)]
    # Each is played, also after one that failed.
    failed = [lesson.name for lesson in chosen if not play(lesson, wanted)]
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
