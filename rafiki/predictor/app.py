"""The predictor's HTTP interface. Plain ASGI: every layer less is felt here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

import rafiki
from rafiki.contract.access_log import watch_answer
from rafiki.contract.body_encoding import decode_body
from rafiki.errors import (
    InternalError,
    MethodNotAllowedError,
    NoPredictionError,
    RafikiError,
    RequestTooLargeError,
    UnauthorizedError,
)
from rafiki.messages import PredictorSpec
from rafiki.predictor.bodies import BodyForm, read_body, without_cache
from rafiki.predictor.keys import check_key
from rafiki.predictor.large_bodies import LARGE_BYTES, LargeBodies, MemoryFile
from rafiki.predictor.openapi import ServedApp
from rafiki.predictor.pages import PageMaker, answer_page
from rafiki.predictor.protocol import Asked, SlowBodyError
from rafiki.predictor.routes import Content, Routes, refusal_of
from rafiki.predictor.traffic import KEY_HEADER
from rafiki.predictor.version import Version
from rafiki.predictor.versions import Versions
from rafiki.tasks.registry import get_task
from rafiki.utils.logs import log_unexpected

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from rafiki.predictor.tracing import Tracing

_logger = logging.getLogger(__name__)


_JSON_TYPE = (b"content-type", b"application/json")
_Answer = tuple[bytes, Version]
"""A body, and who has answered."""


def _encoding_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"content-encoding":
            return str(value.decode("latin-1").strip().lower())
    return ""


def _allow(methods: str) -> tuple[bytes, bytes]:
    return (b"allow", methods.encode())


class PredictorApp:
    """The ASGI application of one predictor."""

    def __init__(
        self,
        spec: PredictorSpec,
        versions: Versions,
        pages: Mapping[str, PageMaker] = MappingProxyType({}),
        tracing: Tracing | None = None,
    ) -> None:
        """
        Args:
            versions: what is asked for predictions.
            pages: what it answers besides, by path.
            tracing: which requests are traced; None = none.
        """
        self._pages, self._tracing = pages, tracing
        self._spec = spec
        self._versions = versions
        self._max_body_bytes = spec.max_body_mb * 1024 * 1024
        self._large = LargeBodies(self._max_body_bytes, spec.max_waiting)
        self._routes = routes = Routes("predictor")
        routes.add("/", self._health)
        routes.serve_model(spec.app or spec.job_id, self._version_name, get_task(spec.task), self._why_not_ready)
        routes.describe_app(self._described)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        path, headers = scope["path"], [_JSON_TYPE]
        if self._spec.http.access_log:
            send = watch_answer(scope, send)
        if (watched := self._pages.get(path)) is not None:
            await answer_page(watched, scope, send, lambda e: log_unexpected(_logger, e))
            return
        if self._tracing is not None and self._routes.is_for_predictions(path):
            send = self._tracing.begin(scope, send)
        version = self._choose(scope)
        try:
            if scope["method"] == "OPTIONS" and (allowed := self._routes.allowed_methods(path)):
                await send({"type": "http.response.start", "status": 204, "headers": [_allow(allowed)]})
                await send({"type": "http.response.body"})
                return
            found = self._routes.find(scope["method"], path)
            if isinstance(found, BodyForm):
                body, version = await self._respond(found, scope, receive, started, version)
            else:
                if self._routes.asks_for_key(path) and (keys := self._versions.keys) is not None:
                    check_key(keys, scope)
                page = found()
                body, headers = page.body, [(b"content-type", page.content_type), *page.headers]
            status = 200
        except RafikiError as e:
            status, body = e.http_status, refusal_of(path, e)
            if isinstance(e, UnauthorizedError):
                headers = [_JSON_TYPE, (b"www-authenticate", b"Bearer")]
            if isinstance(e, NoPredictionError) and e.retry_after_s is not None:
                headers = [_JSON_TYPE, (b"retry-after", b"%d" % e.retry_after_s)]
            if isinstance(e, MethodNotAllowedError) and (allowed := self._routes.allowed_methods(path)):
                headers = [_JSON_TYPE, _allow(allowed)]
        except Exception as e:  # noqa: BLE001 - the edge of the server: one request's failure must not end it
            log_unexpected(_logger, e)
            error = InternalError("The predictor itself failed. Its log holds the details: `rafiki logs`.")
            status, body = 500, refusal_of(path, error)
        if self._routes.is_for_predictions(path):
            version.meter.add(status, perf_counter() - started)
            headers += version.headers
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _choose(self, scope: Scope) -> Version:
        """The version that is to answer."""
        versions = self._versions
        if not versions.has_choice or not self._routes.is_for_predictions(scope["path"]):
            return versions.primary
        return versions.choose(next((value for name, value in scope["headers"] if name == KEY_HEADER), None))

    async def _respond(
        self, form: BodyForm, scope: Scope, receive: Receive, started: float, version: Version
    ) -> _Answer:
        if (keys := self._versions.keys) is not None:
            check_key(keys, scope)
        form = form.told(scope["query_string"], scope["headers"])
        if version.cache is not None:
            form = without_cache(form, scope["headers"])
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body") or len(body) > LARGE_BYTES:
            return await self._respond_to_parts(form, scope, receive, started, version, message)
        return await self._respond_to_small(form, body, _encoding_of(scope), started, version)

    async def _predict(self, asked: Asked, started: float, version: Version) -> _Answer:
        """What ``version`` answers. Where a candidate fails, the first version is asked: nobody pays for a trial."""
        primary = self._versions.primary
        try:
            body = await version.predict(asked, started)
        except RafikiError as e:
            if version is primary or asked.timeout_s <= perf_counter() - started:
                raise
            version.meter.add(e.http_status, perf_counter() - started)
            return await primary.predict(asked, started), primary
        if (shadow := self._versions.find_shadow()) is not None and version is primary:
            shadow.shadow.ask(shadow.version, asked, body)
        return body, version

    async def _respond_to_parts(
        self, form: BodyForm, scope: Scope, receive: Receive, started: float, version: Version, message: Message
    ) -> _Answer:
        """To a body that comes in several parts. What becomes large goes into a file, part by part."""
        encoding, parts, size, deadline_s = _encoding_of(scope), [], 0, version.deadline_s
        file: MemoryFile | None = None
        try:
            try:
                async with asyncio.timeout(deadline_s - (perf_counter() - started)):
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
                raise NoPredictionError(f"The request alone took longer to come than its {deadline_s:g} s.") from e
            if file is not None:
                return await self._respond_to_large(form, file, encoding, started, version)
        finally:
            if file is not None:
                self._large.give_back(file)
        return await self._respond_to_small(form, b"".join(parts), encoding, started, version)

    async def _respond_to_small(
        self, form: BodyForm, body: bytes, encoding: str, started: float, version: Version
    ) -> _Answer:
        """To a small body, which may be a large one when it is unpacked."""
        most_bytes = min(LARGE_BYTES, self._max_body_bytes)
        try:
            unpacked = decode_body(body, encoding, most_bytes) if encoding else body
            asked = read_body(
                unpacked, form, version.deadline_s, most_queries=self._spec.max_waiting, most_bytes=most_bytes,
                is_hurried=True,
            )  # fmt: skip
        except RequestTooLargeError:
            if self._max_body_bytes <= LARGE_BYTES:
                raise
        except SlowBodyError:
            pass
        else:
            return await self._predict(asked, started, version)
        file = self._large.take()
        try:
            file.write(body)
            return await self._respond_to_large(form, file, encoding, started, version)
        finally:
            self._large.give_back(file)

    async def _respond_to_large(
        self, form: BodyForm, file: MemoryFile, encoding: str, started: float, version: Version
    ) -> _Answer:
        deadline_s = version.deadline_s
        asked = await self._large.read(file, encoding, deadline_s, deadline_s - (perf_counter() - started), form)
        file.close()
        return await self._predict(asked, started, version)

    def _why_not_ready(self) -> str | None:
        version = self._versions.primary
        if version.gather.is_ending:
            return "it is being stopped"
        return None if version.has_workers or self._versions.may_sleep else "no inference worker serves a member now"

    def _version_name(self) -> str:
        return self._versions.primary.name

    def _described(self) -> ServedApp:
        version = self._versions.primary
        return ServedApp(
            self._spec.app or self._spec.job_id, version.name, version.task, self._spec.query_schema,
            self._versions.keys is not None, version.deadline_s, version.cache is not None,
        )  # fmt: skip

    async def close(self) -> None:
        await self._large.close()

    def _health(self) -> Content:
        version = self._versions.primary
        told = msgspec.json.encode(
            {
                "name": "rafiki predictor",
                "version": rafiki.__version__,
                "inference_job_id": version.job_id,
                "app_version": version.app_version,
                "versions": [
                    {"app_version": v.app_version, "inference_job_id": v.job_id, "share": share}
                    for v, share in self._versions.list_versions()
                ],
                "task": self._spec.task,
                "members": [m.trial_id for m in version.members],
                "absent": version.gather.absent,
                "max_queries": max(1, self._spec.max_waiting // len(version.members)),
            }
        )
        return Content(told)
