"""Naming a process for good, and the file in which a server of the stack says that it listens.

A process is named by its pid *and* start time, because pids are used again. The command line looks at such a file for
nearly every command, so psutil (6 ms) is loaded only where it is needed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rafiki.utils.files import read_text, write_atomic
from rafiki.utils.folders import is_same_folder

if TYPE_CHECKING:
    import psutil

STACK_VARIABLE = "RAFIKI_STACK"
"""In the environment of every process of a stack: the stack's folder."""
HAND_OVER_SIGNAL = signal.SIGUSR1
"""Ends an admin, and leaves everything that it started running for the next one. Earlier versions do not know it, and
die of it: with the same outcome."""
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
    stack_root: str | None = None
    """The stack's folder when the server started; None in files of earlier versions."""

    def save(self, path: Path) -> None:
        write_atomic(path, msgspec.json.encode(self), mode=0o600)

    @staticmethod
    def load(path: Path) -> PidFile | None:
        """The file's contents when the process it names still runs; None when there is none, it is damaged, or dead."""
        found = PidFile._read(path)
        return found if found is not None and found.process.is_alive() else None

    @staticmethod
    def _read(path: Path) -> PidFile | None:
        text = read_text(path)
        if text is None:
            return None
        try:
            return msgspec.json.decode(text, type=PidFile)
        except msgspec.DecodeError:
            return None

    @staticmethod
    def find(path: Path, stack_root: Path) -> PidFile | None:
        """:meth:`load`, of the stack in ``stack_root``: None also when the process serves another folder. So it does
        when the file came here with a folder that was copied, or moved while its stack ran."""
        found = PidFile.load(path)
        if found is None:
            return None
        serves = found.stack_root or stack_of_process(found.process.pid)
        return found if serves is None or is_same_folder(serves, stack_root) else None

    @staticmethod
    def find_left(path: Path, stack_root: Path) -> PidFile | None:
        """The file that a server of the stack in ``stack_root`` has left behind, which takes it away when it ends in
        order: None while it runs, too."""
        found = PidFile._read(path)
        if found is None or found.process.is_alive():
            return None
        is_of_here = found.stack_root is None or is_same_folder(found.stack_root, stack_root)
        return found if is_of_here else None


def stack_of_process(pid: int) -> str | None:
    """The folder of the stack that a process belongs to; None when it cannot be told."""
    if sys.platform != "linux":
        return _stack_by_psutil(pid)
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    prefix = f"{STACK_VARIABLE}=".encode()
    return next((os.fsdecode(e.removeprefix(prefix)) for e in entries if e.startswith(prefix)), None)


def _stack_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        return psutil.Process(pid).environ().get(STACK_VARIABLE)
    except (psutil.Error, OSError):
        return None
