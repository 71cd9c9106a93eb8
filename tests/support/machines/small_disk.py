"""A small file system of its own, which can be filled and freed."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path


class NoSmallDiskError(Exception):
    """This user may not mount one; the message says why."""


class SmallDisk:
    """It is in memory, and mounted at a new folder."""

    def __init__(self, folder: Path, size_mb: int) -> None:
        """
        Raises:
            NoSmallDiskError
        """
        self.folder = folder
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise NoSmallDiskError(f"this user may not mount a small file system: {done.stderr.strip()}")

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Write a file until no more than so much is free."""
        with (self.folder / "ballast").open("ab", buffering=0) as file:
            while (found := os.statvfs(self.folder)).f_bavail * found.f_frsize > leave_bytes:
                left = found.f_bavail * found.f_frsize - leave_bytes
                try:
                    file.write(bytes(min(left, 1 << 20)))
                except OSError as e:
                    assert e.errno == errno.ENOSPC
                    return

    def free(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
