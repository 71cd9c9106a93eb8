"""The promise of every data store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from rafiki.entities import StoredFile
from rafiki.signed_request import SignedRequest
from rafiki.store_location import StoreLocation


class StoredData(msgspec.Struct, frozen=True):
    """What was stored."""

    store_id: str
    size_bytes: int
    sha256: str


class DataWriter(ABC):
    """One dataset on its way into the store. Used in a ``with`` block, by one thread at a time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.abort()

    @abstractmethod
    def write(self, chunk: bytes) -> None:
        """Appends ``chunk``.

        Raises:
            RequestTooLargeError: when the dataset grows beyond the store's limit; names the limit.
            StoreFullError: when the disk is full.
        """

    @abstractmethod
    def commit(self) -> StoredData:
        """Stores what was written. Once this returns, it survives a crash of the process and of the machine.

        Raises:
            StoreFullError: when the disk is full.
        """

    @abstractmethod
    def abort(self) -> None:
        """Drops what was written; nothing of it stays. Does nothing after a commit."""


class DataStore(ABC):
    """Immutable blobs under ids that the store makes.

    A blob appears whole or not at all: a crash, a full disk or an error of the reader in mid-upload leaves nothing
    behind that has an id. The id carries the SHA-256 of the contents. Equal contents stored twice are two blobs.
    All methods may be called from several threads and processes at once. No id can reach outside the store.

    Stores are opened by :func:`rafiki.stores.open_data_store`. One that is elsewhere keeps local copies of what was
    asked for: it may share them between the processes of a host, and removes those that no open store has given out.
    """

    @property
    @abstractmethod
    def location(self) -> StoreLocation:
        """Where it is, for another process that opens it; on whatever host, if the store can be reached from there."""

    @abstractmethod
    def writer(self) -> DataWriter:
        """Begins a new blob, for callers that receive it piece by piece."""

    def save(self, chunks: Iterable[bytes] | BinaryIO) -> StoredData:
        """Stores all of ``chunks``, holding one chunk at a time in memory; a file is read to its end.

        Raises:
            RequestTooLargeError, StoreFullError: as :meth:`DataWriter.write`.
        """
        if hasattr(chunks, "read"):
            file = chunks
            chunks = iter(lambda: file.read(1 << 20), b"")
        with self.writer() as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.commit()

    @abstractmethod
    def get_path(self, store_id: str) -> Path:
        """A local copy of the blob: a whole file on this machine, for the caller to read.

        What a store elsewhere has to fetch for it is compared with its checksum; what is on this machine already
        (a folder's own file, a copy that was fetched before) is not read.

        Any number of threads and processes may ask for a blob and read its copy, and all may be given the same file. It
        is the store's: nobody else writes, renames or deletes it, and nothing follows from its name or its folder. It
        stays until this store is closed or the blob is deleted, whichever comes first; whoever has it open by then
        can read it to its end.

        Raises:
            InvalidDatasetError: when there is no such blob.
            DamagedFileError: when what was fetched is not what was stored.
            StoreFullError: when the disk has no space for the copy.
        """

    def get_size(self, store_id: str) -> int:
        """How many bytes the blob has. A store that is elsewhere fetches nothing for it.

        Raises:
            InvalidDatasetError: when there is no such blob.
        """
        return self.get_path(store_id).stat().st_size

    def sign_read(self, store_id: str) -> SignedRequest | None:
        """A request that reads the blob where it is, for somebody without credentials; None = this store has none.

        Raises:
            InvalidDatasetError: when there is no such blob.
            UnreachableError: when it cannot be signed.
        """
        return None

    @abstractmethod
    def verify(self, store_id: str) -> None:
        """Reads the whole blob and compares it with its checksum.

        Raises:
            InvalidDatasetError: when there is no such blob.
            DamagedFileError: when the contents are no longer what was stored.
        """

    @abstractmethod
    def delete(self, store_id: str) -> None:
        """Removes the blob. An id that does not exist (any more) is no error."""

    @abstractmethod
    def list_stored(self) -> list[StoredFile]:
        """All blobs that the store holds, and what has been begun to be written."""

    @abstractmethod
    def delete_half_written(self, file_id: str) -> None:
        """Removes what a writer has left; an id of :meth:`list_stored`. What does not exist (any more) is no error."""

    def check(self) -> None:  # noqa: B027 - a folder was made when it was opened
        """Whether the store can be used now; takes a few seconds at most.

        Raises:
            UnreachableError: when it cannot, with what to do.
        """

    def close(self) -> None:  # noqa: B027 - a folder has nothing to let go of
        """Lets go of connections and of local copies. The store is not used any more."""
