"""Datasets as files of one folder, which may be shared by several hosts (NFS)."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rafiki.data_store.base import DataStore, DataWriter, StoredData
from rafiki.entities import StoredFile
from rafiki.errors import DamagedFileError, InvalidDatasetError, RequestTooLargeError, StoreFullError
from rafiki.store_location import StoreLocation, folder_location
from rafiki.stored_files import half_written_files, stored_files
from rafiki.utils.atomic_file import AtomicFile, is_temp_file, remove_stale_temp_files, sha256_of
from rafiki.utils.ids import new_id

_STORE_ID = re.compile(r"[0-9a-f-]{36}\.([0-9a-f]{64})")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _full_disk_is_named(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        if e.errno in _FULL:
            raise StoreFullError(f"No space is left in {root}. Free some space or delete old datasets.") from e
        raise


class _FolderDataWriter(DataWriter):
    def __init__(self, root: Path, max_bytes: int | None) -> None:
        self._root, self._max_bytes = root, max_bytes
        with _full_disk_is_named(root):
            self._file = AtomicFile(root)

    def write(self, chunk: bytes) -> None:
        size_bytes = self._file.size_bytes + len(chunk)
        if self._max_bytes is not None and size_bytes > self._max_bytes:
            raise RequestTooLargeError(
                f"The dataset has {size_bytes:,} bytes or more; this server takes at most {self._max_bytes:,} bytes."
            )
        with _full_disk_is_named(self._root):
            self._file.write(chunk)

    def commit(self) -> StoredData:
        unique = new_id()
        with _full_disk_is_named(self._root):
            path, sha256 = self._file.commit(lambda sha256: f"{unique}.{sha256}")
        return StoredData(store_id=path.name, size_bytes=self._file.size_bytes, sha256=sha256)

    def abort(self) -> None:
        self._file.abort()


class FolderDataStore(DataStore):
    """One file a dataset, directly in ``root``, which is made when missing.

    Args:
        root: the folder.
        max_bytes: the largest dataset that is taken; None for no limit.
        stale_after_s: what a killed writer left is removed when the store is opened, once it is this old.
    """

    def __init__(self, root: Path | str, max_bytes: int | None = None, stale_after_s: float = 24 * 3600) -> None:
        self.root = Path(root).absolute()
        self.max_bytes = max_bytes
        self.root.mkdir(parents=True, exist_ok=True)
        remove_stale_temp_files(self.root, stale_after_s)

    @property
    def location(self) -> StoreLocation:
        return folder_location(self.root)

    def writer(self) -> DataWriter:
        return _FolderDataWriter(self.root, self.max_bytes)

    def _find(self, store_id: str) -> Path | None:
        return self.root / store_id if _STORE_ID.fullmatch(store_id) else None

    def get_path(self, store_id: str) -> Path:
        path = self._find(store_id)
        if path is None or not path.is_file():
            raise InvalidDatasetError(f"The data store holds no dataset {store_id[:120]!r}. Upload the dataset again.")
        return path

    def verify(self, store_id: str) -> None:
        path = self.get_path(store_id)
        if sha256_of(path) != path.name.partition(".")[2]:
            raise DamagedFileError(
                f"The dataset file {path} is damaged: its contents do not match their checksum. Upload it again."
            )

    def list_stored(self) -> list[StoredFile]:
        found = stored_files(self.root, lambda name: name if _STORE_ID.fullmatch(name) else None)
        return [*found, *half_written_files(self.root)]

    def delete_half_written(self, file_id: str) -> None:
        if is_temp_file(file_id):
            (self.root / file_id).unlink(missing_ok=True)

    def delete(self, store_id: str) -> None:
        if path := self._find(store_id):
            path.unlink(missing_ok=True)
