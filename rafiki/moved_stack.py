"""What a stack has left running in the place that its folder was moved away from while it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rafiki.stack_folder import StackFolder
from rafiki.stack_identity import Standing, examine, read_identity
from rafiki.utils.pid_file import PidFile

if TYPE_CHECKING:
    import psutil


def find_left_behind(folder: StackFolder) -> list[psutil.Process]:
    """The processes of a stack that still serve the place where its folder was; none when it was not moved. Their paths
    lead nowhere, so all that is left is to end them."""
    examined = examine(folder.root)
    identity, old_root = examined.identity, examined.old_root
    if examined.standing is not Standing.MOVED or identity is None or old_root is None:
        return []
    from rafiki.utils.process import find_stack_processes

    # Another stack may be at the old place by now, and its processes are none of ours.
    has_successor = read_identity(old_root) is not None
    left = {p.pid: p for p in find_stack_processes(old_root, stack_id=identity.id if has_successor else None)}
    # An admin's own environment holds no id: it is named by the file that came here with it.
    for file in (folder.admin_pid_file, folder.cache_pid_file):
        found = PidFile.load(file)
        if found is not None and found.stack_root == str(old_root) and (p := found.process.process()) is not None:
            left[p.pid] = p
    return list(left.values())
