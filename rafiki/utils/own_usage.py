"""What this process and those that it has started use: read where it runs, because nobody else can on another host."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_AFTER_NAME = b") "
_FIRST_TIME = 11
_N_TIMES = 4
"""Fields of ``/proc/PID/stat`` after the name: user and system time, and those of children that have ended."""


class UsageMeter:
    """Memory now, and processor time between two readings."""

    def __init__(self) -> None:
        self._at_s = time.monotonic()
        self._cpu_s = _cpu_s(list(_family()))

    def read(self) -> tuple[int | None, float]:
        """Resident memory in bytes, None where the system does not say; cores that were used since the last reading."""
        pids = list(_family())
        now_s, cpu_s = time.monotonic(), _cpu_s(pids)
        # Processes that ended uncounted take their time with them.
        cores = max(0.0, cpu_s - self._cpu_s) / max(1e-3, now_s - self._at_s)
        self._at_s, self._cpu_s = now_s, cpu_s
        return _memory_bytes(pids), cores


def _family() -> Iterator[int]:
    """This process and its descendants."""
    left = [os.getpid()]
    while left:
        pid = left.pop()
        yield pid
        for file in _PROC.glob(f"{pid}/task/*/children"):
            with contextlib.suppress(OSError):
                left += map(int, file.read_text().split())


def _memory_bytes(pids: list[int]) -> int | None:
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            pages += int((_PROC / str(pid) / "statm").read_bytes().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") or None


def _cpu_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(_AFTER_NAME)[2].split()
            ticks += sum(map(int, fields[_FIRST_TIME : _FIRST_TIME + _N_TIMES]))
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else time.process_time()
