"""Whose the stack of a folder is: what of it only the user who started it may do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rafiki.errors import StackError

if TYPE_CHECKING:
    from rafiki.stack_folder import StackFolder


def is_of_another_user(folder: StackFolder) -> bool:
    """Whether a stack's folder is there and closed to this user."""
    return folder.root.exists() and not os.access(folder.root, os.R_OK | os.X_OK)


def check_owner(folder: StackFolder) -> None:
    """Check that this user may read and stop a stack.

    Raises:
        StackError: when it belongs to another user.
    """
    if is_of_another_user(folder):
        raise StackError(
            f"{folder.root}: this stack was started by another user ({_owner(folder.root)}), and only that user reads "
            "its logs, sees its processes and stops it. Commands that talk to its admin work: `rafiki login EMAIL`."
        )


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return f"id {path.stat().st_uid}"
