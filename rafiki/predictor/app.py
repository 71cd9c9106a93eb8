"""The predictor's HTTP interface: ``GET /`` and ``POST /predict``. Plain ASGI: every layer less is felt here."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

import rafiki
from rafiki.contract.body_encoding import decode_body
from rafiki.contract.refusal import refusal_body
from rafiki.errors import (
    InternalError,
    MethodNotAllowedError,
    NoPredictionError,
    RafikiError,
    RequestTooLargeError,
    UnauthorizedError,
)
from rafiki.key_file import KeyReader
from rafiki.messages import PredictorSpec
from rafiki.predictor.large_bodies import LARGE_BYTES, LargeBodies, MemoryFile
from rafiki.predictor.meter import Meter
from rafiki.predictor.protocol import allowed_methods, is_predict, read_request
from rafiki.predictor.version import Version
from rafiki.utils.logs import log_unexpected

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

_logger = logging.getLogger(__name__)


_JSON_TYPE = (b"content-type", b"application/json")


def _encoding_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"content-encoding":
            return str(value.decode("latin-1").strip().lower())
    return ""


def _allow(methods: str) -> tuple[bytes, bytes]:
    return (b"allow", methods.encode())


def _check_key(keys: KeyReader, scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer" and keys.has(key.strip()):
                return
            raise UnauthorizedError(
                "This key is not valid here, or was revoked. Make one with `rafiki key create APP`."
            )
    raise UnauthorizedError(
        "This predictor takes queries with a key only: `Authorization: Bearer KEY`. `rafiki key create APP` makes one."
    )


class PredictorApp:
    """The ASGI application of one predictor."""

    def __init__(self, spec: PredictorSpec, version: Version, meter: Meter, keys: KeyReader | None = None) -> None:
        """
        Args:
            version: what is asked for predictions.
            keys: those that it takes; None = it asks for none.
        """
        self._keys = keys
        self._spec = spec
        self._version = version
        self._meter = meter
        self._max_body_bytes = spec.max_body_mb * 1024 * 1024
        self._large = LargeBodies(self._max_body_bytes, version.gather.most_queries)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        headers = [_JSON_TYPE]
        try:
            if scope["method"] == "OPTIONS" and (allowed := allowed_methods(scope["path"])):
                await send({"type": "http.response.start", "status": 204, "headers": [_allow(allowed)]})
                await send({"type": "http.response.body"})
                return
            body = await self._respond(scope, receive, started)
            status = 200
        except RafikiError as e:
            status, body = e.http_status, refusal_body(e)
            if isinstance(e, UnauthorizedError):
                headers = [_JSON_TYPE, (b"www-authenticate", b"Bearer")]
            if isinstance(e, MethodNotAllowedError) and (allowed := allowed_methods(scope["path"])):
                headers = [_JSON_TYPE, _allow(allowed)]
        except Exception as e:  # noqa: BLE001 - the edge of the server: one request's failure must not end it
            log_unexpected(_logger, e)
            error = InternalError("The predictor itself failed. Its log holds the details: `rafiki logs`.")
            status, body = 500, refusal_body(error)
        if scope["path"] == "/predict":
            self._meter.add(status == 200, perf_counter() - started)
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: Scope, receive: Receive, started: float) -> bytes:
        if not is_predict(scope["method"], scope["path"], "predictor"):
            return self._health()
        if self._keys is not None:
            _check_key(self._keys, scope)
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body") or len(body) > LARGE_BYTES:
            return await self._respond_to_parts(scope, receive, started, message)
        if encoding := _encoding_of(scope):
            return await self._respond_to_packed(body, encoding, started)
        return await self._version.predict(read_request(body, self._spec.deadline_s), started)

    async def _respond_to_parts(self, scope: Scope, receive: Receive, started: float, message: Message) -> bytes:
        """To a body that comes in several parts. What becomes large goes into a file, part by part."""
        encoding, parts, size = _encoding_of(scope), [], 0
        file: MemoryFile | None = None
        try:
            try:
                async with asyncio.timeout(self._spec.deadline_s - (perf_counter() - started)):
                    while True:
                        size += len(part := message.get("body", b""))
                        if size > self._max_body_bytes:
                            raise RequestTooLargeError(
                                f"The request is larger than {self._spec.max_body_mb} MB (predictor.max_body_mb). "
                                "Send fewer queries at once."
                            )
                        if file is None:
                            parts.append(part)
                            if size > LARGE_BYTES:
                                file = self._large.take()
                                file.write(b"".join(parts))
                        else:
                            file.write(part)
                        if not message.get("more_body"):
                            break
                        message = await receive()
            except TimeoutError as e:
                raise NoPredictionError(
                    f"The request alone took longer to come than its {self._spec.deadline_s:g} s."
                ) from e
            if file is not None:
                return await self._respond_to_large(file, encoding, started)
        finally:
            if file is not None:
                self._large.give_back(file)
        body = b"".join(parts)
        if encoding:
            return await self._respond_to_packed(body, encoding, started)
        return await self._version.predict(read_request(body, self._spec.deadline_s), started)

    async def _respond_to_packed(self, body: bytes, encoding: str, started: float) -> bytes:
        """To a small body that may be a large one when it is unpacked."""
        try:
            unpacked = decode_body(body, encoding, min(LARGE_BYTES, self._max_body_bytes))
        except RequestTooLargeError:
            if self._max_body_bytes <= LARGE_BYTES:
                raise
        else:
            return await self._version.predict(read_request(unpacked, self._spec.deadline_s), started)
        file = self._large.take()
        try:
            file.write(body)
            return await self._respond_to_large(file, encoding, started)
        finally:
            self._large.give_back(file)

    async def _respond_to_large(self, file: MemoryFile, encoding: str, started: float) -> bytes:
        deadline_s = self._spec.deadline_s
        asked = await self._large.read(file, encoding, deadline_s, deadline_s - (perf_counter() - started))
        file.close()
        return await self._version.predict(asked, started)

    async def close(self) -> None:
        await self._large.close()

    def _health(self) -> bytes:
        version = self._version
        return msgspec.json.encode(
            {
                "name": "rafiki predictor",
                "version": rafiki.__version__,
                "inference_job_id": version.job_id,
                "task": self._spec.task,
                "members": [m.trial_id for m in version.members],
                "absent": version.gather.absent,
                "max_queries": max(1, self._spec.max_waiting // len(version.members)),
            }
        )
