"""The pages of a predictor beside ``/`` and ``/predict``: for whoever watches it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from rafiki.contract.refusal import refusal_body, refusal_headers
from rafiki.errors import InternalError, MethodNotAllowedError, RafikiError

if TYPE_CHECKING:
    from starlette.types import Scope, Send

_METHODS = "GET, HEAD, OPTIONS"


class Page(msgspec.Struct, frozen=True):
    """What a page answers with."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


PageMaker: TypeAlias = "Callable[[Scope], Awaitable[Page]]"
"""Makes a page for one request. It may raise a RafikiError, which is answered as a refusal."""


async def answer_page(make: PageMaker, scope: Scope, send: Send, log: Callable[[Exception], None]) -> tuple[int, int]:
    """Answer a request for a page; its status and how many bytes its body has.

    Args:
        log: is told of a failure of our own.
    """
    headers: Mapping[str, str]
    try:
        status, body, headers = await _respond(make, scope)
    except RafikiError as e:
        status, body, headers = e.http_status, refusal_body(e), refusal_headers(e)
        if isinstance(e, MethodNotAllowedError):
            headers = {**headers, "allow": _METHODS}
    except Exception as e:  # noqa: BLE001 - the edge of the server: one request's failure must not end it
        log(e)
        error = InternalError("The predictor itself failed. Its log holds the details: `rafiki logs`.")
        status, body, headers = error.http_status, refusal_body(error), refusal_headers(error)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    if status != 204:
        raw.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
    return status, len(body)


async def _respond(make: PageMaker, scope: Scope) -> tuple[int, bytes, Mapping[str, str]]:
    method = scope["method"]
    if method == "OPTIONS":
        return 204, b"", {"allow": _METHODS}
    if method not in ("GET", "HEAD"):
        raise MethodNotAllowedError(f"{scope['path']} takes {_METHODS}.")
    page = await make(scope)
    return page.status, page.body, {"content-type": page.content_type, "cache-control": "no-store"}
