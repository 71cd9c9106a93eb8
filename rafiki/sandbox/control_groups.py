"""Control groups of Linux: what all processes of a box may use together, held by the kernel.

Limits of a process (:mod:`rafiki.sandbox.limits`) hold for each of a box's processes by itself, and some of them not
for the superuser. Groups of the second version are used where the controllers are there, else those of the first.
https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rafiki.sandbox.group_limits import Excess, GroupLimits
from rafiki.utils.clock import Deadline
from rafiki.utils.process import wait_until

_END_TIMEOUT_S = 2.0
_NEEDED = ("memory", "pids")
_OPTIONAL = "cpu"
_PERIOD_US = 100_000
_JOIN = (
    "/bin/sh", "-c",
    'while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@"', "join",
)  # fmt: skip
"""Enters the groups that come before ``--``, then becomes the program behind. A process that is moved after its start
may have started others by then."""


class NoControlGroupsError(Exception):
    """Control groups cannot be used here; says why."""


class _Parents(NamedTuple):
    """Where groups are made, by controller."""

    version: int
    of: dict[str, Path]

    @property
    def folders(self) -> list[Path]:
        return list(dict.fromkeys(self.of.values()))


class ControlGroups:
    """The groups of one stack."""

    def __init__(self, parents: _Parents, prefix: str) -> None:
        self._parents = parents
        self._prefix = prefix

    @property
    def about(self) -> str:
        """For people."""
        return f"control groups (version {self._parents.version})"

    def make(self, name: str, limits: GroupLimits) -> list[str]:
        """Make the groups of a box; the arguments that run what follows them within.

        Raises:
            OSError: when the kernel does not make them.
        """
        folders = self._folders(name)
        try:
            for folder in folders:
                folder.mkdir(exist_ok=True)
            for controller, file, value in _settings(self._parents.version, limits):
                if controller in self._parents.of:
                    _write(self._folder(controller, name) / file, value)
        except OSError:
            self.remove(name)
            raise
        # Where there is swap, memory beyond the limit would go there; kernels without it have no such file.
        memory = self._folder("memory", name)
        with contextlib.suppress(OSError):
            if self._parents.version == 2:
                _write(memory / "memory.oom.group", "1")
                _write(memory / "memory.swap.max", "0")
            elif limits.memory_bytes is not None:
                _write(memory / "memory.memsw.limit_in_bytes", str(limits.memory_bytes))
        return [*_JOIN, *map(str, folders), "--"]

    def excess_of(self, name: str) -> Excess:
        """What the box has wanted so far; nothing for one that has no groups."""
        events = "memory.events" if self._parents.version == 2 else "memory.oom_control"
        return Excess(
            memory=_count(self._folder("memory", name) / events, "oom_kill") > 0,
            processes=_count(self._folder("pids", name) / "pids.events", "max") > 0,
        )

    def remove(self, name: str) -> None:
        """Take the groups of a box away that has ended; what has outlived its first process ends now."""
        for folder in self._folders(name):
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                # Processes take their time to end: then the group stays, and goes at the next start of the stack.
                if wait_until(lambda at=folder: not _kill_all(at), Deadline(_END_TIMEOUT_S)):  # type: ignore[misc]
                    with contextlib.suppress(OSError):
                        folder.rmdir()

    def sweep(self) -> None:
        """Remove the groups of this stack in which nothing runs."""
        for parent in self._parents.folders:
            for folder in parent.glob(f"{self._prefix}-*"):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _folder(self, controller: str, name: str) -> Path:
        return self._parents.of[controller] / f"{self._prefix}-{name}"

    def _folders(self, name: str) -> list[Path]:
        return [parent / f"{self._prefix}-{name}" for parent in self._parents.folders]


def open_control_groups(prefix: str, mounts: str | None = None, own: str | None = None) -> ControlGroups:
    """Those of the stack whose groups begin with ``prefix``.

    Args:
        mounts, own: the texts of ``/proc/self/mountinfo`` and ``/proc/self/cgroup``; None = as they are.

    Raises:
        NoControlGroupsError: when there are none, or this user may not make any.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
        own = Path("/proc/self/cgroup").read_text() if own is None else own
    except OSError as e:
        raise NoControlGroupsError("this system has none") from e
    reasons = []
    for find in (_find_second, _find_first):
        try:
            groups = ControlGroups(find(mounts, own), prefix)
            _rehearse(groups)
        except NoControlGroupsError as e:
            reasons.append(str(e))
        except OSError as e:
            reasons.append(f"this user may make none ({e.strerror})")
        else:
            groups.sweep()
            return groups
    raise NoControlGroupsError(next((r for r in reasons if "may make" in r), reasons[0]))


def _rehearse(groups: ControlGroups) -> None:
    name = f"rehearsal-{os.getpid()}"
    groups.make(name, GroupLimits(memory_bytes=1 << 30, n_processes=64))
    groups.remove(name)


def _find_second(mounts: str, own: str) -> _Parents:
    mount = next((Path(at) for at, kind, _ in _mounts_of(mounts) if kind == "cgroup2"), None)
    if mount is None:
        raise NoControlGroupsError("no control groups are mounted")
    parent = mount if os.geteuid() == 0 else mount / _own_path(own, "").lstrip("/")
    there = (parent / "cgroup.controllers").read_text().split()
    if lacking := [c for c in _NEEDED if c not in there]:
        raise NoControlGroupsError(f"the control groups have no {' and '.join(lacking)}")
    wanted = [c for c in (*_NEEDED, _OPTIONAL) if c in there]
    handed_down = parent / "cgroup.subtree_control"
    if not set(wanted) <= set(handed_down.read_text().split()):
        _hand_down(parent, " ".join(f"+{c}" for c in wanted))
    return _Parents(2, dict.fromkeys(wanted, parent))


def _hand_down(parent: Path, controllers: str) -> None:
    """Let groups below have the controllers. None may then hold processes itself, so this one goes into one of its own
    where it is alone there, as in a unit of systemd with ``Delegate=yes``."""
    with contextlib.suppress(OSError):
        _write(parent / "cgroup.subtree_control", controllers)
        return
    if (parent / "cgroup.procs").read_text().split() != [str(os.getpid())]:
        raise NoControlGroupsError("this user may make none: start the stack as a unit of systemd with Delegate=yes")
    (parent / "rafiki").mkdir(exist_ok=True)
    _write(parent / "rafiki" / "cgroup.procs", "0")
    _write(parent / "cgroup.subtree_control", controllers)


def _find_first(mounts: str, own: str) -> _Parents:
    found: dict[str, Path] = {}
    for at, kind, options in _mounts_of(mounts):
        for controller in (*_NEEDED, _OPTIONAL) if kind == "cgroup" else ():
            if controller in options:
                # Within its own group: that may have limits, too.
                found[controller] = Path(at) / _own_path(own, controller).lstrip("/")
    if lacking := [c for c in _NEEDED if c not in found]:
        raise NoControlGroupsError(f"the control groups have no {' and '.join(lacking)}")
    return _Parents(1, found)


def _mounts_of(text: str) -> list[tuple[str, str, list[str]]]:
    """Where each file system is mounted, its type and its options."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, about = before.split(), after.split()
        if len(fields) > 4 and len(about) > 2:
            # As the kernel writes a space in a name.
            at = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), fields[4])
            found.append((at, about[0], about[2].split(",")))
    return found


def _own_path(text: str, controller: str) -> str:
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and (controller or not controllers):
            return path
    return "/"


def _settings(version: int, limits: GroupLimits) -> Sequence[tuple[str, str, str]]:
    """What is written, as (controller, file, value)."""
    found = []
    if limits.memory_bytes is not None:
        found.append(("memory", "memory.max" if version == 2 else "memory.limit_in_bytes", str(limits.memory_bytes)))
    if limits.n_processes is not None:
        found.append(("pids", "pids.max", str(limits.n_processes)))
    if limits.cores is not None:
        quota = str(max(1000, int(limits.cores * _PERIOD_US)))
        if version == 2:
            found.append(("cpu", "cpu.max", f"{quota} {_PERIOD_US}"))
        else:
            found += [("cpu", "cpu.cfs_period_us", str(_PERIOD_US)), ("cpu", "cpu.cfs_quota_us", quota)]
    return found


def _write(file: Path, value: str) -> None:
    with file.open("w") as opened:
        opened.write(value)


def _kill_all(folder: Path) -> list[int]:
    """Kill what is in a group; the processes that were."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        found = [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    for pid in found:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return found


def _count(file: Path, name: str) -> int:
    """A figure of a file with a name and a number in each line."""
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
