"""A file that appears whole or not at all, and knows the SHA-256 of its contents."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rafiki.utils.digest_thread import DigestThread
from rafiki.utils.files import make_again

_TEMP_PREFIX = ".writing-"


class AtomicFile:
    """Writes into a temporary file of ``folder``; :meth:`commit` makes it durable and gives it its name.

    Leaving the ``with`` block without a commit removes the temporary file. Not for use from several threads at once.

    Args:
        folder: where the file will be.
        is_large: whether it pays to compute its SHA-256 in a thread of its own.

    Raises:
        OSError: from any call; ``errno.ENOSPC`` and ``errno.EDQUOT`` mean that the disk is full.
    """

    def __init__(self, folder: Path, *, is_large: bool = False) -> None:
        self._folder = folder
        self._temp_path = folder / f"{_TEMP_PREFIX}{uuid.uuid4().hex}"
        try:
            self._file = open(self._temp_path, "xb", buffering=0)  # noqa: SIM115 - closed by commit or abort
        except FileNotFoundError:
            # Somebody has deleted the folder of a store that is in use.
            make_again(folder)
            self._file = open(self._temp_path, "xb", buffering=0)  # noqa: SIM115
        self._digest = DigestThread() if is_large else hashlib.sha256()
        self.size_bytes = 0
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.abort()

    def write(self, chunk: bytes | memoryview) -> None:
        self._digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]
        self.size_bytes += len(chunk)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written so far, in hex."""
        return self._digest.hexdigest()

    def commit(self, name_of: Callable[[str], str], *, is_durable: bool = True) -> tuple[Path, str]:
        """Gives the file its final name, ``name_of(SHA-256 in hex)``. Returns its path and the SHA-256.

        Once this returns, the file survives a power cut; unless ``is_durable`` is false: then it may be there and hold
        something else.
        """
        sha256 = self.sha256
        path = self._folder / name_of(sha256)
        if is_durable:
            os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temp_path, path)
        self._is_open = False
        self._end_digest()
        if not is_durable:
            return path, sha256
        # The name lives in the folder, so the folder has to reach the disk too.
        folder_fd = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder_fd)
        finally:
            os.close(folder_fd)
        return path, sha256

    def _end_digest(self) -> None:
        if isinstance(self._digest, DigestThread):
            self._digest.close()

    def abort(self) -> None:
        """Removes the temporary file; does nothing after a commit."""
        if self._is_open:
            self._is_open = False
            self._end_digest()
            self._file.close()
            self._temp_path.unlink(missing_ok=True)


def remove_stale_temp_files(folder: Path, older_than_s: float) -> int:
    """Removes what writers that were killed have left in ``folder``. Returns how many files it removed."""
    limit = time.time() - older_than_s
    n_removed = 0
    for path in folder.glob(f"{_TEMP_PREFIX}*"):
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
                n_removed += 1
        except FileNotFoundError:
            continue  # its writer, or another process that cleans up, was faster
    return n_removed


def list_temp_files(folder: Path) -> list[Path]:
    """What writers in ``folder`` are at work on, or have left when they were killed."""
    return sorted(folder.glob(f"{_TEMP_PREFIX}*"))


def is_temp_file(name: str) -> bool:
    """Whether it names a file that is being written."""
    return name.startswith(_TEMP_PREFIX) and "/" not in name


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's contents, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
