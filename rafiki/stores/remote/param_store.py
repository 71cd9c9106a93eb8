"""The parameters of an admin, used from another host: written through, and acknowledged when they are stored there."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import msgspec

from rafiki.contract.service_calls import ParamsUpload
from rafiki.entities import StoredFile
from rafiki.errors import DamagedFileError, UnauthorizedError
from rafiki.param_store.base import ParamStore, is_params_id, no_such_params
from rafiki.store_location import StoreLocation
from rafiki.stores.remote.connection import AwayError, RemoteConnection, check_status
from rafiki.stores.remote.direct import DirectRequests, NotDirectError
from rafiki.stores.remote.protocol import DIRECT_FIELD, MAX_BYTES_FIELD, PARAMS, VALIDATION
from rafiki.utils.atomic_file import is_temp_file
from rafiki.utils.process import Backoff


class RemoteParamStore(ParamStore):
    """Parameters over HTTP."""

    def __init__(self, location: StoreLocation) -> None:
        self._connection = RemoteConnection(location)
        self._direct = DirectRequests("Parameters")
        self._is_direct_offered = True

    @property
    def location(self) -> StoreLocation:
        return self._connection.location

    def put(self, params_id: str, pieces: Iterable[bytes]) -> None:
        # Kept: what was sent once may have to be sent again.
        parts = list(pieces)
        if self._is_stored_directly(params_id, parts):
            return
        # In one piece with its length, where it is one: the admin takes small parameters in one turn.
        body = parts[0] if len(parts) == 1 else lambda: iter(parts)
        self._connection.request("PUT", self._path(PARAMS, params_id), body)

    def _is_stored_directly(self, params_id: str, parts: list[bytes]) -> bool:
        """Whether parameters were stored past the admin, which has seen that they are."""
        path = self._path(PARAMS, params_id)
        body = msgspec.json.encode({"size_bytes": sum(map(len, parts))})
        backoff = Backoff()
        while self._direct.is_usable and self._is_direct_offered:
            answer = self._connection.request("POST", f"{path}/upload", body)
            upload = msgspec.json.decode(answer, type=ParamsUpload)
            self._is_direct_offered = upload.is_offered
            if upload.signed is None:
                return False
            try:
                self._direct.write(upload.signed, parts)
                self._connection.request("POST", f"{path}/stored", body)
            except AwayError:
                # An event of nobody's: a signal ends the wait, as it does everywhere.
                threading.Event().wait(backoff.next_s())
                continue
            except (NotDirectError, UnauthorizedError, DamagedFileError):
                # An admin that was started anew does not know of the upload.
                return False
            return True
        return False

    def read(self, params_id: str) -> Iterator[bytes]:
        # Whole, because a transfer that breaks off has to begin anew; parameters are held in memory anyway.
        yield from [self._connection.patiently(lambda: self._read(self._path(PARAMS, params_id)))]

    def _read(self, path: str) -> bytes:
        direct = f"?{DIRECT_FIELD}=true" if self._direct.is_usable else ""
        with self._connection.answer("GET", f"{path}{direct}") as answer:
            data = answer.read()
            if answer.status != 307:
                check_status(answer.status, data)
                return data
            url = answer.headers["Location"]
        try:
            with self._direct.read(url) as found:
                return found.read()
        except NotDirectError as e:
            raise AwayError("the store cannot be reached directly") from e

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
