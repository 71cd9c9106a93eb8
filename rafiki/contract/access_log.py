"""The access log of a server: a line for each request, by the process's own log (``http.access_log``)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from rafiki.utils.traces import parse_traceparent

if TYPE_CHECKING:
    from starlette.types import Message, Scope, Send

_logger = logging.getLogger(__name__)
_MOST_CHARS = 200
_KEY_CHARS = 12
_REFUSED = 401


def note_request(scope: Scope, *, status: int, n_bytes: int, took_s: float, user: str | None = None) -> None:
    """Log a request that was answered. The query of its address is left out: it may hold what nobody else should see.

    Args:
        n_bytes: of the answer's body.
        user: the id of who asked, where that is known.
    """
    client, headers = scope.get("client"), dict(scope["headers"])
    parent = parse_traceparent(headers.get(b"traceparent", b""))
    fields: dict[str, object] = {
        "address": client[0] if client else None, "method": scope["method"], "path": _plain(scope["path"]),
        "status": status, "bytes": n_bytes, "ms": round(took_s * 1000, 3), "user": user,
        "key": None if user is not None or status == _REFUSED else _key_of(headers.get(b"authorization", b"")),
        "trace": None if parent is None else parent.trace_id.hex(),
    }  # fmt: skip
    told = " ".join(f"{name}={fields[name]}" for name in ("user", "key", "trace") if fields[name] is not None)
    _logger.info(
        '%s "%s %s" %d %d %.1f ms %s', fields["address"] or "-", fields["method"], fields["path"], status, n_bytes,
        took_s * 1000, told or "-", extra={"access": fields},
    )  # fmt: skip


def watch_answer(scope: Scope, send: Send, user: Callable[[], str | None] = lambda: None) -> Send:
    """``send``, which logs the request once its answer is sent."""
    began, status, n_bytes = perf_counter(), 0, 0

    async def watched(message: Message) -> None:
        nonlocal status, n_bytes
        await send(message)
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            n_bytes += len(message.get("body", b""))
            if not message.get("more_body"):
                note_request(scope, status=status, n_bytes=n_bytes, took_s=perf_counter() - began, user=user())

    return watched


def _plain(path: str) -> str:
    """What makes no second line, and ends no quotes."""
    short = path if len(path) <= _MOST_CHARS else f"{path[:_MOST_CHARS]}..."
    return short.replace('"', "%22") if short.isprintable() else ascii(short)[1:-1].replace('"', "%22")


def _key_of(authorization: bytes) -> str | None:
    """What tells a key from others, and opens nothing: the beginning of its SHA-256."""
    scheme, _, key = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not key.strip():
        return None
    return hashlib.sha256(key.strip()).hexdigest()[:_KEY_CHARS]
