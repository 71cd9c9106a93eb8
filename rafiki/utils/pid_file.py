"""Naming a process for good, and the file in which a server of the stack says that it listens.

A process is named by its pid *and* start time, because pids are used again. The command line looks at such a file for
nearly every command, so psutil (6 ms) is loaded only where it is needed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rafiki.utils.files import read_text, write_atomic

if TYPE_CHECKING:
    import psutil

_TOLERANCE_S = 0.5
"""The clock that start times are counted from may be set meanwhile; a pid is not used again this soon."""


class ProcessHandle(msgspec.Struct, frozen=True):
    """Names one process for good."""

    pid: int
    create_time: float
    """Seconds since the epoch, as psutil reads it."""

    def process(self) -> psutil.Process | None:
        """The process if it still runs (a zombie does not)."""
        import psutil

        try:
            p = psutil.Process(self.pid)
            if abs(p.create_time() - self.create_time) > _TOLERANCE_S or p.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return p

    def is_alive(self) -> bool:
        if sys.platform != "linux":
            return self.process() is not None
        create_time = _create_time_of_running(self.pid)
        return create_time is not None and abs(create_time - self.create_time) <= _TOLERANCE_S


def _create_time_of_running(pid: int) -> float | None:
    """When a process began, as psutil reads it from Linux; None when there is none or it is a zombie."""
    try:
        # The name of the program comes second, in brackets, and may hold blanks and brackets itself.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        booted = next(line for line in Path("/proc/stat").read_bytes().splitlines() if line.startswith(b"btime"))
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return float(booted.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def handle_of(pid: int) -> ProcessHandle:
    """The handle of a running process.

    Raises:
        psutil.NoSuchProcess: when it has ended already.
    """
    import psutil

    return ProcessHandle(pid, psutil.Process(pid).create_time())


class PidFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a server of the stack writes once it listens."""

    process: ProcessHandle
    host: str
    port: int
    details: dict[str, str] = {}
    """What else is to be known of it, by name."""

    def save(self, path: Path) -> None:
        write_atomic(path, msgspec.json.encode(self), mode=0o600)

    @staticmethod
    def load(path: Path) -> PidFile | None:
        """The file's contents when the process it names still runs; None when there is none, it is damaged, or dead."""
        text = read_text(path)
        if text is None:
            return None
        try:
            found = msgspec.json.decode(text, type=PidFile)
        except msgspec.DecodeError:
            return None
        return found if found.process.is_alive() else None
