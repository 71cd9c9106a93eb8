"""Requests to the admin that serves a store. An admin that is away for a while is waited for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote, urlsplit

import msgspec

from rafiki.errors import ConfigError, InternalError, RafikiError, UnreachableError, error_from_wire
from rafiki.store_location import StoreLocation
from rafiki.stores.remote.protocol import PIECE_BYTES
from rafiki.utils.clock import Deadline
from rafiki.utils.process import Backoff

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

PATIENCE_S = 300.0
"""How long the admin may be away: longer than a restart or a change of its version takes."""
_SILENCE_S = 60.0
"""The longest pause within a request or an answer."""
_TRY_AGAIN = frozenset({429, 502, 503, 504})

SOCKET_SCHEME = "http+unix"
"""Of an admin that is reached by a Unix socket of this machine."""
_SCHEMES = ("http", "https", SOCKET_SCHEME)

T = TypeVar("T")
Body = bytes | Callable[[], Iterable[bytes]] | None
"""What is sent; of what comes in pieces, a function that begins anew, because a request may be sent again."""


class _Refusal(msgspec.Struct):
    error: str
    message: str


class AwayError(Exception):
    """The admin did not answer, or not to the end: another try may succeed."""


def socket_url(socket: str, path: str) -> str:
    """The address of what an admin serves at a path, by a Unix socket."""
    return f"{SOCKET_SCHEME}://{quote(socket, safe='')}{path}"


def _socket_connection(path: str) -> HTTPConnection:
    import http.client
    import socket

    class SocketConnection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(path)

    return SocketConnection("localhost", timeout=_SILENCE_S, blocksize=PIECE_BYTES)


class RemoteConnection:
    """Connections to one admin; each thread has one of its own."""

    def __init__(self, location: StoreLocation, patience_s: float = PATIENCE_S) -> None:
        """
        Raises:
            ConfigError: when the location is not of the form ``http://host:port/path``.
        """
        parts = urlsplit(location.url)
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.username:
            raise ConfigError(f"{location}: write the address of an admin's stores as in http://10.0.0.1:3000/stores.")
        self.location = location
        self._parts = parts
        self._patience_s = patience_s
        self._local = threading.local()

    def request(self, method: str, path: str, body: Body = None) -> bytes:
        """The whole answer.

        Raises:
            RafikiError: what the admin refuses with.
            UnreachableError: when it is away for too long.
        """
        return self.patiently(lambda: self._read_all(method, path, body))

    def exists(self, path: str) -> bool:
        """Whether ``HEAD`` finds something."""

        def ask() -> bool:
            with self.answer("HEAD", path) as answer:
                answer.read()
                if answer.status not in (200, 404):
                    raise AwayError(f"HTTP {answer.status}")
                return answer.status == 200

        return self.patiently(ask)

    def patiently(self, action: Callable[[], T]) -> T:
        """``action()``, tried again while the admin is away.

        Raises:
            UnreachableError: when it is away for too long.
        """
        deadline, backoff = Deadline(self._patience_s), Backoff()
        while True:
            try:
                return action()
            except AwayError as e:
                if deadline.is_over():
                    raise UnreachableError(
                        f"The admin at {self.location} has not answered for {self._patience_s:g} s: {e}."
                    ) from e
            # An event of nobody's: a signal ends the wait, as it does everywhere.
            threading.Event().wait(min(backoff.next_s(), deadline.left_s()))

    @contextlib.contextmanager
    def answer(
        self, method: str, path: str, body: Body = None, headers: dict[str, str] | None = None
    ) -> Iterator[HTTPResponse]:
        """The answer to one request, of whatever status; it is read within the block.

        Raises:
            AwayError: when the connection breaks, here or within the block.
        """
        from http.client import HTTPException

        connection = self._connection()
        sent = {"Authorization": f"Bearer {self.location.credential or ''}", **(headers or {})}
        content = body() if callable(body) else body
        try:
            connection.request(
                method, f"{self._parts.path.rstrip('/')}/{path}", content, sent,
                encode_chunked=callable(body) and "Content-Length" not in sent,
            )  # fmt: skip
            answer = connection.getresponse()
            yield answer
            if not answer.isclosed():
                connection.close()
        except (OSError, HTTPException) as e:
            connection.close()
            raise AwayError(str(e) or type(e).__name__) from e
        except BaseException:
            connection.close()
            raise

    def _read_all(self, method: str, path: str, body: Body) -> bytes:
        with self.answer(method, path, body, _length_of(body)) as answer:
            data = answer.read()
            check_status(answer.status, data)
            return data

    def _connection(self) -> HTTPConnection:
        found: HTTPConnection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._connect()
        return found

    def _connect(self) -> HTTPConnection:
        import http.client

        if self._parts.scheme == SOCKET_SCHEME:
            return _socket_connection(unquote(self._parts.netloc))
        host, port = str(self._parts.hostname), self._parts.port
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=_SILENCE_S, blocksize=PIECE_BYTES)
        from rafiki.utils.certificates import context_trusting

        context = context_trusting(self.location.authorities)
        return http.client.HTTPSConnection(host, port, timeout=_SILENCE_S, blocksize=PIECE_BYTES, context=context)

    def close(self) -> None:
        """Close this thread's connection; those of other threads close with these."""
        found: HTTPConnection | None = getattr(self._local, "connection", None)
        if found is not None:
            found.close()


def _length_of(body: Body) -> dict[str, str]:
    return {"Transfer-Encoding": "chunked"} if callable(body) else {}


def check_status(status: int, body: bytes) -> None:
    """Raise what an answer refuses with.

    Raises:
        RafikiError: the error that it names.
        AwayError: when another try may succeed.
    """
    if 200 <= status < 300:
        return
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except msgspec.DecodeError:
        # An admin that is just starting or ending, or what stands before it.
        if status >= 500:
            raise AwayError(f"HTTP {status}") from None
        refusal = _Refusal("", f"HTTP {status}")
    if status in _TRY_AGAIN:
        raise AwayError(refusal.message)
    raise _error_of(refusal, status)


def _error_of(refusal: _Refusal, status: int) -> RafikiError:
    if not refusal.error:
        return InternalError(f"The admin answers with {refusal.message}, which is no answer of Rafiki's.")
    return error_from_wire(refusal.error, refusal.message, status)
