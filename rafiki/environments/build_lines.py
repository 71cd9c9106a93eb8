"""What a build says, on its way into the environment's log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from rafiki.environments.build import HEADING
from rafiki.environments.on_node import ANSWER, NodeAnswer


class BuildLines:
    """What the program of a build writes: to the environment's log, with the host before each line; the last line is
    its answer."""

    def __init__(self, log_file: Path, host: str) -> None:
        self._file = log_file
        self._host = host
        self._rest = b""
        self.answer: NodeAnswer | None = None

    def add(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines:
            with self._file.open("ab") as file:
                for line in lines:
                    self._add_line(line, file.write)

    def say(self, line: str) -> None:
        """Add a line of ours."""
        self.add(f"{line}\n".encode())

    def _add_line(self, line: bytes, write: Callable[[bytes], object]) -> None:
        if line.startswith(ANSWER.encode()):
            self.answer = msgspec.json.decode(line[len(ANSWER) :], type=NodeAnswer)
        elif line.startswith(HEADING):
            write(line + f" on {self._host}\n".encode())
        elif line.strip():
            write(f"{self._host}: ".encode() + line + b"\n")

    def close(self) -> None:
        self.add(b"\n")
