"""Datasets as objects of a bucket."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path
from typing import IO

from rafiki.data_store.base import DataStore, DataWriter, StoredData
from rafiki.entities import StoredFile
from rafiki.errors import DamagedFileError, InvalidDatasetError, RequestTooLargeError
from rafiki.signed_request import SignedRequest
from rafiki.store_location import StoreLocation
from rafiki.stores.remote.host_copies import HostCopies
from rafiki.stores.s3.bucket import Bucket
from rafiki.utils.atomic_file import AtomicFile
from rafiki.utils.ids import new_id

_STORE_ID = re.compile(r"[0-9a-f-]{36}\.([0-9a-f]{64})")


class _S3DataWriter(DataWriter):
    """Gathers a dataset in a temporary file, because its name holds its checksum, and sends it with the commit."""

    def __init__(self, bucket: Bucket, max_bytes: int | None) -> None:
        self._bucket = bucket
        self._max_bytes = max_bytes
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by commit or abort
        self._size_bytes = 0
        self._digest = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        self._size_bytes += len(chunk)
        if self._max_bytes is not None and self._size_bytes > self._max_bytes:
            raise RequestTooLargeError(
                f"The dataset has {self._size_bytes:,} bytes or more; this server takes at most "
                f"{self._max_bytes:,} bytes."
            )
        self._digest.update(chunk)
        self._file.write(chunk)

    def commit(self) -> StoredData:
        sha256 = self._digest.hexdigest()
        store_id = f"{new_id()}.{sha256}"
        self._file.seek(0)
        self._bucket.put(store_id, self._file)
        self._file.close()
        return StoredData(store_id=store_id, size_bytes=self._size_bytes, sha256=sha256)

    def abort(self) -> None:
        self._file.close()


class S3DataStore(DataStore):
    """One object a dataset, with copies on this host that all its processes share."""

    def __init__(self, location: StoreLocation, max_bytes: int | None = None, copies: HostCopies | None = None) -> None:
        self._bucket = Bucket(location)
        self._max_bytes = max_bytes
        self._copies = copies or HostCopies()

    @property
    def location(self) -> StoreLocation:
        return self._bucket.location

    def writer(self) -> DataWriter:
        return _S3DataWriter(self._bucket, self._max_bytes)

    def get_path(self, store_id: str) -> Path:
        sha256, size_bytes = _sha256_in(store_id), self.get_size(store_id)

        def fetch(file: AtomicFile) -> None:
            for piece in self._bucket.read(store_id) or ():
                file.write(piece)
            if file.sha256 != sha256:
                raise self._damaged(store_id)

        return self._copies.get(store_id, size_bytes, fetch)

    def get_size(self, store_id: str) -> int:
        _sha256_in(store_id)
        size_bytes = self._bucket.find_size(store_id)
        if size_bytes is None:
            raise _no_such(store_id)
        return size_bytes

    def sign_read(self, store_id: str) -> SignedRequest | None:
        self.get_size(store_id)
        return self._bucket.sign_read(store_id)

    def verify(self, store_id: str) -> None:
        sha256 = _sha256_in(store_id)
        found = self._bucket.read(store_id)
        if found is None:
            raise _no_such(store_id)
        digest = hashlib.sha256()
        for piece in found:
            digest.update(piece)
        if digest.hexdigest() != sha256:
            raise self._damaged(store_id)

    def delete(self, store_id: str) -> None:
        if _STORE_ID.fullmatch(store_id):
            self._bucket.delete(store_id)
            self._copies.forget(store_id)

    def list_stored(self) -> list[StoredFile]:
        return [file for file in self._bucket.list() if _STORE_ID.fullmatch(file.id)]

    def check(self) -> None:
        self._bucket.check()

    def delete_half_written(self, file_id: str) -> None:
        """There is nothing that is half written."""

    def close(self) -> None:
        self._copies.close()

    def _damaged(self, store_id: str) -> DamagedFileError:
        return DamagedFileError(
            f"The dataset {store_id} in {self.location} is damaged: its contents do not match their checksum. "
            "Upload it again."
        )


def _sha256_in(store_id: str) -> str:
    name = _STORE_ID.fullmatch(store_id)
    if name is None:
        raise _no_such(store_id)
    return name[1]


def _no_such(store_id: str) -> InvalidDatasetError:
    return InvalidDatasetError(f"The data store holds no dataset {store_id[:120]!r}. Upload the dataset again.")
