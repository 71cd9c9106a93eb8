"""Small requests with the standard library, which loads in a fifth of the time of httpx: for what makes one call."""

from __future__ import annotations

import contextlib
import http.client
import select
import ssl
import threading
from collections.abc import Mapping

from rafiki.distribution import USER_AGENT


class NoConnectionError(OSError):
    """Nobody answers at the address, or its certificate is not trusted; the cause says which."""


class PlainHttp:
    """Connections to one server, each kept for the next request. Safe to share between threads."""

    def __init__(self, host: str, port: int, *, is_tls: bool, connect_timeout_s: float) -> None:
        self._host, self._port = host, port
        self._is_tls = is_tls
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def request(
        self, method: str, target: str, *, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of the answer.

        Args:
            timeout_s: the longest silence of the server.

        Raises:
            NoConnectionError: when there is no connection to it.
            TimeoutError: when it is silent for too long.
            OSError, HTTPException, ValueError: when the connection breaks, or what travels is no HTTP.
        """
        connection = self._take() or self._connect()
        is_kept = False
        try:
            connection.sock.settimeout(timeout_s)
            sent = {"User-Agent": USER_AGENT, **headers}
            connection.request(method, target, body, {name: value.encode() for name, value in sent.items()})
            answer = connection.getresponse()
            found = answer.status, answer.read()
            is_kept = not answer.will_close
            return found
        finally:
            if is_kept:
                with self._lock:
                    self._idle.append(connection)
            else:
                connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._is_tls:
            # The machine's own certificates, or SSL_CERT_FILE.
            context = ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._connect_timeout_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._connect_timeout_s)
        try:
            connection.connect()
        except (OSError, UnicodeError) as e:
            raise NoConnectionError(str(e)) from e
        return connection

    def _take(self) -> http.client.HTTPConnection | None:
        """A kept connection that the server has not ended meanwhile."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            with contextlib.suppress(OSError, ValueError):
                # What can be read where nothing was asked is the end.
                if not select.select([connection.sock], [], [], 0)[0]:
                    return connection
            connection.close()
