"""The datasets of an admin, used from another host."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from rafiki.data_store.base import DataStore, DataWriter, StoredData
from rafiki.entities import StoredFile
from rafiki.errors import DamagedFileError, InvalidDatasetError, RequestTooLargeError
from rafiki.store_location import StoreLocation
from rafiki.stores.remote.connection import AwayError, RemoteConnection, check_status
from rafiki.stores.remote.direct import DirectRequests, NotDirectError
from rafiki.stores.remote.host_copies import HostCopies
from rafiki.stores.remote.protocol import DATASETS, DIRECT_FIELD, PIECE_BYTES
from rafiki.utils.atomic_file import AtomicFile, is_temp_file

_STORE_ID = re.compile(r"[0-9a-f-]{36}\.([0-9a-f]{64})")


class _RemoteDataWriter(DataWriter):
    """Gathers a dataset in a temporary file, and sends it with the commit: it may have to be sent twice."""

    def __init__(self, connection: RemoteConnection, max_bytes: int | None) -> None:
        self._connection = connection
        self._max_bytes = max_bytes
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by commit or abort
        self._size_bytes = 0

    def write(self, chunk: bytes) -> None:
        self._size_bytes += len(chunk)
        if self._max_bytes is not None and self._size_bytes > self._max_bytes:
            raise RequestTooLargeError(
                f"The dataset has {self._size_bytes:,} bytes or more; at most {self._max_bytes:,} bytes are taken."
            )
        self._file.write(chunk)

    def commit(self) -> StoredData:
        def pieces() -> Iterator[bytes]:
            self._file.seek(0)
            while piece := self._file.read(PIECE_BYTES):
                yield piece

        answer = self._connection.request("POST", DATASETS, pieces)
        self._file.close()
        return msgspec.json.decode(answer, type=StoredData)

    def abort(self) -> None:
        self._file.close()


class RemoteDataStore(DataStore):
    """Datasets over HTTP, with copies on this host that all its processes share."""

    def __init__(self, location: StoreLocation, max_bytes: int | None = None, copies: HostCopies | None = None) -> None:
        self._connection = RemoteConnection(location)
        self._direct = DirectRequests("Datasets")
        self._max_bytes = max_bytes
        self._copies = copies or HostCopies()

    @property
    def location(self) -> StoreLocation:
        return self._connection.location

    def writer(self) -> DataWriter:
        return _RemoteDataWriter(self._connection, self._max_bytes)

    def get_path(self, store_id: str) -> Path:
        name = _STORE_ID.fullmatch(store_id)
        if name is None:
            raise _no_such(store_id)
        size_bytes = self._connection.patiently(lambda: self._size_of(store_id))

        def fetch(file: AtomicFile) -> None:
            self._connection.patiently(lambda: self._fetch_rest(store_id, file, size_bytes))
            if file.sha256 != name[1]:
                raise DamagedFileError(
                    f"The dataset {store_id} that came from {self.location} is damaged: its contents do not match "
                    "their checksum. Upload it again."
                )

        return self._copies.get(store_id, size_bytes, fetch)

    def _size_of(self, store_id: str) -> int:
        """Asked each time, also when there is a copy: the dataset may have been deleted, or be another job's."""
        with self._connection.answer("HEAD", f"{DATASETS}/{store_id}") as answer:
            answer.read()
            if answer.status == 404:
                raise _no_such(store_id)
            # A refusal of a HEAD has no body that names it.
            if answer.status != 200:
                with self._connection.answer("GET", f"{DATASETS}/{store_id}", None, {"Range": "bytes=0-0"}) as named:
                    check_status(named.status, named.read())
            return int(answer.headers.get("Content-Length", "0"))

    def _fetch_rest(self, store_id: str, file: AtomicFile, size_bytes: int) -> None:
        """Read on where the last try broke off."""
        if file.size_bytes >= size_bytes:
            return
        headers = {"Range": f"bytes={file.size_bytes}-"}
        path = f"{DATASETS}/{store_id}" + (f"?{DIRECT_FIELD}=true" if self._direct.is_usable else "")
        with self._connection.answer("GET", path, None, headers) as answer:
            if answer.status not in (200, 206, 307):
                check_status(answer.status, answer.read())
            url = answer.headers.get("Location") if answer.status == 307 else None
            while piece := answer.read(PIECE_BYTES):
                if url is None:
                    file.write(piece)
        if url is not None:
            self._fetch_directly(url, file, size_bytes)
        if file.size_bytes < size_bytes:
            raise AwayError(f"the transfer ended after {file.size_bytes:,} of {size_bytes:,} bytes")

    def _fetch_directly(self, url: str, file: AtomicFile, size_bytes: int) -> None:
        try:
            with self._direct.read(url, file.size_bytes) as answer:
                while file.size_bytes < size_bytes and (piece := answer.read(PIECE_BYTES)):
                    file.write(piece)
        except NotDirectError as e:
            raise AwayError("the store cannot be reached directly") from e

    def verify(self, store_id: str) -> None:
        if not _STORE_ID.fullmatch(store_id):
            raise _no_such(store_id)
        self._connection.request("POST", f"{DATASETS}/{store_id}/verify")

    def delete(self, store_id: str) -> None:
        if _STORE_ID.fullmatch(store_id):
            self._connection.request("DELETE", f"{DATASETS}/{store_id}")
            self._copies.forget(store_id)

    def list_stored(self) -> list[StoredFile]:
        return msgspec.json.decode(self._connection.request("GET", DATASETS), type=list[StoredFile])

    def delete_half_written(self, file_id: str) -> None:
        if is_temp_file(file_id):
            self._connection.request("DELETE", f"{DATASETS}/{file_id}")

    def close(self) -> None:
        self._copies.close()
        self._connection.close()


def _no_such(store_id: str) -> InvalidDatasetError:
    return InvalidDatasetError(f"The data store holds no dataset {store_id[:120]!r}. Upload the dataset again.")
