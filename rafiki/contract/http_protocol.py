"""The HTTP protocol of both servers: uvicorn's with httptools, with limits, and refusals of one form.

- Headers beyond the limit are refused (431) before more of them is parsed, and so is what frames a body (extensions of
  chunks, trailers); those that take too long too (408).
- A connection that says nothing, or whose body pauses for too long, ends.
- Where there are too many connections an idle one ends, or else the new one is refused (503).
- Who is refused while still sending sees the refusal: what comes is read and thrown away for a while.
- Who has said all and closes that side gets the answer all the same.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from rafiki.contract.http_guard import LINGER_S, HttpGuard, limits_of
from rafiki.contract.lean_protocol import KnownTexts, LeanProtocol
from rafiki.contract.refusal import refusal_body
from rafiki.errors import (
    HeadersTooLargeError,
    InvalidRequestError,
    RafikiError,
    RequestTimeoutError,
    TooManyConnectionsError,
)
from rafiki.settings import HttpConfig


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    guard: HttpGuard
    """Of its server; see :func:`serve_guarded`."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = 0
        self._between_bytes = 0
        """What has come since the last piece of a body: sizes of chunks, their extensions, trailers."""
        self._reads_head = True
        self._reads_body = False
        self._is_long = False
        self._has_begun = False
        self._lingers = False
        self._has_asked = False
        self.since = self.loop.time()
        """When the connection last began to wait, for its next request, its headers or its body."""

    @property
    def _asked(self) -> RequestResponseCycle | None:
        """The request that is not answered yet."""
        cycle: RequestResponseCycle | None = self.cycle or None
        return None if cycle is None or cycle.response_complete else cycle

    # ---- what the guard sees

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request of which nothing has come."""
        return not self._lingers and not self._has_begun and self._asked is None

    def end(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def check_time(self, now: float) -> None:
        """End it where it has waited for too long."""
        limits, waited_s = self.guard.limits, now - self.since
        if self._lingers:
            if waited_s > LINGER_S:
                self.transport.abort()
        elif self._reads_body:
            if waited_s > limits.body_s and not self._is_paused():
                self._refuse(RequestTimeoutError(f"The body has paused for {limits.body_s:g} s."))
        elif self._has_begun:
            if waited_s > limits.header_s:
                self._refuse(RequestTimeoutError(f"The headers did not come within {limits.header_s:g} s."))
        elif not self._has_asked and waited_s > limits.header_s:
            self.end()

    def _is_paused(self) -> bool:
        """Whether it is this side that does not read: the body is more than the application has taken so far."""
        return bool(self.flow.read_paused)

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.since = self.loop.time()
        if not self.guard.admit(self, self.client[0] if self.client else ""):
            self._refuse(TooManyConnectionsError())

    def connection_lost(self, exc: Exception | None) -> None:
        self.guard.leave(self)
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        if self._lingers:
            return None
        # Under TLS there is no half of a connection.
        if (asked := self._asked) is None or self._reads_body or self.scheme == "https":
            return None
        asked.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        if self._reads_head:
            self._head_bytes += len(data)
            self._is_long = self._head_bytes > self.guard.limits.header_bytes
        elif self._reads_body:
            self.since = self.loop.time()
            self._between_bytes += len(data)
        super().data_received(data)
        if self._reads_body and self._between_bytes > self.guard.limits.header_bytes:
            self._refuse_headers()
            return
        # What came may have been headers and a body; those that are complete have been measured.
        if self._is_long and self._reads_head and self._has_begun and not self._lingers:
            self._refuse_headers()

    # ---- the parser's calls

    def on_message_begin(self) -> None:
        self._reads_head, self._reads_body = True, False
        self._has_begun, self.since = True, self.loop.time()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # What comes after the body passes for no header, and is not kept: nobody here asks for it.
        if not self._reads_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._reads_head, self._has_begun, self._head_bytes, self._between_bytes = False, False, 0, 0
        self._reads_body = self._has_asked = True
        self.since = self.loop.time()
        if self._is_long:
            self._is_long = False
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.guard.limits.header_bytes:
                self._refuse_headers()
                return
        super().on_headers_complete()
        if not self.cycle.keep_alive:
            # It is closed with the answer, which its sender must have the time to see.
            self.cycle.transport = _ClosesLater(self)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        self._between_bytes = 0
        if not self._lingers:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._reads_body, self._reads_head = False, True
        self.since = self.loop.time()
        if not self._lingers:
            super().on_message_complete()

    # ---- refusals

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequestError("This is no valid HTTP request: its first line, a header or its length."))

    def _refuse_headers(self) -> None:
        limit_kb = self.guard.limits.header_bytes // 1024
        self._refuse(HeadersTooLargeError(f"The first line and the headers are larger than {limit_kb} kB."))

    def _refuse(self, error: RafikiError) -> None:
        """Answer what is no request yet, and take no other one of this connection."""
        if self.transport.is_closing():
            return
        body, status = refusal_body(error), HTTPStatus(error.http_status)
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        asked = self._asked
        if asked is not None:
            # The application works on it: it sees that its client has gone.
            asked.disconnected = True
            asked.message_event.set()
        if asked is None or not asked.response_started:
            self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.linger()

    def linger(self) -> None:
        """Close, once whoever sends has seen the answer: a close with unread data would reset the connection."""
        if self._lingers or self.transport.is_closing():
            return
        self._lingers, self.since = True, self.loop.time()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    @property
    def is_complete(self) -> bool:
        """Whether the request has come whole."""
        return not self._reads_body


class _ClosesLater:
    """The transport of a request whose connection ends with its answer."""

    def __init__(self, connection: GuardedProtocol) -> None:
        self._connection = connection
        self.write = connection.transport.write

    def is_closing(self) -> bool:
        return self._connection.transport.is_closing()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._connection.transport.get_extra_info(name, default)

    def close(self) -> None:
        if self._connection.is_complete:
            self._connection.transport.close()
        else:
            self._connection.linger()


def serve_guarded(http: HttpConfig, *, sends_files: bool = True) -> type[asyncio.Protocol]:
    """The protocol of one server, for uvicorn.

    Args:
        sends_files: whether the kernel sends files for it; else a small request costs as little as it can.
    """

    class Served(GuardedProtocol):
        guard = HttpGuard(limits_of(http))

    if not sends_files:

        class ServedLean(Served, LeanProtocol):
            known = KnownTexts()

            def check_time(self, now: float) -> None:
                if self.is_idle and self.has_been_idle_for_long(now):
                    self.end()
                else:
                    super().check_time(now)

        return ServedLean
    # Loaded here: a predictor needs none of what it brings.
    from rafiki.contract.file_protocol import FileProtocol

    class ServedWithFiles(Served, FileProtocol):
        pass

    return ServedWithFiles
