"""Which stack a folder holds: an id that stays with it, and where the folder was when its admin last started.

A folder may be moved, and then it still holds the same stack; or copied, and then the copy holds another one, which
must share nothing with the first. The two are told apart by the place that the folder's record names.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec

from rafiki.utils.files import read_text, write_private
from rafiki.utils.folders import is_same_folder

_FILE = "stack.json"


class StackIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a stack, in its folder."""

    id: str
    """Made at its first start."""
    root: str
    """The folder, when the admin last started."""
    version: str
    """Of the Rafiki that last started its admin: its database is at least as new as that one's."""
    copied_from: str | None = None
    """The folder that this one is a copy of, while its database still is that one's."""
    shared: dict[str, str] = {}
    """Settings that name something outside the folder -> a hash of their values, which may hold passwords."""


class Standing(StrEnum):
    """How a folder stands to its record."""

    NEW = "new"
    """There is none: no admin has started here."""
    HERE = "here"
    MOVED = "moved"
    """The folder was elsewhere, where it is not any more."""
    COPIED = "copied"
    """The folder that the record names is still there, with the same record."""


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What the record says, and how the folder stands to it."""

    standing: Standing
    identity: StackIdentity | None

    @property
    def known_id(self) -> str | None:
        """The id of the stack in this folder; None when it has none of its own yet."""
        is_own = self.standing in (Standing.HERE, Standing.MOVED)
        return self.identity.id if self.identity is not None and is_own else None

    @property
    def old_root(self) -> Path | None:
        """Where the folder, or the one that it is a copy of, was."""
        if self.identity is None or self.standing is Standing.HERE:
            return None
        return Path(self.identity.root)


def read_identity(root: Path) -> StackIdentity | None:
    """The record in a stack's folder; None when there is none that can be read.

    Raises:
        PermissionError: when the folder is another user's.
    """
    text = read_text(root / _FILE)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=StackIdentity)
    except msgspec.DecodeError:
        return None


def identity_file(root: Path) -> Path:
    """Where a stack's record is."""
    return root / _FILE


def write_identity(root: Path, identity: StackIdentity) -> None:
    """Keep a record in the place of the former one."""
    write_private(identity_file(root), msgspec.json.format(msgspec.json.encode(identity)).decode() + "\n")


def examine(root: Path) -> Examined:
    """How a stack's folder stands to its record. Nothing is changed.

    Raises:
        PermissionError: when the folder is another user's.
    """
    identity = read_identity(root)
    if identity is None:
        return Examined(standing=Standing.NEW, identity=None)
    was = Path(identity.root)
    if is_same_folder(was, root):
        return Examined(standing=Standing.HERE, identity=identity)
    try:
        there = read_identity(was)
    except OSError:
        there = None
    is_there = there is not None and there.id == identity.id
    return Examined(standing=Standing.COPIED if is_there else Standing.MOVED, identity=identity)
