"""Parameters as objects of a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from rafiki.entities import StoredFile
from rafiki.errors import DamagedFileError
from rafiki.param_store.base import ParamStore, is_params_id, no_such_params, sha256_in
from rafiki.store_location import StoreLocation
from rafiki.stores.s3.bucket import Bucket

_SUFFIX = ".safetensors"
_VALIDATION_SUFFIX = ".validation"
_SHA256_BYTES = 32


class S3ParamStore(ParamStore):
    """One object a parameter dict; what stands beside it has its name with another ending, and begins with a SHA-256.

    What was begun to be written is not seen: the server holds it apart until it is whole.
    """

    def __init__(self, location: StoreLocation) -> None:
        self._bucket = Bucket(location)

    @property
    def location(self) -> StoreLocation:
        return self._bucket.location

    def put(self, params_id: str, pieces: Iterable[bytes]) -> None:
        name = _name(params_id)
        data = b"".join(pieces)
        if hashlib.sha256(data).hexdigest() != sha256_in(params_id):
            raise DamagedFileError(
                f"The parameters {params_id} were damaged on their way to {self.location}: what came does not match "
                "their checksum."
            )
        # What is there has the same checksum in its name.
        if self._bucket.find_size(name) is None:
            self._bucket.put(name, data)

    def read(self, params_id: str) -> Iterator[bytes]:
        found = self._bucket.read(_name(params_id))
        if found is None:
            raise no_such_params(params_id)
        return found

    def delete(self, params_id: str) -> None:
        if is_params_id(params_id):
            self.delete_validation(params_id)
            self._bucket.delete(params_id + _SUFFIX)

    def list_stored(self) -> list[StoredFile]:
        found: dict[str, StoredFile] = {}
        for file in self._bucket.list():
            params_id = file.id.removesuffix(_SUFFIX).removesuffix(_VALIDATION_SUFFIX)
            if params_id == file.id or not is_params_id(params_id):
                continue
            size_bytes, modified = file.size_bytes, file.datetime_modified
            if (other := found.get(params_id)) is not None:
                size_bytes, modified = size_bytes + other.size_bytes, max(modified, other.datetime_modified)
            found[params_id] = StoredFile(id=params_id, size_bytes=size_bytes, datetime_modified=modified)
        return [found[params_id] for params_id in sorted(found)]

    def delete_half_written(self, file_id: str) -> None:
        """There is nothing that is half written."""

    def put_validation(self, params_id: str, data: bytes) -> None:
        if self._bucket.find_size(_name(params_id)) is None:
            raise no_such_params(params_id)
        self._bucket.put(params_id + _VALIDATION_SUFFIX, hashlib.sha256(data).digest() + data)

    def find_validation_bytes(self, params_id: str, max_bytes: int) -> bytes | None:
        if not is_params_id(params_id):
            return None
        size_bytes = self._bucket.find_size(params_id + _VALIDATION_SUFFIX)
        if size_bytes is None or size_bytes > max_bytes:
            return None
        raw = b"".join(self._bucket.read(params_id + _VALIDATION_SUFFIX) or ())
        digest, data = raw[:_SHA256_BYTES], raw[_SHA256_BYTES:]
        return data if hashlib.sha256(data).digest() == digest else None

    def has_validation(self, params_id: str) -> bool:
        return is_params_id(params_id) and self._bucket.find_size(params_id + _VALIDATION_SUFFIX) is not None

    def delete_validation(self, params_id: str) -> None:
        if is_params_id(params_id):
            self._bucket.delete(params_id + _VALIDATION_SUFFIX)


def _name(params_id: str) -> str:
    if not is_params_id(params_id):
        raise no_such_params(params_id)
    return params_id + _SUFFIX
