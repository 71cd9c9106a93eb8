"""What is in the folder of a store."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rafiki.entities import StoredFile
from rafiki.utils.atomic_file import list_temp_files


def stored_files(folder: Path, id_of: Callable[[str], str | None]) -> list[StoredFile]:
    """The files of a folder, those of one id together.

    Args:
        folder: its files lie directly in it.
        id_of: the id that a file's name tells; None for files that are not the store's.
    """
    found: dict[str, StoredFile] = {}
    try:
        listing = os.scandir(folder)
    except FileNotFoundError:
        return []  # deleted, and not made again by a writer yet
    with listing as entries:
        for entry in entries:
            if (file_id := id_of(entry.name)) is None:
                continue
            try:
                stat = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed meanwhile
            size_bytes, modified = stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)
            if (other := found.get(file_id)) is not None:
                size_bytes, modified = size_bytes + other.size_bytes, max(modified, other.datetime_modified)
            found[file_id] = StoredFile(id=file_id, size_bytes=size_bytes, datetime_modified=modified)
    return [found[file_id] for file_id in sorted(found)]


def half_written_files(folder: Path) -> list[StoredFile]:
    """What writers in the folder are at work on, or have left."""
    found = []
    for path in list_temp_files(folder):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue  # done meanwhile
        modified = datetime.fromtimestamp(stat.st_mtime, UTC)
        found.append(
            StoredFile(id=path.name, size_bytes=stat.st_size, datetime_modified=modified, is_half_written=True)
        )
    return found
