"""How much space is left on disks, and whether that is enough."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

MB = 1 << 20


class DiskSpace:
    """Of folders that are written to.

    Args:
        folders: those that are not there count by the nearest folder above them.
        min_free_mb: so much has to be free on the disk of each; 0 asks for nothing.
    """

    def __init__(self, folders: Sequence[Path], min_free_mb: int) -> None:
        self.folders = tuple(folders)
        self.min_free_mb = min_free_mb

    def find_shortage(self) -> str | None:
        """What is wrong and what to do; None when there is enough."""
        for folder in self.folders if self.min_free_mb > 0 else ():
            free_mb = free_bytes(folder) // MB
            if free_mb < self.min_free_mb:
                return (
                    f"Only {free_mb:,} MB are free on the disk of {folder}; stack.min_free_mb asks for "
                    f"{self.min_free_mb:,}. No new trial starts and no upload is taken until there is space: "
                    "`rafiki gc` frees what is not needed any more. What serves, serves on."
                )
        return None


def free_bytes(folder: Path) -> int:
    """Free for this user; a disk that cannot be asked is no reason to stop."""
    for existing in (folder, *folder.parents):
        try:
            found = os.statvfs(existing)
        except OSError:
            continue
        return found.f_bavail * found.f_frsize
    return 1 << 62
