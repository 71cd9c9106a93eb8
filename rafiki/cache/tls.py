"""TLS to the cache: connections of the driver that trust what an address names, and nothing else."""

from __future__ import annotations

import atexit
import shutil
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import redis.asyncio.connection
import redis.connection

from rafiki.messages import CacheTls
from rafiki.utils.certificates import context_trusting, load_pair
from rafiki.utils.files import write_private

NO_HANDSHAKE = "no answer to the TLS handshake"
_HANDSHAKE_TIMEOUT_S = 3.0
"""A Redis that speaks no TLS waits for the rest of what it takes for a command."""


@cache
def context_of(tls: CacheTls) -> ssl.SSLContext:
    """The context of all connections of this process: making one takes milliseconds.

    Raises:
        CertificateError: it holds what cannot be used.
    """
    context = context_trusting(tls.authorities)
    if tls.certificate is not None and tls.key is not None:
        _load_texts(context, tls.certificate, tls.key)
    return context


def _load_texts(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # OpenSSL reads them from files alone; these are gone before this returns.
    folder = Path(tempfile.mkdtemp(prefix="rafiki-tls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        write_private(folder / "certificate.pem", certificate)
        write_private(folder / "key.pem", key)
        load_pair(context, folder / "certificate.pem", folder / "key.pem")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take_tickets(connection: ssl.SSLSocket) -> None:
    """Read what TLS 1.3 sends behind the handshake: the driver takes it for an answer that nobody has read. Where it
    logs in, that is read with the answer to it."""
    connection.sendall(b"PING\r\n")
    answer = b""
    while not answer.endswith(b"\n"):
        if not (part := connection.recv(1024)):
            raise OSError("closed by server")
        answer += part


class TlsConnection(redis.connection.SSLConnection):
    """The driver's own trusts the machine's authorities beside the one that it is given, and reads files each time."""

    def __init__(self, *, tls: CacheTls, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._context = context_of(tls)

    def _wrap_socket_with_ssl(self, sock: Any) -> ssl.SSLSocket:
        timeout_s = sock.gettimeout()
        sock.settimeout(_HANDSHAKE_TIMEOUT_S)
        try:
            connection = self._context.wrap_socket(sock, server_hostname=self.host)
            if self.password is None:
                _take_tickets(connection)
        except TimeoutError as e:
            raise OSError(NO_HANDSHAKE) from e
        connection.settimeout(timeout_s)
        return connection


class AsyncTlsConnection(redis.asyncio.connection.SSLConnection):
    """As :class:`TlsConnection`, for an event loop."""

    def __init__(self, *, tls: CacheTls, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._context = context_of(tls)

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._context}
