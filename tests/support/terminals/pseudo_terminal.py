"""A command on a terminal of some width, and what a person sees there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pyte

from rafiki.utils.clock import Deadline

REPO = Path(__file__).resolve().parents[3]
TIMEOUT_S = 60.0
SETTLED_S = 0.1


class PseudoTerminal:
    """`rafiki ...` in a pseudo-terminal. Its output is read as long as the test waits for something."""

    def __init__(
        self, *arguments: str, columns: int = 80, lines: int = 24, folder: Path | None = None, **variables: str
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        # Not what the tests themselves run in: a COLUMNS would win over the terminal's own width.
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        environment = {**kept, "TERM": "xterm-256color", "PYTHONPATH": str(REPO), "PYTHONUTF8": "1", **variables}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rafiki_cli", *arguments], stdin=slave, stdout=slave, stderr=slave,
            env=environment, start_new_session=True, cwd=folder,
        )  # fmt: skip
        os.close(slave)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without blanks at the ends of lines and without the empty lines below."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def _read(self, timeout_s: float) -> bool:
        """Take what is there, waiting for something; False once the command has closed the terminal."""
        if not select.select([self._master], [], [], timeout_s)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def wait_for(self, condition: Callable[[str], object], what: str) -> str:
        """The first screen, drawn to its end, for which the condition holds."""
        deadline = Deadline(TIMEOUT_S)
        while not self._is_settled() or not condition(self.text):
            assert not deadline.is_over(), f"never seen: {what}\n{self.text}"
            assert self._read(0.1) or condition(self.text), f"it ended before it showed {what}:\n{self.text}"
        return self.text

    def _is_settled(self) -> bool:
        """Whether nothing comes for a moment, or ever: one picture may come in several pieces."""
        n = len(self.raw)
        return not self._read(SETTLED_S) or len(self.raw) == n

    def type(self, text: str) -> None:
        """Keys, as a person types them."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.kill(self._process.pid, signal.SIGINT)

    def wait(self) -> int:
        """The exit code, once it has ended and all it said is on the screen."""
        deadline = Deadline(TIMEOUT_S)
        while self._read(0.1):
            assert not deadline.is_over(), f"it does not end:\n{self.text}"
        return self._process.wait(TIMEOUT_S)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._master)
