"""The box that model code runs in."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rafiki.sandbox.bubblewrap import NoBubblewrapError, find_bubblewrap
from rafiki.sandbox.control_groups import NoControlGroupsError, open_control_groups
from rafiki_cli.doctor.findings import Finding, ok, problem, skipped, warning
from rafiki_cli.doctor.subject import Subject

_CURE = "Install bubblewrap (Debian, Ubuntu: sudo apt install bubblewrap) before others upload models."


def check_sandbox(subject: Subject) -> Iterator[Finding]:
    """Whether this machine can make boxes, and the settings want them."""
    settings = subject.config.container
    if settings.backend != "process":
        yield skipped("sandbox", f"container.backend is {settings.backend}: workers run in its containers.")
        return
    if settings.sandbox == "none":
        told = "container.sandbox is none: model code can read and write whatever you can."
        yield warning("sandbox", told, "Set it to auto in rafiki.yaml before others upload models.")
        return
    try:
        found = find_bubblewrap()
    except NoBubblewrapError as e:
        if settings.sandbox == "auto":
            told = f"Model code runs without a box, and can read and write whatever you can: {e}."
            yield warning("sandbox", told, _CURE)
        else:
            yield problem("sandbox", f"container.sandbox is {settings.sandbox}, but {e}.", _CURE)
        return
    weak = "" if "--unshare-user" in found.isolation else " It has no user namespace here, which it would be safer in."
    if not found.can_filter:
        weak += " It has no filter of system calls: the kernel or the processor is one that it is not known for."
    try:
        open_control_groups(f"rafiki-doctor-{os.getpid()}")
    except NoControlGroupsError as e:
        weak += f" Limits hold for each of its processes by itself, and cores have none, without control groups: {e}."
    yield ok("sandbox", f"Model code runs in boxes: bubblewrap {found.version}.{weak}")
