"""Copies of datasets on a host, shared by all processes there: each is fetched once, and the least used go first.

The folder holds one file a dataset, named by its id, and two locks beside each. Who uses a copy shares the first lock;
who removes one has it alone, and never waits for it; who fetches one has the second lock alone. Locks end with their
process, however it ends. The first lock also holds the name of the boot in which the copy was fetched: what another one
has left is compared with its checksum before it is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from rafiki.errors import StoreFullError
from rafiki.utils.atomic_file import AtomicFile, is_temp_file, remove_stale_temp_files, sha256_of
from rafiki.utils.process import COPIES_FOLDER_VARIABLE, COPIES_MAX_MB_VARIABLE

_LOCK_SUFFIX = ".lock"
_FETCH_LOCK_SUFFIX = ".fetch.lock"
_STALE_AFTER_S = 24 * 3600.0
_HEADROOM_BYTES = 64 << 20
"""Left free on the disk."""
_LARGE_BYTES = 16 << 20
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Fetch = Callable[[AtomicFile], None]
"""Writes a dataset into a file; may find some of it written already, by an attempt of its own."""


def copies_folder() -> Path:
    """The folder of this host's copies: that of the variable, else one of this user's for temporary files."""
    named = os.environ.get(COPIES_FOLDER_VARIABLE)
    return Path(named) if named else Path(tempfile.gettempdir()) / f"rafiki-copies-{os.getuid()}"


def _max_bytes() -> int | None:
    text = os.environ.get(COPIES_MAX_MB_VARIABLE, "")
    return int(text) << 20 if text.isdecimal() else None


def _boot_id() -> bytes | None:
    """What the kernel calls itself since it was started; None where it does not tell."""
    try:
        return _BOOT_ID.read_bytes()
    except OSError:
        return None


class HostCopies:
    """The copies that one opened store has given out. Safe to use from several threads."""

    def __init__(self, folder: Path | None = None, max_bytes: int | None = None) -> None:
        self.folder = (folder or copies_folder()).absolute()
        self._max_bytes = max_bytes if max_bytes is not None else _max_bytes()
        self._held: dict[str, int] = {}
        """Dataset -> descriptor of the shared lock on its copy."""
        self._guard = threading.Lock()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_stale_temp_files(self.folder, _STALE_AFTER_S)

    def get(self, store_id: str, size_bytes: int, fetch: Fetch) -> Path:
        """The copy of a dataset, fetched when it is not here. It stays until :meth:`close`.

        Args:
            store_id: names it; ``fetch`` writes what it names.
            size_bytes: how large it is, for which space is made.

        Raises:
            StoreFullError: when there is no space for it.
        """
        path = self.folder / store_id
        lock = self._open_lock(store_id, _LOCK_SUFFIX)
        try:
            # Whoever removes a copy has this lock for a moment only; from here on nobody does.
            fcntl.flock(lock, fcntl.LOCK_SH)
            if not path.exists() or not self._is_of_this_boot(store_id):
                self._fetch_once(store_id, size_bytes, fetch)
            os.utime(path)
        except BaseException:
            os.close(lock)
            raise
        with self._guard:
            is_held = store_id in self._held
            self._held.setdefault(store_id, lock)
        if is_held:
            os.close(lock)
        return path

    def _fetch_once(self, store_id: str, size_bytes: int, fetch: Fetch) -> None:
        """Fetch a dataset, unless another process or thread has done so by the time that it is our turn."""
        lock = self._open_lock(store_id, _FETCH_LOCK_SUFFIX)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self.folder / store_id
            if path.exists() and not self._is_of_this_boot(store_id) and sha256_of(path) != store_id.partition(".")[2]:
                path.unlink(missing_ok=True)
            if not path.exists():
                self._make_space(size_bytes)
                with AtomicFile(self.folder, is_large=size_bytes > _LARGE_BYTES) as file:
                    fetch(file)
                    # The disk may be slower than the wire: nobody waits for it, and a copy that a power cut has harmed
                    # is found at its first use after it.
                    file.commit(lambda _: store_id, is_durable=_boot_id() is None)
            self._note_boot(store_id)
        finally:
            os.close(lock)

    def _is_of_this_boot(self, store_id: str) -> bool:
        """Whether a copy was written, or compared with its checksum, since this host was started."""
        boot_id = _boot_id()
        return boot_id is None or self._boot_file(store_id).read_bytes() == boot_id

    def _note_boot(self, store_id: str) -> None:
        if (boot_id := _boot_id()) is not None:
            self._boot_file(store_id).write_bytes(boot_id)

    def _boot_file(self, store_id: str) -> Path:
        """The first lock: it is there while anybody uses the copy, and otherwise empty."""
        return self.folder / f"{store_id}{_LOCK_SUFFIX}"

    def _open_lock(self, store_id: str, suffix: str) -> int:
        return os.open(self.folder / f"{store_id}{suffix}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def forget(self, store_id: str) -> None:
        """Remove a copy, unless another process uses it."""
        with self._guard:
            lock = self._held.pop(store_id, None)
        if lock is not None:
            os.close(lock)
        with self._unused(store_id) as is_unused:
            if is_unused:
                (self.folder / store_id).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of all copies; they stay for others until space is needed."""
        with self._guard:
            held, self._held = self._held, {}
        for lock in held.values():
            os.close(lock)

    def _make_space(self, size_bytes: int) -> None:
        """Remove the copies that were not used for the longest time, until another of this size fits."""
        for store_id, _, _ in sorted(self._copies(), key=lambda copy: copy[2]):
            if self._fits(size_bytes):
                return
            with self._unused(store_id) as is_unused:
                if is_unused:
                    (self.folder / store_id).unlink(missing_ok=True)
        if not self._fits(size_bytes):
            raise StoreFullError(
                f"No space is left in {self.folder} for a copy of a dataset of {size_bytes:,} bytes: what is there is "
                "in use. Free some space on this host."
            )

    def _fits(self, size_bytes: int) -> bool:
        used = sum(size for _, size, _ in self._copies())
        if self._max_bytes is not None and used + size_bytes > self._max_bytes:
            return False
        return shutil.disk_usage(self.folder).free >= size_bytes + _HEADROOM_BYTES

    def _copies(self) -> Iterator[tuple[str, int, float]]:
        """Name, size in bytes and time of the last use of each copy."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_LOCK_SUFFIX) or is_temp_file(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    stat = entry.stat(follow_symlinks=False)
                    yield entry.name, stat.st_size, stat.st_mtime

    @contextlib.contextmanager
    def _unused(self, store_id: str) -> Iterator[bool]:
        """Whether nobody uses a copy; nobody can begin to within the block."""
        try:
            lock = self._open_lock(store_id, _LOCK_SUFFIX)
        except OSError:
            yield False
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
        finally:
            os.close(lock)
