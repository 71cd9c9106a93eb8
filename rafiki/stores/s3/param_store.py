"""Parameters as objects of a bucket."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator

from rafiki.entities import StoredFile
from rafiki.errors import DamagedFileError
from rafiki.param_store.base import ParamStore, is_params_id, no_such_params, sha256_in
from rafiki.signed_request import SignedRequest
from rafiki.store_location import StoreLocation
from rafiki.stores.s3.bucket import LARGEST_PUT_BYTES, Bucket

_SUFFIX = ".safetensors"
_VALIDATION_SUFFIX = ".validation"
_SHA256_BYTES = 32
_IN_MEMORY_BYTES = 8 << 20


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
        digest = hashlib.sha256()
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            if digest.hexdigest() != sha256_in(params_id):
                raise self._damaged(params_id)
            # What is there has the same checksum in its name.
            if self._bucket.find_size(name) is not None:
                return
            is_small = file.tell() < _IN_MEMORY_BYTES
            file.seek(0)
            self._bucket.put(name, file.read() if is_small else file)

    def read(self, params_id: str) -> Iterator[bytes]:
        found = self._bucket.read(_name(params_id))
        if found is None:
            raise no_such_params(params_id)
        return found

    @property
    def has_signed_requests(self) -> bool:
        return True

    def sign_read(self, params_id: str) -> SignedRequest | None:
        if self._bucket.find_size(_name(params_id)) is None:
            raise no_such_params(params_id)
        return self._bucket.sign_read(_name(params_id))

    def sign_write(self, params_id: str, size_bytes: int) -> SignedRequest | None:
        name = _name(params_id)
        if size_bytes > LARGEST_PUT_BYTES or self._bucket.find_size(name) is not None:
            return None
        return self._bucket.sign_write(name, size_bytes, sha256_in(params_id))

    def confirm(self, params_id: str, size_bytes: int) -> None:
        found = self._bucket.find_stored(_name(params_id))
        if found is None:
            raise no_such_params(params_id)
        sha256 = found.sha256
        if sha256 is None:
            # A server that keeps no checksums.
            digest = hashlib.sha256()
            for piece in self.read(params_id):
                digest.update(piece)
            sha256 = digest.hexdigest()
        if found.size_bytes != size_bytes or sha256 != sha256_in(params_id):
            self._bucket.delete(_name(params_id))
            raise self._damaged(params_id)

    def _damaged(self, params_id: str) -> DamagedFileError:
        return DamagedFileError(
            f"The parameters {params_id} were damaged on their way to {self.location}: what came does not match "
            "their checksum."
        )

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

    def check(self) -> None:
        self._bucket.check()

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
