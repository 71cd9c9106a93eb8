"""Requests to the place where a store is, signed by the admin: bytes that need not pass it.

Whatever keeps them from succeeding costs nothing but the detour: what cannot travel directly goes through the admin.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rafiki.signed_request import SignedRequest
from rafiki.stores.remote.connection import AwayError
from rafiki.stores.remote.protocol import PIECE_BYTES

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

_logger = logging.getLogger(__name__)

_CONNECT_S = 5.0
_SILENCE_S = 60.0
"""The longest pause within an answer."""
_TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_MOST_REFUSALS = 2
"""In a row: the first may be of a signature that was valid when it was made."""
_MOST_FAILURES = 5
"""In a row, of a server that answers."""
_CODE = re.compile(r"<Code>(\w{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})</Message>")


class NotDirectError(Exception):
    """It cannot travel directly; what is wrong is logged. It goes through the admin."""


class DirectRequests:
    """Those of one store. Safe to use from several threads."""

    def __init__(self, what: str) -> None:
        """
        Args:
            what: for people: ``Datasets``.
        """
        self._what = what
        self._lock = threading.Lock()
        self._is_usable = True
        self._n_refusals = self._n_failures = 0

    @property
    def is_usable(self) -> bool:
        """Whether it is worth to ask for a signed request."""
        return self._is_usable

    @contextlib.contextmanager
    def read(self, url: str, start: int = 0) -> Iterator[HTTPResponse]:
        """The bytes at a signed URL, from ``start`` on; they are read within the block.

        Raises:
            AwayError: it broke off, or another signature or another moment may do.
            NotDirectError: it cannot be.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._answer(SignedRequest(method="GET", url=url, headers=headers), None) as answer:
            if start and answer.status == 200:
                # A server that knows no ranges sends it all.
                self.give_up(url, "it does not send what is asked for")
                raise NotDirectError
            yield answer

    def write(self, request: SignedRequest, parts: Sequence[bytes]) -> None:
        """Send a body by a signed request.

        Raises:
            AwayError, NotDirectError: as :meth:`read`.
        """
        with self._answer(request, parts) as answer:
            answer.read()

    def give_up(self, url: str, reason: str) -> None:
        """From now on everything goes through the admin."""
        with self._lock:
            is_new, self._is_usable = self._is_usable, False
        if is_new:
            # The host alone: the rest is a credential.
            where = urlsplit(url).netloc
            _logger.warning("%s travel through the admin, not directly to or from %s: %s", self._what, where, reason)

    @contextlib.contextmanager
    def _answer(self, request: SignedRequest, body: Sequence[bytes] | None) -> Iterator[HTTPResponse]:
        """The answer of a success."""
        from http.client import HTTPException

        connection = self._connect(request.url)
        parts = urlsplit(request.url)
        try:
            connection.request(
                request.method, f"{parts.path}?{parts.query}", iter(body) if body is not None else None, request.headers
            )
            answer = connection.getresponse()
            if not 200 <= answer.status < 300:
                self._refuse(request.url, answer.status, answer.read(PIECE_BYTES).decode(errors="replace"))
            with self._lock:
                self._n_refusals = self._n_failures = 0
            yield answer
        except (OSError, HTTPException) as e:
            raise self._failure(request.url, str(e) or type(e).__name__) from e
        finally:
            connection.close()

    def _connect(self, url: str) -> HTTPConnection:
        import http.client

        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=_CONNECT_S, blocksize=PIECE_BYTES)
        try:
            connection.connect()
        except OSError as e:
            self.give_up(url, f"it cannot be reached from here ({e})")
            raise NotDirectError from e
        connection.sock.settimeout(_SILENCE_S)
        return connection

    def _refuse(self, url: str, status: int, text: str) -> None:
        code, message = _CODE.search(text), _MESSAGE.search(text)
        said = " ".join(found[1] for found in (code, message) if found)
        if status in _TRY_AGAIN:
            raise self._failure(url, f"HTTP {status} {said}".strip())
        with self._lock:
            self._n_refusals += 1
            is_final = self._n_refusals >= _MOST_REFUSALS
        if is_final:
            self.give_up(url, f"it refuses what the admin has signed (HTTP {status} {said}".strip() + ")")
            raise NotDirectError
        raise AwayError(f"HTTP {status} {said}".strip())

    def _failure(self, url: str, reason: str) -> AwayError | NotDirectError:
        with self._lock:
            self._n_failures += 1
            is_final = self._n_failures >= _MOST_FAILURES
        if is_final:
            self.give_up(url, f"it fails again and again ({reason})")
            return NotDirectError()
        return AwayError(reason)
