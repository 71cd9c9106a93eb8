"""Finds bubblewrap, and tries whether it can make a box on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rafiki.errors import ConfigError, StackError
from rafiki.sandbox.control_groups import ControlGroups, NoControlGroupsError, open_control_groups
from rafiki.sandbox.seccomp import find_filter, open_filter
from rafiki.settings import ContainerConfig

if TYPE_CHECKING:
    from rafiki.sandbox.sandbox import Sandbox

_PROBE_TIMEOUT_S = 20.0
_WORKS = "works"
_WITH_USERS = ("--unshare-user", "--disable-userns")
"""Another user namespace, in which no further one can be made: less of the kernel is within reach."""
_TRIES = (_WITH_USERS, ("--unshare-user",), ())
_ALWAYS = (
    "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL", "--hostname", "box",
)  # fmt: skip
_SIZE_SINCE = (0, 7, 0)
SANDBOXES = ("auto", "bubblewrap", "none")
"""The values of ``container.sandbox``."""


class Bubblewrap(msgspec.Struct, frozen=True):
    """A bubblewrap that makes boxes here."""

    program: str
    version: str
    isolation: tuple[str, ...]
    """The arguments that keep a box apart, as far as this machine allows them."""
    can_filter: bool = True
    """Whether the kernel takes the filter of system calls, and the processor is one whose calls are known."""

    @property
    def can_limit_size(self) -> bool:
        return _numbers(self.version) >= _SIZE_SINCE


class NoBubblewrapError(Exception):
    """There is no bubblewrap that works; says why."""


@cache
def find_bubblewrap() -> Bubblewrap:
    """The one on the path, tried once a process.

    Raises:
        NoBubblewrapError: when there is none, or it cannot make a box on this machine.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise NoBubblewrapError("bubblewrap (the program bwrap) is not installed")
    version = _run([program, "--version"])
    found = re.search(r"\d+(\.\d+)+", version)
    if found is None:
        raise NoBubblewrapError(f"{program} does not tell its version: {version[-200:]}")
    reason = ""
    for tried in _TRIES:
        isolation = (*tried, *_ALWAYS)
        reason = _try(program, isolation, None)
        if reason == _WORKS:
            system_calls = find_filter()
            can_filter = system_calls is not None and _try(program, isolation, system_calls) == _WORKS
            return Bubblewrap(program, found[0], isolation, can_filter)
    raise NoBubblewrapError(f"{program} cannot make a box here: {reason[-300:]}")


def _try(program: str, isolation: Sequence[str], system_calls: bytes | None) -> str:
    """What a box says in which all is well, or why there is none."""
    probe = [
        program, *isolation, "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
        "--tmpfs", "/tmp",
    ]  # fmt: skip
    command = ["/bin/sh", "-c", f"echo {_WORKS}"]
    if system_calls is None:
        return _run([*probe, "--", *command]).strip()
    descriptor = open_filter(system_calls)
    try:
        return _run([*probe, "--seccomp", str(descriptor), "--", *command], (descriptor,)).strip()
    finally:
        os.close(descriptor)


def _run(command: list[str], descriptors: Sequence[int] = ()) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False,
            pass_fds=descriptors,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as e:
        return str(e)
    return done.stdout or done.stderr


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in version.split("."))


def why_no_sandbox(settings: ContainerConfig) -> str | None:
    """Why model code runs without a box; None when it runs in one."""
    if settings.sandbox == "none":
        return "container.sandbox is none"
    try:
        find_bubblewrap()
    except NoBubblewrapError as e:
        return str(e)
    return None


def open_sandbox(settings: ContainerConfig, base: Path, hidden: Path) -> Sandbox | None:
    """The stack's way to run model code; None = without a box.

    Args:
        settings: of the containers.
        base: what relative paths of the settings count from.
        hidden: the stack's folder.

    Raises:
        ConfigError: when the setting is none of those that there are.
        StackError: when a box is asked for, and cannot be had.
    """
    from rafiki.sandbox.sandbox import Sandbox

    if settings.sandbox not in SANDBOXES:
        raise ConfigError(f"container.sandbox: {settings.sandbox!r} is none of {', '.join(SANDBOXES)}.")
    if settings.sandbox == "none":
        return None
    try:
        bubblewrap = find_bubblewrap()
    except NoBubblewrapError as e:
        if settings.sandbox == "auto":
            return None
        raise StackError(
            f"container.sandbox is bubblewrap, but {e}. Install it (Debian and Ubuntu: `apt install bubblewrap`), or "
            "set container.sandbox to auto or none: then model code can read and write whatever you can."
        ) from e
    return Sandbox(
        bubblewrap, hidden=hidden, tmp_bytes=settings.tmp_mb << 20,
        readable=[base / Path(name).expanduser() for name in settings.readable], groups=_find_groups(hidden),
    )  # fmt: skip


def _find_groups(hidden: Path) -> ControlGroups | None:
    try:
        # A name for the groups of this stack, of characters that a folder may have.
        return open_control_groups(f"rafiki-{hashlib.sha256(os.fsencode(hidden)).hexdigest()[:12]}")
    except NoControlGroupsError:
        return None
