"""Fetches what a user's URL names, without letting the URL reach what the user cannot.

Addresses are checked when the connection is made, and it is made to what was checked, so neither a redirect nor a name
that resolves differently the second time leads into this machine or its private networks.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

import httpcore

from rafiki.distribution import USER_AGENT
from rafiki.errors import InvalidDatasetError
from rafiki.utils.clock import Deadline
from rafiki.utils.public_addresses import is_own, is_public
from rafiki.utils.urls import mask_url

if TYPE_CHECKING:
    import ssl

    from httpcore._backends.base import SOCKET_OPTION

_MOST_REDIRECTS = 5
_MOST_ADDRESSES = 8
_MOST_URL_CHARS = 8192
_WEB_PORTS = (80, 443)
_FIRST_FREE_PORT = 1024
"""Those below belong to protocols of their own, which a request made by someone else could be smuggled into."""
_CONNECT_S = 10.0
_IDLE_S = 30.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_Result = TypeVar("_Result")


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only, and waits for nothing longer than the deadline."""

    def __init__(self, url: str, deadline: Deadline, *, allow_private: bool) -> None:
        self._backend = httpcore.SyncBackend()
        self._wait = _Wait(url, deadline)
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses_of(host, port)
        if not self._allow_private:
            _refuse_private(host, port, addresses)
        options = list(socket_options or ())
        # What was checked is what is connected to: the name is not looked up again.
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connect(address, port, timeout, local_address, options)
        return self._connect(addresses[-1], port, timeout, local_address, options)

    def _connect(
        self, address: str, port: int, timeout: float | None, local_address: str | None, options: list[SOCKET_OPTION]
    ) -> httpcore.NetworkStream:
        limited = self._wait.limited(timeout)
        return _TimedStream(self._backend.connect_tcp(address, port, limited, local_address, options), self._wait)


class _Wait:
    """How long the whole of a fetch may still take."""

    def __init__(self, url: str, deadline: Deadline) -> None:
        self._url = url
        self._deadline = deadline

    def limited(self, timeout_s: float | None) -> float:
        """As long as is left, and no longer than ``timeout_s``.

        Raises:
            InvalidDatasetError: nothing is left.
        """
        left_s = self._deadline.left_s()
        if left_s <= 0:
            raise InvalidDatasetError(
                f"{mask_url(self._url)} did not arrive within {self._deadline.duration_s:g} s "
                "(admin.dataset_url_timeout_s in rafiki.yaml)."
            )
        return left_s if timeout_s is None else min(timeout_s, left_s)


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends with the deadline: headers may drip, too."""

    def __init__(self, stream: httpcore.NetworkStream, wait: _Wait) -> None:
        self._stream = stream
        self._wait = wait

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._timed(lambda limit_s: self._stream.read(max_bytes, limit_s), timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._timed(lambda limit_s: self._stream.write(buffer, limit_s), timeout)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(
            self._timed(lambda limit_s: self._stream.start_tls(ssl_context, server_hostname, limit_s), timeout),
            self._wait,
        )

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)

    def _timed(self, action: Callable[[float], _Result], timeout: float | None) -> _Result:
        try:
            return action(self._wait.limited(timeout))
        except httpcore.TimeoutException:
            self._wait.limited(None)  # Says so when it was the deadline that has come.
            raise


def _addresses_of(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise InvalidDatasetError(f"The dataset's URL names the host {host[:80]!r}, which cannot be found.") from e
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MOST_ADDRESSES]


def _refuse_private(host: str, port: int, addresses: list[str]) -> None:
    """One address that is not public is enough: a name that mixes them is made to get past such a check."""
    for address in addresses:
        if not is_public(address) or is_own(address):
            raise InvalidDatasetError(
                f"The dataset's URL leads to {host} ({address}), which is not a public address. Upload the file "
                "instead, or let the stack's owner set admin.allow_private_dataset_urls in rafiki.yaml."
            )
    if port < _FIRST_FREE_PORT and port not in _WEB_PORTS:
        raise InvalidDatasetError(
            f"The dataset's URL names port {port}, which is not one of the web's. Use port 80, 443, or one from "
            f"{_FIRST_FREE_PORT}, or let the stack's owner set admin.allow_private_dataset_urls in rafiki.yaml."
        )


@contextmanager
def fetch(url: str, *, timeout_s: float, allow_private: bool) -> Iterator[Iterator[bytes]]:
    """The chunks of what ``url`` names (http or https, at most five redirects), within ``timeout_s`` for all of it.

    How much is taken is the reader's to limit.

    Raises:
        InvalidDatasetError: saying why it cannot be had.
    """
    deadline = Deadline(timeout_s)
    timeouts = {"connect": _CONNECT_S, "read": _IDLE_S, "write": _IDLE_S, "pool": _CONNECT_S}
    backend = _GuardedBackend(url, deadline, allow_private=allow_private)
    try:
        # A pool of httpcore asks no proxy: one that the environment names would connect to what was not checked.
        with httpcore.ConnectionPool(network_backend=backend, max_connections=1) as pool:
            for _ in range(_MOST_REDIRECTS + 1):
                _check_url(url)
                headers = [
                    ("Host", urlsplit(url).netloc),
                    ("User-Agent", USER_AGENT),
                    ("Accept-Encoding", "identity"),
                ]
                with pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as response:
                    if response.status not in _REDIRECTS:
                        _check_answer(url, response)
                        yield response.iter_stream()
                        return
                    url = _redirected(url, _header(response, b"location"))
            raise InvalidDatasetError(f"The dataset's URL was redirected more than {_MOST_REDIRECTS} times.")
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as e:
        raise InvalidDatasetError(f"{mask_url(url)} cannot be fetched: {type(e).__name__} {e}".rstrip() + ".") from e


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise InvalidDatasetError(f"The dataset's URL {url[:80]!r} cannot be read: {e}.") from e
    if len(url) > _MOST_URL_CHARS:
        raise InvalidDatasetError(f"The dataset's URL has {len(url):,} characters; {_MOST_URL_CHARS:,} are the most.")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise InvalidDatasetError(
            f"The dataset's URL {mask_url(url)[:80]!r} holds a space or a character that no URL holds. Write those of "
            "its path as %XX, and a host's name in its ASCII form (xn--...)."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidDatasetError(
            f"The dataset's URL must begin with http:// or https:// and name a host, not {mask_url(url)[:80]!r}."
        )
    if "@" in parts.netloc:
        raise InvalidDatasetError(
            f"The dataset's URL holds a user or a password before {parts.hostname[:80]!r}; they are not sent. Use a "
            "URL that needs none, such as a signed one, or upload the file."
        )
    if port == 0:
        raise InvalidDatasetError("The dataset's URL names port 0, at which nothing can listen.")


def _check_answer(url: str, response: httpcore.Response) -> None:
    if response.status != 200:
        raise InvalidDatasetError(f"{mask_url(url)} answers with status {response.status}, not 200.")
    encoding = _header(response, b"content-encoding").strip().lower()
    if encoding not in ("", "identity"):
        raise InvalidDatasetError(
            f"{mask_url(url)} answers with a compressed body (content-encoding: {encoding[:80]!r}), which was not "
            "asked for. Give a URL of the file as it is, or upload it."
        )


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


def _redirected(url: str, target: str) -> str:
    if not target:
        raise InvalidDatasetError(f"{mask_url(url)} redirects without saying where to.")
    try:
        found = urljoin(url, target)
        is_downgrade = urlsplit(url).scheme == "https" and urlsplit(found).scheme == "http"
    except ValueError as e:
        raise InvalidDatasetError(f"{mask_url(url)} redirects to what is no URL: {e}.") from e
    if is_downgrade:
        raise InvalidDatasetError(
            f"{mask_url(url)} redirects from https to http ({mask_url(found)}), where others may read and change it."
        )
    return found
