"""The audit log: who did what, in files of JSON lines that only this user may read.

What was done and what was refused are in files of their own: however often a stranger tries, nothing that was done is
pushed out by it. The newest entries of each are in ``NAME.jsonl``, older ones in ``NAME.1.jsonl`` and so on.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from rafiki.contract.audit import AuditEntry
from rafiki.utils.clock import utc_now

_logger = logging.getLogger(__name__)

_OLD_FILES = 3
_COMPLAINT_EVERY = timedelta(minutes=1)
_MOST_CHARS = 300
"""Of a text in an entry."""


class AuditLog:
    """Of one stack. Safe to share between threads. No failure to write it stops anybody: it is told in the admin's log,
    and how many entries are missing in the next one that can be written.

    Args:
        folder: of its files, made when the first entry is written.
        max_bytes: of all files.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        most = max_bytes // (2 * (_OLD_FILES + 1))
        self._done = _Series(folder, "done", most)
        self._refused = _Series(folder, "refused", most)
        self._lock = threading.Lock()
        self._n_lost = 0
        self._complained: datetime | None = None

    def note(self, entry: AuditEntry) -> None:
        """Add an entry."""
        entry = msgspec.structs.replace(
            entry,
            user=None if entry.user is None else _plain(entry.user),
            subject={name: _plain(text) for name, text in entry.subject.items()},
        )
        with self._lock:
            try:
                if self._n_lost:
                    lost = {"entries": str(self._n_lost)}
                    self._done.add(AuditEntry(time=entry.time, action="audit.lost", user=None, subject=lost))
                    self._n_lost = 0
                (self._done if entry.result == "ok" else self._refused).add(entry)
            except OSError as e:
                self._n_lost += 1
                self._complain(e)

    def _complain(self, error: OSError) -> None:
        now = utc_now()
        if self._complained is None or now - self._complained > _COMPLAINT_EVERY:
            self._complained = now
            _logger.warning("the audit log cannot be written, its entries are lost: %s", error.strerror)

    def newest(
        self, count: int, *, user: str | None = None, action: str | None = None, since: datetime | None = None
    ) -> list[AuditEntry]:
        """The newest entries that fit, oldest first.

        Raises:
            OSError: the files cannot be read.
        """
        wanted = None if user is None else user.casefold()
        found: list[AuditEntry] = []
        entries = heapq.merge(self._done.backwards(), self._refused.backwards(), key=lambda e: e.time, reverse=True)
        for entry in entries:
            if since is not None and entry.time < since:
                break
            if wanted is not None and (entry.user or "").casefold() != wanted:
                continue
            if action is not None and entry.action != action and not entry.action.startswith(action + "."):
                continue
            found.append(entry)
            if len(found) >= count:
                break
        return found[::-1]


def _plain(text: str) -> str:
    """What came from strangers, cut to a length, and without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:_MOST_CHARS])


class _Series:
    """A file of entries and the older ones before it."""

    def __init__(self, folder: Path, name: str, max_bytes: int) -> None:
        """
        Args:
            max_bytes: of each file.
        """
        self._folder, self._max_bytes = folder, max_bytes
        self._files = [folder / f"{name}{'' if n == 0 else f'.{n}'}.jsonl" for n in range(_OLD_FILES + 1)]
        """Newest first."""

    def add(self, entry: AuditEntry) -> None:
        """
        Raises:
            OSError: it is not written, nor a part of it.
        """
        line = msgspec.json.encode(entry) + b"\n"
        # Opened for each entry: they are few, and the folder may be deleted, or be restored, at any time.
        self._folder.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(self._files[0], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size and size + len(line) > self._max_bytes:
                os.close(fd)
                fd = -1
                self._turn()
                self.add(entry)
                return
            try:
                written = os.write(fd, line)
            except OSError:
                os.ftruncate(fd, size)
                raise
            if written < len(line):
                os.ftruncate(fd, size)
                raise OSError(errno.ENOSPC, "no space is left for a whole entry")
        finally:
            if fd >= 0:
                os.close(fd)

    def _turn(self) -> None:
        for newer, older in zip(self._files[-2::-1], self._files[::-1], strict=False):
            if newer.exists():
                os.replace(newer, older)

    def backwards(self) -> Iterator[AuditEntry]:
        """Newest first. A line that is no entry, as a crash of the machine may leave one, is passed over."""
        for file in self._files:
            try:
                lines = file.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            for line in reversed(lines):
                try:
                    yield msgspec.json.decode(line, type=AuditEntry)
                except (msgspec.DecodeError, UnicodeError):
                    continue
