"""The other side of remote stores: serves a store of datasets and one of parameters over HTTP."""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO, Protocol

import msgspec
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from rafiki.contract.endpoint import decode_json
from rafiki.contract.file_sending import FileResponse
from rafiki.contract.refusal import refusal_body, refusal_headers
from rafiki.contract.service_calls import SERVICE_CALLS, STORES, ParamsUpload, SizedParams
from rafiki.data_store.base import DataStore
from rafiki.errors import (
    DamagedFileError,
    InternalError,
    InvalidRequestError,
    RafikiError,
    RequestTooLargeError,
    StoreFullError,
)
from rafiki.param_store.base import ParamStore, is_params_id, sha256_in
from rafiki.signed_request import SignedRequest
from rafiki.stores.remote.protocol import DATASETS, DIRECT_FIELD, MAX_BYTES_FIELD, PARAMS, PIECE_BYTES
from rafiki.utils.atomic_file import is_temp_file
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_MOST_VALIDATION_BYTES = 64 << 20
_MOST_JSON_BYTES = 64 << 10
_SMALL_BYTES = 64 << 10
"""Parameters up to this size are held in memory while they come."""


class StoreRights(Protocol):
    """What a caller may do with the stores. Each method raises UnauthorizedError when it is not allowed."""

    def read_dataset(self, store_id: str) -> None: ...
    def read_params(self, params_id: str) -> None: ...
    def write_params(self, params_id: str) -> None:
        """Store parameters under ids that are not taken."""

    def note_written(self, params_id: str) -> None:
        """The caller has shown that parameters are its own: it had them, or nobody has stored any under this id."""

    def confirm_params(self, params_id: str) -> None:
        """Say that an upload of parameters has ended."""

    def write_validation(self, params_id: str) -> None: ...
    def delete_params(self, params_id: str) -> None: ...
    def manage(self) -> None:
        """Write and delete datasets, list and delete what is stored."""


class StoreServer:
    """The routes below ``/stores``.

    Args:
        datasets, params: the stores; they are used from several threads at once.
        rights_of: who calls, by the token of the request. Raises UnauthorizedError for one that is not valid.
        is_direct: whether callers may be sent to where the stores are, with signed requests.
        is_managed: whether there are the calls of whoever looks after the stores; no service does.
        max_params_bytes: the largest parameters that are taken.
    """

    def __init__(
        self,
        datasets: DataStore,
        params: ParamStore,
        rights_of: Callable[[str], StoreRights],
        *,
        is_direct: bool = True,
        is_managed: bool = False,
        max_params_bytes: int = 16 << 30,
    ) -> None:
        self._datasets, self._params = datasets, params
        self._rights_of = rights_of
        self._is_direct, self._is_managed = is_direct, is_managed
        self._max_params_bytes = max_params_bytes

    def routes(self) -> list[BaseRoute]:
        """Of the Starlette application that serves them."""

        served: dict[str, _Serve] = {
            "read_dataset": self._read_dataset,
            "read_params": self._read_params,
            "begin_upload": self._begin_upload,
            "end_upload": self._end_upload,
            "delete_params": self._delete_params,
            "put_validation": self._put_validation,
            "read_validation": self._read_validation,
            "delete_validation": self._delete_validation,
        }
        calls = [(SERVICE_CALLS[name].method, SERVICE_CALLS[name].path, serve) for name, serve in served.items()]
        if self._is_managed:
            datasets, params = f"{STORES}/{DATASETS}", f"{STORES}/{PARAMS}"
            calls += [
                ("GET", datasets, self._list_datasets),
                ("POST", datasets, self._save_dataset),
                ("POST", f"{datasets}/{{id}}/verify", self._verify_dataset),
                ("DELETE", f"{datasets}/{{id}}", self._delete_dataset),
                ("GET", params, self._list_params),
            ]
        put = SERVICE_CALLS["put_params"]
        # Starlette answers HEAD where it answers GET.
        return [
            *(Route(path, _guarded(self._by_rights(serve)), methods=[method]) for method, path, serve in calls),
            Route(put.path, _guarded(self._put_params), methods=[put.method]),
        ]

    def _by_rights(self, serve: _Serve) -> _Answer:
        async def answer(request: Request) -> Response:
            return await serve(request, await run_in_threadpool(self._rights_of, _token_of(request)))

        return answer

    # ---- datasets

    async def _list_datasets(self, request: Request, rights: StoreRights) -> Response:
        rights.manage()
        return _json(await run_in_threadpool(self._datasets.list_stored))

    async def _save_dataset(self, request: Request, rights: StoreRights) -> Response:
        rights.manage()
        with await run_in_threadpool(self._datasets.writer) as writer:
            async for piece in request.stream():
                await run_in_threadpool(writer.write, piece)
            return _json(await run_in_threadpool(writer.commit))

    async def _read_dataset(self, request: Request, rights: StoreRights) -> Response:
        store_id = str(request.path_params["id"])
        await run_in_threadpool(rights.read_dataset, store_id)
        if request.method == "HEAD":
            size_bytes = await run_in_threadpool(self._datasets.get_size, store_id)
            return Response(headers={"content-length": str(size_bytes), "accept-ranges": "bytes"})
        if self._may_redirect(request):
            signed = await run_in_threadpool(self._datasets.sign_read, store_id)
            if signed is not None:
                return _redirect(signed)
        path = await run_in_threadpool(self._datasets.get_path, store_id)
        size_bytes = path.stat().st_size
        start, end = _range_of(request.headers.get("range"), size_bytes)
        headers = {"accept-ranges": "bytes"}
        if (start, end) != (0, size_bytes):
            headers["content-range"] = f"bytes {start}-{end - 1}/{size_bytes}"
        return FileResponse(path, start, end, 206 if "content-range" in headers else 200, headers)

    def _may_redirect(self, request: Request) -> bool:
        return self._is_direct and request.query_params.get(DIRECT_FIELD) == "true"

    async def _verify_dataset(self, request: Request, rights: StoreRights) -> Response:
        rights.manage()
        await run_in_threadpool(self._datasets.verify, str(request.path_params["id"]))
        return _json(None)

    async def _delete_dataset(self, request: Request, rights: StoreRights) -> Response:
        rights.manage()
        name = str(request.path_params["id"])
        delete = self._datasets.delete_half_written if is_temp_file(name) else self._datasets.delete
        await run_in_threadpool(delete, name)
        return _json(None)

    # ---- parameters

    async def _list_params(self, request: Request, rights: StoreRights) -> Response:
        rights.manage()
        return _json(await run_in_threadpool(self._params.list_stored))

    async def _put_params(self, request: Request) -> Response:
        params_id, token = str(request.path_params["id"]), _token_of(request)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) <= min(_SMALL_BYTES, self._max_params_bytes):
            await run_in_threadpool(self._put_small, token, params_id, await request.body())
            return _json(None)
        rights = await run_in_threadpool(self._rights_of, token)
        await run_in_threadpool(rights.write_params, params_id)
        # Spooled: what comes slowly holds no half-written file in the store, and no memory.
        with tempfile.TemporaryFile() as file:
            _check_sha256(params_id, await _spool(request, file, self._max_params_bytes))
            await run_in_threadpool(self._params.put, params_id, iter(lambda: file.read(PIECE_BYTES), b""))
        rights.note_written(params_id)
        return _json(None)

    def _put_small(self, token: str, params_id: str, data: bytes) -> None:
        """In one turn of a thread: for small parameters the turns cost more than all that is done in them."""
        rights = self._rights_of(token)
        rights.write_params(params_id)
        _check_sha256(params_id, hashlib.sha256(data).hexdigest())
        self._params.put(params_id, [data])
        rights.note_written(params_id)

    async def _begin_upload(self, request: Request, rights: StoreRights) -> Response:
        sized = await _sized(request)
        await run_in_threadpool(rights.write_params, sized.id)
        if sized.size_bytes > self._max_params_bytes:
            raise RequestTooLargeError(f"Parameters of more than {self._max_params_bytes:,} bytes are not taken.")
        sign = self._params.sign_write
        signed = await run_in_threadpool(sign, sized.id, sized.size_bytes) if self._is_direct else None
        if signed is not None:
            rights.note_written(sized.id)
        return _json(ParamsUpload(signed=signed, is_offered=self._is_direct and self._params.has_signed_requests))

    async def _end_upload(self, request: Request, rights: StoreRights) -> Response:
        sized = await _sized(request)
        await run_in_threadpool(rights.confirm_params, sized.id)
        await run_in_threadpool(self._params.confirm, sized.id, sized.size_bytes)
        return _json(None)

    async def _read_params(self, request: Request, rights: StoreRights) -> Response:
        params_id = str(request.path_params["id"])
        await run_in_threadpool(rights.read_params, params_id)
        if self._may_redirect(request):
            signed = await run_in_threadpool(self._params.sign_read, params_id)
            if signed is not None:
                return _redirect(signed)
        pieces = await run_in_threadpool(self._params.read, params_id)
        return StreamingResponse(iterate_in_threadpool(pieces), media_type="application/octet-stream")

    async def _delete_params(self, request: Request, rights: StoreRights) -> Response:
        name = str(request.path_params["id"])
        if is_temp_file(name):
            rights.manage()
        else:
            await run_in_threadpool(rights.delete_params, name)
        delete = self._params.delete_half_written if is_temp_file(name) else self._params.delete
        await run_in_threadpool(delete, name)
        return _json(None)

    # ---- beside the parameters

    async def _put_validation(self, request: Request, rights: StoreRights) -> Response:
        params_id = str(request.path_params["id"])
        await run_in_threadpool(rights.write_validation, params_id)
        data = b"".join([piece async for piece in _limited(request, _MOST_VALIDATION_BYTES)])
        await run_in_threadpool(self._params.put_validation, params_id, data)
        return _json(None)

    async def _read_validation(self, request: Request, rights: StoreRights) -> Response:
        params_id = str(request.path_params["id"])
        await run_in_threadpool(rights.read_params, params_id)
        if request.method == "HEAD":
            found = await run_in_threadpool(self._params.has_validation, params_id)
            return Response(status_code=200 if found else 404)
        text = request.query_params.get(MAX_BYTES_FIELD, "")
        if not text.isdecimal():
            raise InvalidRequestError(f"Field {MAX_BYTES_FIELD!r} must be a number of bytes.")
        data = await run_in_threadpool(self._params.find_validation_bytes, params_id, int(text))
        return Response(data or b"", media_type="application/octet-stream")

    async def _delete_validation(self, request: Request, rights: StoreRights) -> Response:
        params_id = str(request.path_params["id"])
        await run_in_threadpool(rights.write_validation, params_id)
        await run_in_threadpool(self._params.delete_validation, params_id)
        return _json(None)


_Answer = Callable[[Request], Awaitable[Response]]
_Serve = Callable[[Request, StoreRights], Awaitable[Response]]


def _guarded(serve: _Answer) -> _Answer:
    async def answer(request: Request) -> Response:
        try:
            return await serve(request)
        except RafikiError as e:
            return _refusal(e)
        except ClientDisconnect:
            return Response(status_code=400)
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                return _refusal(StoreFullError("No space is left on the disk of this stack."))
            log_unexpected(_logger, e)
            return _refusal(InternalError())
        except Exception as e:  # noqa: BLE001 - the edge of the server: no stack trace leaves it
            log_unexpected(_logger, e)
            return _refusal(InternalError())

    return answer


def _token_of(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _check_sha256(params_id: str, sha256: str) -> None:
    """Compared here too: a store does not read what it has already, and an id alone gives no right to it."""
    if is_params_id(params_id) and sha256 != sha256_in(params_id):
        raise DamagedFileError(
            f"The parameters {params_id} were damaged on their way: what came does not match their checksum."
        )


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), headers={"content-type": "application/json"})


def _refusal(error: RafikiError) -> Response:
    return Response(refusal_body(error), error.http_status, refusal_headers(error))


def _range_of(header: str | None, size_bytes: int) -> tuple[int, int]:
    """Begin and end of what is asked for.

    Raises:
        InvalidRequestError: when there is no such part.
    """
    if header is None:
        return 0, size_bytes
    match = _RANGE.fullmatch(header.strip())
    if match is None or int(match[1]) > size_bytes:
        raise InvalidRequestError(f"The range {header[:80]!r} is not within {size_bytes} bytes.")
    end = min(int(match[2]) + 1, size_bytes) if match[2] else size_bytes
    return int(match[1]), max(end, int(match[1]))


def _redirect(signed: SignedRequest) -> Response:
    return Response(status_code=307, headers={"location": signed.url, "cache-control": "no-store"})


async def _sized(request: Request) -> SizedParams:
    """
    Raises:
        InvalidRequestError: when the body is none.
    """
    body = b"".join([piece async for piece in _limited(request, _MOST_JSON_BYTES)])
    fields = decode_json(body, "The body")
    if not isinstance(fields, dict) or "id" in fields:
        raise InvalidRequestError('The body must be a JSON object: {"size_bytes": N}.')
    try:
        return msgspec.convert({**fields, "id": str(request.path_params["id"])}, SizedParams)
    except msgspec.ValidationError as e:
        raise InvalidRequestError(f"The request cannot be read: {e}.") from e


async def _limited(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most_bytes:
            raise RequestTooLargeError(f"The body is larger than {most_bytes:,} bytes, the most that is taken here.")
        yield piece


async def _spool(request: Request, file: IO[bytes], most_bytes: int) -> str:
    """Write the body into a file, and go back to its beginning. The SHA-256 of the body, in hex."""
    digest = hashlib.sha256()

    def take(piece: bytes) -> None:
        digest.update(piece)
        file.write(piece)

    async for piece in _limited(request, most_bytes):
        await run_in_threadpool(take, piece)
    file.seek(0)
    return digest.hexdigest()
