"""The other side of remote stores: serves a store of datasets and one of parameters over HTTP."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

import msgspec
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from rafiki.contract.refusal import refusal_body
from rafiki.data_store.base import DataStore
from rafiki.errors import InternalError, InvalidRequestError, RafikiError, RequestTooLargeError
from rafiki.param_store.base import ParamStore
from rafiki.stores.remote.protocol import DATASETS, MAX_BYTES_FIELD, PARAMS, PATH, PIECE_BYTES, VALIDATION
from rafiki.utils.atomic_file import is_temp_file
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_MOST_VALIDATION_BYTES = 64 << 20


class StoreRights(Protocol):
    """What a caller may do with the stores. Each method raises UnauthorizedError when it is not allowed."""

    def read_dataset(self, store_id: str) -> None: ...
    def read_params(self, params_id: str) -> None: ...
    def write_params(self, params_id: str) -> None: ...
    def write_validation(self, params_id: str) -> None: ...
    def delete_params(self, params_id: str) -> None: ...
    def manage(self) -> None:
        """Write and delete datasets, list and delete what is stored."""


class StoreServer:
    """The routes below ``/stores``.

    Args:
        datasets, params: the stores; they are used from several threads at once.
        rights_of: who calls, by the token of the request. Raises UnauthorizedError for one that is not valid.
        max_params_bytes: the largest parameters that are taken.
    """

    def __init__(
        self,
        datasets: DataStore,
        params: ParamStore,
        rights_of: Callable[[str], StoreRights],
        max_params_bytes: int = 16 << 30,
    ) -> None:
        self._datasets, self._params = datasets, params
        self._rights_of = rights_of
        self._max_params_bytes = max_params_bytes

    def routes(self) -> list[BaseRoute]:
        """Of the Starlette application that serves them."""

        def route(path: str, method: str, serve: _Serve) -> Route:
            return Route(path, self._guarded(serve), methods=[method])

        return [
            Mount(
                PATH,
                routes=[
                    route(f"/{DATASETS}", "GET", self._list_datasets),
                    route(f"/{DATASETS}", "POST", self._save_dataset),
                    # Starlette answers HEAD where it answers GET.
                    route(f"/{DATASETS}/{{id}}", "GET", self._read_dataset),
                    route(f"/{DATASETS}/{{id}}/verify", "POST", self._verify_dataset),
                    route(f"/{DATASETS}/{{id}}", "DELETE", self._delete_dataset),
                    route(f"/{PARAMS}", "GET", self._list_params),
                    route(f"/{PARAMS}/{{id}}", "PUT", self._put_params),
                    route(f"/{PARAMS}/{{id}}", "GET", self._read_params),
                    route(f"/{PARAMS}/{{id}}", "DELETE", self._delete_params),
                    route(f"/{VALIDATION}/{{id}}", "PUT", self._put_validation),
                    route(f"/{VALIDATION}/{{id}}", "GET", self._read_validation),
                    route(f"/{VALIDATION}/{{id}}", "DELETE", self._delete_validation),
                ],
            )
        ]

    def _guarded(self, serve: _Serve) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                scheme, _, token = request.headers.get("authorization", "").partition(" ")
                rights = await run_in_threadpool(self._rights_of, token.strip() if scheme.lower() == "bearer" else "")
                return await serve(request, rights)
            except RafikiError as e:
                return _refusal(e)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as e:  # noqa: BLE001 - the edge of the server: no stack trace leaves it
                log_unexpected(_logger, e)
                return _refusal(InternalError())

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
        path = await run_in_threadpool(self._datasets.get_path, store_id)
        size_bytes = path.stat().st_size
        start, end = _range_of(request.headers.get("range"), size_bytes)
        headers = {"content-length": str(end - start), "accept-ranges": "bytes"}
        if (start, end) != (0, size_bytes):
            headers["content-range"] = f"bytes {start}-{end - 1}/{size_bytes}"
        status = 206 if "content-range" in headers else 200
        content = _pieces(path, start, end) if request.method == "GET" else _nothing()
        return StreamingResponse(content, status, headers, "application/octet-stream")

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

    async def _put_params(self, request: Request, rights: StoreRights) -> Response:
        params_id = str(request.path_params["id"])
        await run_in_threadpool(rights.write_params, params_id)
        # Spooled: what comes slowly holds no half-written file in the store, and no memory.
        with tempfile.TemporaryFile() as file:
            await _spool(request, file, self._max_params_bytes)
            await run_in_threadpool(self._params.put, params_id, iter(lambda: file.read(PIECE_BYTES), b""))
        return _json(None)

    async def _read_params(self, request: Request, rights: StoreRights) -> Response:
        params_id = str(request.path_params["id"])
        await run_in_threadpool(rights.read_params, params_id)
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


_Serve = Callable[[Request, StoreRights], Awaitable[Response]]


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), headers={"content-type": "application/json"})


def _refusal(error: RafikiError) -> Response:
    return Response(refusal_body(error), error.http_status, {"content-type": "application/json"})


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


def _pieces(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (piece := file.read(min(PIECE_BYTES, end - start))):
            start += len(piece)
            yield piece


def _nothing() -> Iterator[bytes]:
    yield from ()


async def _limited(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most_bytes:
            raise RequestTooLargeError(f"The body is larger than {most_bytes:,} bytes, the most that is taken here.")
        yield piece


async def _spool(request: Request, file: IO[bytes], most_bytes: int) -> None:
    """Write the body into a file, and go back to its beginning."""
    async for piece in _limited(request, most_bytes):
        await run_in_threadpool(file.write, piece)
    file.seek(0)
