"""Fetches what a user's URL names, without letting the URL reach what the user cannot.

Addresses are checked when the connection is made, so neither a redirect nor a name that resolves differently the second
time leads into this machine or its private networks.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import httpcore

from rafiki.distribution import USER_AGENT
from rafiki.errors import InvalidDatasetError
from rafiki.utils.clock import Deadline
from rafiki.utils.urls import mask_url

if TYPE_CHECKING:
    from httpcore._backends.base import SOCKET_OPTION

_MOST_REDIRECTS = 5
_CONNECT_S = 10.0
_IDLE_S = 30.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only."""

    def __init__(self, *, allow_private: bool) -> None:
        self._backend = httpcore.SyncBackend()
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise InvalidDatasetError(f"The dataset's URL names the host {host[:80]!r}, which cannot be found.") from e
        address = str(found[0][4][0])
        if not self._allow_private and not _is_public(address):
            raise InvalidDatasetError(
                f"The dataset's URL leads to {host} ({address}), which is not a public address. Upload the file "
                "instead, or let the stack's owner set admin.allow_private_dataset_urls in rafiki.yaml."
            )
        return self._backend.connect_tcp(address, port, timeout, local_address, socket_options)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not (mapped or ip).is_multicast


@contextmanager
def fetch(url: str, *, timeout_s: float, allow_private: bool) -> Iterator[Iterator[bytes]]:
    """The chunks of what ``url`` names (http or https, at most five redirects), within ``timeout_s`` for all of it.

    How much is taken is the reader's to limit.

    Raises:
        InvalidDatasetError: saying why it cannot be had.
    """
    deadline = Deadline(timeout_s)
    timeouts = {"connect": _CONNECT_S, "read": _IDLE_S, "write": _IDLE_S, "pool": _CONNECT_S}
    backend = _GuardedBackend(allow_private=allow_private)
    try:
        with httpcore.ConnectionPool(network_backend=backend, max_connections=1) as pool:
            for _ in range(_MOST_REDIRECTS + 1):
                _check_scheme(url)
                headers = [("Host", urlsplit(url).netloc.rpartition("@")[2]), ("User-Agent", USER_AGENT)]
                with pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as response:
                    if response.status not in _REDIRECTS:
                        if response.status != 200:
                            raise InvalidDatasetError(
                                f"{mask_url(url)} answers with status {response.status}, not 200."
                            )
                        yield _within(response.iter_stream(), url, deadline)
                        return
                    target = dict(response.headers).get(b"Location") or dict(response.headers).get(b"location", b"")
                    url = _redirected(url, target.decode("latin-1"))
            raise InvalidDatasetError(f"The dataset's URL was redirected more than {_MOST_REDIRECTS} times.")
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as e:
        raise InvalidDatasetError(f"{mask_url(url)} cannot be fetched: {type(e).__name__} {e}".rstrip() + ".") from e


def _check_scheme(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as e:
        raise InvalidDatasetError(f"The dataset's URL {url[:80]!r} cannot be read: {e}.") from e
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidDatasetError(
            f"The dataset's URL {url[:80]!r} holds a space or a character that no URL holds. Write those of its path "
            "as %XX, and a host's name in its ASCII form (xn--...)."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidDatasetError(
            f"The dataset's URL must begin with http:// or https:// and name a host, not {url[:80]!r}."
        )


def _redirected(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError as e:
        raise InvalidDatasetError(f"{mask_url(url)} redirects to what is no URL: {e}.") from e


def _within(chunks: Iterable[bytes], url: str, deadline: Deadline) -> Iterator[bytes]:
    for chunk in chunks:
        if deadline.is_over():
            raise InvalidDatasetError(
                f"{mask_url(url)} did not arrive within {deadline.duration_s:g} s (admin.dataset_url_timeout_s in "
                "rafiki.yaml)."
            )
        yield chunk
