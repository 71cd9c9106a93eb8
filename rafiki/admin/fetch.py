"""Fetches what a user's URL names, without letting the URL reach what the user cannot.

Addresses are checked when the connection is made, and it is made to what was checked, so neither a redirect nor a name
that resolves differently the second time leads into this machine or its private networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import httpcore

from rafiki.admin.guarded_http import (
    CONNECT_S,
    FIRST_FREE_PORT,
    GuardedBackend,
    GuardError,
    HostNotFoundError,
    NotPublicError,
    PortRefusedError,
    TooLateError,
)
from rafiki.distribution import USER_AGENT
from rafiki.errors import InvalidDatasetError
from rafiki.utils.clock import Deadline
from rafiki.utils.urls import mask_url

_MOST_REDIRECTS = 5
_MOST_URL_CHARS = 8192
_IDLE_S = 30.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def _reason(url: str, error: GuardError) -> InvalidDatasetError:
    """What a guard refuses, in the words of whoever gave the URL."""
    owner = "or let the stack's owner set admin.allow_private_dataset_urls in rafiki.yaml."
    match error:
        case HostNotFoundError():
            return InvalidDatasetError(f"The dataset's URL names the host {error.host[:80]!r}, which cannot be found.")
        case NotPublicError():
            return InvalidDatasetError(
                f"The dataset's URL leads to {error.host} ({error.address}), which is not a public address. Upload the "
                f"file instead, {owner}"
            )
        case PortRefusedError():
            return InvalidDatasetError(
                f"The dataset's URL names port {error.port}, which is not one of the web's. Use port 80, 443, or one "
                f"from {FIRST_FREE_PORT}, {owner}"
            )
        case TooLateError():
            return InvalidDatasetError(
                f"{mask_url(url)} did not arrive within {error.duration_s:g} s (admin.dataset_url_timeout_s in "
                "rafiki.yaml)."
            )
    raise error


@contextmanager
def fetch(url: str, *, timeout_s: float, allow_private: bool) -> Iterator[Iterator[bytes]]:
    """The chunks of what ``url`` names (http or https, at most five redirects), within ``timeout_s`` for all of it.

    How much is taken is the reader's to limit.

    Raises:
        InvalidDatasetError: saying why it cannot be had.
    """
    deadline = Deadline(timeout_s)
    timeouts = {"connect": CONNECT_S, "read": _IDLE_S, "write": _IDLE_S, "pool": CONNECT_S}
    backend = GuardedBackend(deadline, allow_private=allow_private)
    asked = url
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
    except GuardError as e:
        raise _reason(asked, e) from e
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
