"""What the figures were measured on, and how busy it was."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil

_LOOPS = 1_000_000


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    cpu: str
    n_cores: int
    memory_gb: float
    os: str
    python: str
    loop_ms: float
    """A million turns of a Python loop, the best of seven: for comparing machines."""
    spawn_ms: float
    """Starting and ending an empty Python process, the median of seven."""
    load_average: tuple[float, float, float]
    """Over 1, 5 and 15 minutes, before the first figure."""
    busy_percent: float
    """Of all cores, used by others during the second before the first figure."""


def _cpu_name() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _os_name() -> str:
    for line in _lines(Path("/etc/os-release")):
        if line.startswith("PRETTY_NAME="):
            return f"{line.partition('=')[2].strip().strip(chr(34))}, {platform.system()} {platform.release()}"
    return platform.platform()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _loop_ms() -> float:
    def once() -> float:
        started, total = time.perf_counter(), 0
        for i in range(_LOOPS):
            total += i & 7
        return (time.perf_counter() - started) * 1000

    return min(once() for _ in range(7))


def _spawn_ms() -> float:
    def once() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        return (time.perf_counter() - started) * 1000

    return statistics.median(once() for _ in range(7))


def busy_percent() -> float:
    """Of all cores, during one second in which we ourselves do nothing."""
    return float(psutil.cpu_percent(interval=1.0))


def describe_machine() -> Machine:
    load = os.getloadavg()
    return Machine(
        cpu=_cpu_name(), n_cores=os.cpu_count() or 1, memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        os=_os_name(), python=platform.python_version(), busy_percent=busy_percent(),
        loop_ms=round(_loop_ms(), 1), spawn_ms=round(_spawn_ms(), 1),
        load_average=(round(load[0], 2), round(load[1], 2), round(load[2], 2)),
    )  # fmt: skip
