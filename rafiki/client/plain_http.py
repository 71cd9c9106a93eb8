"""Small requests with httptools, for what makes one call: the standard library's client takes 14 ms to load (most of it
for mail and TLS), httpx 100 ms.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import httptools

from rafiki.contract.http_headers import VERSION_HEADER
from rafiki.distribution import USER_AGENT

if TYPE_CHECKING:
    import ssl

    from rafiki.client.trust import Trust

_HTTPS = "https://"
_VERSION_HEADER = VERSION_HEADER.lower().encode()
_MOST_HEADER_BYTES = 2**16
_CHUNK_BYTES = 2**16
SILENCE_S = 3.0
"""What keeps silent for so long may hang."""


class NoConnectionError(OSError):
    """Nobody answers at the address, or its certificate is not trusted; the cause says which."""


class NoHttpError(OSError):
    """What came back is no HTTP, or ended before its end."""


class PlainAnswer(NamedTuple):
    """What a server has answered."""

    status: int
    body: bytes
    version: str | None
    """Of the Rafiki that answered, where it says so."""


class PlainHttp:
    """Connections to one server, each kept for the next request. Safe to share between threads."""

    def __init__(self, host: str, port: int, *, connect_timeout_s: float, trust: Trust | None = None) -> None:
        """
        Args:
            host: its name or address; TLS is spoken where ``https://`` stands before it.
            trust: whose certificates are taken; None = those of the machine's authorities.
        """
        self._is_tls = host.startswith(_HTTPS)
        self._host, self._port = host.removeprefix(_HTTPS), port
        self._connect_timeout_s = connect_timeout_s
        self._trust = trust
        self._context: ssl.SSLContext | None = None
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
        while_silent: Callable[[], object] | None = None,
    ) -> PlainAnswer:
        """The answer.

        Args:
            timeout_s: the longest silence of the server.
            while_silent: called every few seconds of silence; what it raises ends the request.

        Raises:
            NoConnectionError: when there is no connection to it.
            TimeoutError: when it is silent for too long.
            NoHttpError: when what it answers is no HTTP, or not whole.
            OSError: when the connection breaks.
            ValueError: when the target or a header cannot be sent.
        """
        sent = self._encode(method, target, body, headers)
        connection = self._take() or self._connect()
        is_kept = False
        try:
            connection.settimeout(timeout_s)
            connection.sendall(sent)
            answer = _Answer()
            while not answer.is_complete:
                answer.feed(_receive(connection, timeout_s, while_silent))
            is_kept = answer.is_connection_kept
            return PlainAnswer(answer.status, b"".join(answer.parts), answer.version)
        finally:
            if is_kept:
                with self._lock:
                    self._idle.append(connection)
            else:
                connection.close()

    def _encode(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        host = f"[{self._host}]" if ":" in self._host else self._host
        lines = {"Host": f"{host}:{self._port}", "Accept-Encoding": "identity", "User-Agent": USER_AGENT, **headers}
        if body is not None:
            lines["Content-Length"] = str(len(body))
        head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
        if re.search(r"[\x00-\x20\x7f-\U0010ffff]", target) or any(re.search(r"[\r\n\0]", line) for line in head):
            raise ValueError("a header or the address holds letters that HTTP has no place for")
        return "\r\n".join([*head, "\r\n"]).encode() + (body or b"")

    def _connect(self) -> socket.socket:
        try:
            connection = socket.create_connection((self._host, self._port), self._connect_timeout_s)
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return self._over_tls(connection) if self._is_tls else connection
            except BaseException:
                connection.close()
                raise
        except (OSError, UnicodeError) as e:
            raise NoConnectionError(str(e)) from e

    def _over_tls(self, connection: socket.socket) -> socket.socket:
        from rafiki.client.trust import Trust

        if self._context is None:
            self._context = (self._trust or Trust()).context()
        return self._context.wrap_socket(connection, server_hostname=self._host)

    def _take(self) -> socket.socket | None:
        """A kept connection that the server has not ended meanwhile."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            with contextlib.suppress(OSError, ValueError):
                # What can be read where nothing was asked is the end.
                if not select.select([connection], [], [], 0)[0]:
                    return connection
            connection.close()


def _receive(connection: socket.socket, timeout_s: float, while_silent: Callable[[], object] | None) -> bytes:
    """What comes next; see :meth:`PlainHttp.request`."""
    if while_silent is None:
        return connection.recv(_CHUNK_BYTES)
    until = time.monotonic() + timeout_s
    while True:
        left_s = until - time.monotonic()
        connection.settimeout(max(0.001, min(left_s, SILENCE_S)))
        try:
            return connection.recv(_CHUNK_BYTES)
        except TimeoutError:
            if time.monotonic() >= until:
                raise
            while_silent()


class _Answer:
    """One answer as its bytes come in. Methods whose names begin with ``on_`` are called by its parser."""

    def __init__(self) -> None:
        self.status = 0
        self.version: str | None = None
        self.parts: list[bytes] = []
        self.is_complete = False
        self.is_connection_kept = False
        self._has_head = self._has_end = False
        self._head_bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what came; nothing is the end of the connection.

        Raises:
            NoHttpError, ConnectionError: when it is no answer.
        """
        if not data:
            self._take_end()
            return
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as e:
            raise NoHttpError(f"what came back is no HTTP ({e})") from e
        if not self._has_head and self._head_bytes > _MOST_HEADER_BYTES:
            raise NoHttpError("the headers of the answer do not end")

    def _take_end(self) -> None:
        if not self._has_head:
            raise ConnectionResetError("it was closed without an answer")
        if self._has_end:
            raise NoHttpError("it was closed in the middle of the answer")
        self.is_complete = True  # An answer of no given length ends with its connection.

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise ValueError("there is something behind the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == _VERSION_HEADER:
            self.version = value.decode("latin-1")
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._has_end = True

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._has_head = self.status >= 200

    def on_body(self, data: bytes) -> None:
        self.parts.append(data)

    def on_message_complete(self) -> None:
        if self._has_head:  # One below 200 only announces the answer.
            self.is_complete = True
            self.is_connection_kept = self._parser.should_keep_alive()
