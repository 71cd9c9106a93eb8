"""A service as a tree of processes: which of them is the service itself, and what all of them use."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import msgspec
import psutil

_BOX_PROGRAM = "bwrap"
_MOST_LEVELS = 3
_KEPT_S = 0.5


class TreeUsage(msgspec.Struct, frozen=True):
    """What a process and all that it has started use together."""

    memory_bytes: int
    n_processes: int
    """Processes and threads."""


def first_of(process: psutil.Process) -> psutil.Process:
    """The service's own process: in a box, the first one that is not the box's.

    Raises:
        psutil.Error: when it is gone.
    """
    for _ in range(_MOST_LEVELS):
        if process.name() != _BOX_PROGRAM:
            break
        children = process.children()
        if not children:
            break
        process = children[0]
    return process


class ProcessTree:
    """The processes of this machine by their parents, as of at most half a second ago.

    One look at all of them serves all services: to ask for the children of each would look at all each time.
    """

    def __init__(self) -> None:
        self._children: dict[int, list[int]] = {}
        self._looked = float("-inf")

    def usage_of(self, pid: int) -> TreeUsage:
        """What a service uses. Memory that its processes share counts once. Nothing for one that is gone."""
        if time.monotonic() - self._looked > _KEPT_S:
            self._children = _children_of_all()
            self._looked = time.monotonic()
        own_bytes, shared_bytes, n_processes = 0, 0, 0
        left = [pid]
        while left:
            found = left.pop()
            left += self._children.get(found, [])
            with contextlib.suppress(psutil.Error):
                memory = psutil.Process(found).memory_info()
                shared = getattr(memory, "shared", 0)
                own_bytes += memory.rss - shared
                shared_bytes = max(shared_bytes, shared)
                n_processes += psutil.Process(found).num_threads()
        return TreeUsage(own_bytes + shared_bytes, n_processes)


def _children_of_all() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    return children


def _parents() -> dict[int, int]:
    if not Path("/proc/self/stat").exists():
        return {p.pid: p.ppid() for p in psutil.process_iter() if p.is_running()}
    parents: dict[int, int] = {}
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdecimal():
                with contextlib.suppress(OSError, ValueError, IndexError), open(f"{entry.path}/stat", "rb") as stat:
                    # The second field is the program's name, which may hold spaces and brackets.
                    parents[int(entry.name)] = int(stat.read().rpartition(b")")[2].split()[1])
    return parents
