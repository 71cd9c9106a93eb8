"""The file by which the admin tells a predictor which keys are valid, and what of a key is kept: its SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rafiki.utils.files import write_private


def hash_key(key: bytes) -> str:
    """One round does: 256 bits of entropy cannot be guessed."""
    return hashlib.sha256(key).hexdigest()


def write_keys(file: Path, hashes: Sequence[str]) -> None:
    """Replace the valid keys. Where that fails, none is valid any more: a revoked one must not stay so.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        write_private(file, msgspec.json.encode(list(hashes)).decode())
    except OSError:
        if file.exists():
            os.truncate(file, 0)  # It takes no space.
        raise


class KeyReader:
    """The keys of a file, kept in memory and read anew when it has changed.

    A file that is gone changes nothing: whoever deleted it took no key away. One that is empty or damaged holds none.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._hashes: frozenset[str] = frozenset()
        self.look()

    def look(self) -> None:
        """See whether the file has changed."""
        try:
            found = self._file.stat()
            mark = (found.st_ino, found.st_mtime_ns, found.st_size)
            if mark == self._seen:
                return
            data = self._file.read_bytes()
        except OSError:
            return
        try:
            self._hashes = frozenset(msgspec.json.decode(data, type=list[str]))
        except (msgspec.DecodeError, UnicodeError):
            self._hashes = frozenset()
        self._seen = mark

    def has(self, key: bytes) -> bool:
        """Whether a key is valid."""
        return hash_key(key) in self._hashes
