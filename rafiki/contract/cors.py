"""Calls from web pages of other addresses, which browsers make only where a server allows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rafiki.contract.http_headers import STACK_HEADER, VERSION_HEADER

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_HEADERS = (
    "authorization", "content-type", "content-encoding", "cache-control", "inference-header-content-length",
    "x-rafiki-key",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """``app``, which answers pages of the named origins, too (``*`` = of all). None named = it is returned as it is."""
    if not origins:
        return app
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        app, allow_origins=list(origins), allow_methods=_METHODS, expose_headers=[VERSION_HEADER],
        allow_headers=[*_HEADERS, STACK_HEADER],
    )  # fmt: skip
