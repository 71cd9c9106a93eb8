"""The part of the HTTP protocol that makes a small request cheap: of what uvicorn does for each one, what the
application needs.

A request costs one task, one write and no timer; what follows from its target and what answers begin with is worked out
once. The application is spoken to by ASGI as before, so whatever wraps it does so here, too.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

_MOST_KNOWN = 512
_LONGEST_KNOWN = 200
_LENGTH = b"content-length"
_FAILED = b"Internal Server Error"
_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


class KnownTexts:
    """What a server has worked out of targets and of headers of answers; bounded."""

    __slots__ = ("lines", "targets")

    def __init__(self) -> None:
        self.targets: dict[bytes, tuple[str, bytes, bytes]] = {}
        self.lines: dict[tuple[bytes, bytes], bytes] = {}


class LeanCycle:
    """One request with its answer; what the protocol asks of uvicorn's own."""

    __slots__ = (
        "_begin", "_expected_bytes", "_has_news", "_is_chunked", "_protocol", "_waiter", "body", "disconnected",
        "keep_alive", "more_body", "response_complete", "response_started", "scope", "transport",
        "waiting_for_100_continue",
    )  # fmt: skip

    def __init__(self, protocol: LeanProtocol, scope: Scope, keep_alive: bool, expects_continue: bool) -> None:
        self._protocol = protocol
        self.scope = scope
        self.transport = protocol.transport
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expects_continue
        self.disconnected = False
        self.body = b""
        """What the application has not taken of it."""
        self.more_body = True
        self.response_started = self.response_complete = False
        self._has_news = False
        self._waiter: asyncio.Future[None] | None = None
        self._begin: Message | None = None
        self._is_chunked = False
        self._expected_bytes = 0

    @property
    def message_event(self) -> LeanCycle:
        """It is its own."""
        return self

    def set(self) -> None:
        """There is something to receive."""
        self._has_news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- the application

    async def run(self, app: ASGIApp) -> None:
        protocol = self._protocol
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_complete and not self.disconnected:
                raise RuntimeError("the application ended without an answer")
        except BaseException as e:
            protocol.logger.error("Exception in ASGI application\n", exc_info=e)
            await self._fail()
        finally:
            protocol.tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _fail(self) -> None:
        if self.response_started:
            self.transport.close()
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (_LENGTH, b"%d" % len(_FAILED))]
        self._begin, self._is_chunked = None, False
        await self.send(
            {"type": "http.response.start", "status": 500, "headers": [*headers, (b"connection", b"close")]}
        )
        await self.send({"type": "http.response.body", "body": _FAILED})

    async def receive(self) -> Message:
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            self._protocol.flow.resume_reading()
            if not self._has_news:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            self._has_news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        flow = self._protocol.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if self._begin is None:
            if kind != "http.response.start":
                raise RuntimeError(f"an answer begins with http.response.start, not with {kind}")
            # It is written with the body that follows.
            self._begin = message
            return
        if kind != "http.response.body" or self.response_complete:
            raise RuntimeError(f"{kind} is nothing that follows here")
        self._write(message.get("body", b""), bool(message.get("more_body")))

    def _write(self, body: bytes, more: bool) -> None:
        is_head = self.scope["method"] == "HEAD"
        head = b""
        if not self.response_started:
            head = self._head_of(cast("Message", self._begin), is_head, is_whole=not more and not is_head, body=body)
        if is_head:
            body, self._expected_bytes = b"", 0
        elif self._is_chunked:
            body = (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        else:
            self._expected_bytes -= len(body)
            if self._expected_bytes < 0 or (self._expected_bytes and not more):
                raise RuntimeError("the answer's body is of another length than its headers say")
        self.response_started, self.waiting_for_100_continue = True, False
        if head and len(body) > HIGH_WATER_LIMIT:
            self.transport.write(head)
            self.transport.write(body)
        elif head or body:
            self.transport.write(head + body)
        if not more:
            self.response_complete = True
            self.set()
            if not self.keep_alive:
                self.transport.close()
            self._protocol.on_response_complete()

    def _head_of(self, begin: Message, is_head: bool, *, is_whole: bool, body: bytes) -> bytes:
        status = begin["status"]
        lines = [_STATUS_LINES[status]]
        length: bytes | None = None
        for name, value in begin.get("headers", ()):
            lines.append(self._protocol.line_of(name, value))
            if name == _LENGTH:
                length = value
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        if not self.keep_alive and b"connection: close\r\n" not in lines:
            lines.append(b"connection: close\r\n")
        if length is not None:
            self._expected_bytes = int(length)
        elif is_whole and status not in (204, 304):
            self._expected_bytes = len(body)
            lines.append(b"content-length: %d\r\n" % len(body))
        elif not is_head and status not in (204, 304):
            self._is_chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)


class LeanProtocol(HttpToolsProtocol):
    """As uvicorn's with httptools, for an application whose answers are small and that knows no WebSockets."""

    known: KnownTexts
    """Of its server."""
    _answered_at = 0.0

    def line_of(self, name: bytes, value: bytes) -> bytes:
        """A header as it is written.

        Raises:
            RuntimeError: it would be more than one.
        """
        if name == _LENGTH:
            return b"content-length: %d\r\n" % int(value)
        lines = self.known.lines
        line = lines.get((name, value))
        if line is None:
            if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
                raise RuntimeError("a header of the answer holds what none may hold")
            line = b"%s: %s\r\n" % (name.lower(), value)
            if len(lines) < _MOST_KNOWN and len(line) < _LONGEST_KNOWN:
                lines[(name, value)] = line
        return line

    # ---- the parser's calls

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def _target(self) -> tuple[str, bytes, bytes]:
        """The path, the path as it was sent, and the query string."""
        targets = self.known.targets
        found = targets.get(self.url)
        if found is None:
            parsed = httptools.parse_url(self.url)
            path = parsed.path.decode("ascii")
            found = (urllib.parse.unquote(path) if "%" in path else path, parsed.path, parsed.query or b"")
            if len(targets) < _MOST_KNOWN and len(self.url) < _LONGEST_KNOWN:
                targets[self.url] = found
        return found

    def on_headers_complete(self) -> None:
        http_version = self.parser.get_http_version()
        path, raw_path, query = self._target()
        scope: Scope = {
            "type": "http", "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": http_version, "server": self.server, "client": self.client, "scheme": self.scheme,
            "method": self.parser.get_method().decode("ascii"), "root_path": self.root_path,
            "path": self.root_path + path, "raw_path": self.root_path.encode("ascii") + raw_path,
            "query_string": query, "headers": self.headers, "state": self.app_state.copy(),
        }  # fmt: skip
        keep_alive = http_version != "1.0" and self.parser.should_keep_alive()
        before = self.cycle
        cycle = LeanCycle(self, scope, keep_alive, self.expect_100_continue)
        self.cycle = cast(RequestResponseCycle, cycle)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            # Sent ahead: it waits for its turn.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: object) -> None:
        self.tasks.add(self.loop.create_task(cast(LeanCycle, cycle).run(cast("ASGIApp", app))))

    def on_body(self, body: bytes) -> None:
        cycle = cast(LeanCycle, self.cycle)
        if cycle.response_complete:
            return
        cycle.body = cycle.body + body if cycle.body else body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.set()

    def on_message_complete(self) -> None:
        cycle = cast(LeanCycle, self.cycle)
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.set()

    # ---- afterwards

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        # Instead of a timer for each request: the guard looks once a second.
        self._answered_at = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            cycle, _ = self.pipeline.pop()
            self._start_asgi_task(cycle, self.app)

    def has_been_idle_for_long(self, now: float) -> bool:
        """Whether a connection that waits for its next request has done so for too long."""
        return bool(self._answered_at) and now - self._answered_at > self.timeout_keep_alive
