"""The parameters of an admin, used from another host: written through, and acknowledged when they are stored there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from rafiki.entities import StoredFile
from rafiki.param_store.base import ParamStore, is_params_id, no_such_params
from rafiki.store_location import StoreLocation
from rafiki.stores.remote.connection import RemoteConnection
from rafiki.stores.remote.protocol import MAX_BYTES_FIELD, PARAMS, VALIDATION
from rafiki.utils.atomic_file import is_temp_file


class RemoteParamStore(ParamStore):
    """Parameters over HTTP."""

    def __init__(self, location: StoreLocation) -> None:
        self._connection = RemoteConnection(location)

    @property
    def location(self) -> StoreLocation:
        return self._connection.location

    def put(self, params_id: str, pieces: Iterable[bytes]) -> None:
        # Kept: what was sent once may have to be sent again.
        parts = list(pieces)
        self._connection.request("PUT", self._path(PARAMS, params_id), lambda: iter(parts))

    def read(self, params_id: str) -> Iterator[bytes]:
        # Whole, because a transfer that breaks off has to begin anew; parameters are held in memory anyway.
        yield from [self._connection.request("GET", self._path(PARAMS, params_id))]

    def delete(self, params_id: str) -> None:
        if is_params_id(params_id):
            self._connection.request("DELETE", f"{PARAMS}/{params_id}")

    def list_stored(self) -> list[StoredFile]:
        return msgspec.json.decode(self._connection.request("GET", PARAMS), type=list[StoredFile])

    def delete_half_written(self, file_id: str) -> None:
        if is_temp_file(file_id):
            self._connection.request("DELETE", f"{PARAMS}/{file_id}")

    def put_validation(self, params_id: str, data: bytes) -> None:
        self._connection.request("PUT", self._path(VALIDATION, params_id), data)

    def find_validation_bytes(self, params_id: str, max_bytes: int) -> bytes | None:
        if not is_params_id(params_id):
            return None
        return self._connection.request("GET", f"{VALIDATION}/{params_id}?{MAX_BYTES_FIELD}={max_bytes}") or None

    def has_validation(self, params_id: str) -> bool:
        return is_params_id(params_id) and self._connection.exists(f"{VALIDATION}/{params_id}")

    def delete_validation(self, params_id: str) -> None:
        if is_params_id(params_id):
            self._connection.request("DELETE", f"{VALIDATION}/{params_id}")

    def close(self) -> None:
        self._connection.close()

    @staticmethod
    def _path(kind: str, params_id: str) -> str:
        if not is_params_id(params_id):
            raise no_such_params(params_id)
        return f"{kind}/{params_id}"
