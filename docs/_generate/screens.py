"""Captured terminal screens, shown by the directive ``{screen} NAME``.

``make screens`` runs the commands of the first lesson in a pseudo-terminal of 80 columns, in a project and with a stack
of their own, and keeps what a person would have seen: ``docs/screens/NAME.txt`` as text, ``NAME.svg`` with its colours.
``make screens NAMES='up down'`` keeps only these; all are run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs._generate.screen_svg import lines_of, text_of, to_svg

FOLDER = Path(__file__).resolve().parents[1] / "screens"
ROOT = FOLDER.parents[1]
COLUMNS, LINES = 80, 45


@dataclass(frozen=True)
class Step:
    """One command of the lesson, and the screen that it leaves."""

    name: str
    arguments: tuple[str, ...]
    folder: str = "demo"
    deadline_s: float = 180.0
    exit_codes: tuple[int, ...] = (0,)
    is_kept: bool = True


def _step(name: str, command: str, **rest: Any) -> Step:
    return Step(name, tuple(command.split()), **rest)


STEPS = [
    _step("quickstart", "quickstart --trials 5", folder="first", deadline_s=400.0),
    _step("quickstart-down", "down", folder="first", is_kept=False),
    _step("init", "init demo", folder="."),
    _step("up", "up"),
    _step("run", "run job.yaml", deadline_s=400.0),
    _step("run-again", "run job.yaml"),
    _step("trials", "train trials demo"),
    _step("watch", "train watch demo"),
    _step("status", "status"),
    _step("infer", "infer list"),
    _step("predict", "predict demo --query-file data/digits_query.json -o table"),
    _step("dry-run", "run job.yaml --dry-run --set budget.trials=12"),
    # A warning of the machine, such as little free disk, is no failure of the lesson.
    _step("doctor", "doctor", exit_codes=(0, 1)),
    _step("down", "down"),
]


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
    command: Sequence[str], folder: Path, environ: dict[str, str], deadline_s: float
) -> tuple[int, bytes]:
    """Run a command on a pseudo-terminal; returns its exit status and all that it wrote there.

    Raises:
        ScreenError: when it has not ended by the deadline.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    out = bytearray()
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
        if time.monotonic() >= end:
            raise ScreenError(f"{' '.join(command)} has not ended after {deadline_s:g} s:\n{screen_of(bytes(out))}")
        return process.wait(timeout=30), bytes(out)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        os.close(ours)


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG")}
    environ = {
        **kept,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "OMP_NUM_THREADS": "1",
    }
    environ.setdefault("LANG", "C.UTF-8")
    with socket.socket() as taken:
        if taken.connect_ex(("127.0.0.1", 3000)) == 0:
            environ["RAFIKI_ADMIN__PORT"] = "0"
    return environ


def _as_told(data: bytes, home: Path) -> bytes:
    """What a command wrote, without what is this machine's alone; before a terminal breaks its lines."""
    for folder, told in ((home, "~"), (sys.prefix, "~/.venv"), (ROOT, "~/rafiki")):
        data = data.replace(str(folder).encode(), told.encode())
    return data


def capture(step: Step, home: Path, environ: dict[str, str]) -> bytes:
    """Run one step and return what it wrote.

    Raises:
        ScreenError: when it ends in another way than the lesson says.
    """
    command = [sys.executable, "-m", "rafiki_cli", *step.arguments]
    code, data = run_in_terminal(command, home / step.folder, environ, step.deadline_s)
    data = _as_told(data, home)
    if code not in step.exit_codes:
        raise ScreenError(f"rafiki {' '.join(step.arguments)} ended with {code}:\n{screen_of(data)}")
    return data


def _keep(step: Step, data: bytes) -> None:
    FOLDER.mkdir(exist_ok=True)
    command = f"rafiki {' '.join(step.arguments)}"
    lines = lines_of(data, COLUMNS, LINES)
    (FOLDER / f"{step.name}.txt").write_text(text_of(lines), "utf-8")
    (FOLDER / f"{step.name}.svg").write_text(to_svg(lines, command, COLUMNS), "utf-8")


def main(wanted: list[str]) -> int:
    """Capture all screens, keep those in ``wanted`` (all when empty); 1 when a step failed."""
    home = Path(tempfile.mkdtemp(prefix="r-"))
    (home / "first").mkdir()
    environ = environment(home)
    failed = False
    try:
        for step in STEPS:
            try:
                data = capture(step, home, environ)
            except ScreenError as e:
                print(f"{step.name}: {e}", file=sys.stderr)
                failed = True
                if step.name in ("init", "up"):
                    break
                continue
            if step.is_kept and (not wanted or step.name in wanted):
                _keep(step, data)
            print(f"{step.name}: {len(screen_of(data).splitlines())} lines", file=sys.stderr)
    finally:
        for folder in (home / "first", home / "demo"):
            if folder.is_dir():
                command = [sys.executable, "-m", "rafiki_cli", "down"]
                subprocess.run(command, cwd=folder, env=environ, capture_output=True, timeout=120, check=False)
        shutil.rmtree(home, ignore_errors=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
