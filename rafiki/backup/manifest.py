"""What a backup says of itself, in its last member: a backup that was cut short has none."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from rafiki.backup_report import BackupReport, LeftOut
from rafiki.meta_store.base.dump import DatabaseDump

FORMAT = 1
"""Of backups that this version writes; it reads these and earlier ones."""
MANIFEST = "manifest.json"
STACK_FILES = ("secrets.json", "superadmin-password", "stack.json")
"""What of the stack's folder is in a backup, beside the database and the stores."""
_FILE_ID = r"[0-9a-f-]{36}\.([0-9a-f]{64})"
_NAMES = re.compile(
    rf"tables/[a-z_]+\.jsonl|datasets/{_FILE_ID}|params/{_FILE_ID}|params/{_FILE_ID}\.validation"
    rf"|stack/({'|'.join(map(re.escape, STACK_FILES))})"
)


class BackupFile(msgspec.Struct, frozen=True, kw_only=True):
    """A member of the tar file."""

    name: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a backup."""

    format: int
    version: str
    """The Rafiki that wrote it."""
    stack_id: str | None
    stack_root: str
    """The folder that the stack was in."""
    datetime_created: datetime
    database: DatabaseDump
    has_stores: bool
    files: list[BackupFile]
    left_out: list[LeftOut]


def is_name(text: str) -> bool:
    """Whether a member of a backup may have this name: then it means one file, in no folder of others."""
    return _NAMES.fullmatch(text) is not None


def sha256_in(name: str) -> str | None:
    """The checksum that the name of a dataset or of parameters carries."""
    folder, _, file_id = name.partition("/")
    found = re.fullmatch(_FILE_ID, file_id) if folder in ("datasets", "params") else None
    return found[1] if found else None


def describe(file: str, size_bytes: int, manifest: Manifest, faults: list[str] | None = None) -> BackupReport:
    """What a manifest says, for people and programs."""
    names = [f.name for f in manifest.files]
    return BackupReport(
        file=file, size_bytes=size_bytes, version=manifest.version, stack_id=manifest.stack_id,
        stack_root=manifest.stack_root, datetime_created=manifest.datetime_created,
        revision=manifest.database.revision, tables={t.name: t.n_rows for t in manifest.database.tables},
        has_stores=manifest.has_stores, n_datasets=sum(n.startswith("datasets/") for n in names),
        n_params=sum(n.startswith("params/") and not n.endswith(".validation") for n in names),
        left_out=manifest.left_out, faults=faults or [],
    )  # fmt: skip
