"""What is asked of the process that makes, checks and restores backups, and what it answers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a store that the database names, and that is not in the backup."""

    name: str
    reason: str


class BackupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds."""

    file: str
    size_bytes: int
    version: str | None = None
    """The Rafiki that wrote it; None = it does not say."""
    stack_id: str | None = None
    stack_root: str | None = None
    datetime_created: datetime | None = None
    revision: str | None = None
    """Of the database's schema."""
    tables: dict[str, int] = {}
    """Table -> rows."""
    has_stores: bool = False
    n_datasets: int = 0
    n_params: int = 0
    left_out: list[LeftOut] = []
    faults: list[str] = []
    """What is damaged; none = it can be restored."""


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was restored."""

    backup: BackupReport
    root: str
    """The stack's folder."""
    n_live_train_jobs: int
    n_live_inference_jobs: int
    """Jobs that were live when the backup was made: they go on at the next start."""
    former_database: str | None
    """Where the database is that was in its place."""
    copy_of: str | None
    """The folder that still holds the stack which was saved: then what was restored becomes another one."""


class BackupRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the process :mod:`rafiki.backup` is asked for, on its stdin."""

    what: Literal["write", "check", "restore"]
    file: str
    """An absolute path."""
    has_stores: bool = True
    is_replacing: bool = False


class BackupProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A line of its stdout: how far it is, and at last what it has done."""

    done: int = 0
    total: int = 0
    backup: BackupReport | None = None
    restored: RestoreReport | None = None
