"""What a row of the table of wrong inputs is, and how its request is written down."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

ADMIN = "admin"


class Request(NamedTuple):
    """An HTTP request; ``<app>`` in its texts stands for what the world has under that name."""

    method: str
    path: str
    parts: dict[str, Any] = {}
    """Arguments of httpx: json, data, files, content, headers, params."""
    at: str = ADMIN
    """The admin, or the task whose predictor it goes to."""


class RawRequest(NamedTuple):
    """Bytes that no HTTP library would send. ``%TOKEN`` stands for the caller's token."""

    data: bytes
    at: str = ADMIN


class Row(NamedTuple):
    id: str
    """``noun: what is wrong``."""
    who: str
    request: Request | RawRequest
    status: int
    error: str
    says: tuple[str, ...]
    """What the message has to say: what is wrong, and where."""

    @property
    def noun(self) -> str:
        return self.id.partition(":")[0]


def row(what: str, who: str, request: Request | RawRequest, status: int, error: str, *says: str) -> Row:
    return Row(what, who, request, status, error, says)


def get(path: str, **params: Any) -> Request:
    return Request("GET", path, {"params": params} if params else {})


def delete(path: str, **fields: Any) -> Request:
    return Request("DELETE", path, {"json": fields} if fields else {})


def post(path: str, body: Any = None, **parts: Any) -> Request:
    """``body`` as JSON, however wrong: also NaN and half a surrogate pair."""
    if body is not None:
        parts["content"] = json.dumps(body).encode()
        parts["headers"] = {"content-type": "application/json"}
    return Request("POST", path, parts)


def raw_body(path: str, body: bytes, content_type: str = "application/json", method: str = "POST") -> Request:
    return Request(method, path, {"content": body, "headers": {"content-type": content_type}})


def without(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` less those that are ``...``."""
    return {name: value for name, value in fields.items() if value is not ...}


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """``value`` with the names of the world in its texts replaced by what they stand for."""
    match value:
        case str():
            return re.sub(r"<([^<>]+)>", lambda m: names.get(m[1], m[0]), value)
        case bytes():
            return re.sub(rb"<([^<>]+)>", lambda m: names.get(m[1].decode("latin-1"), "").encode() or m[0], value)
        case dict():
            return {filled(k, names): filled(v, names) for k, v in value.items()}
        case list():
            return [filled(v, names) for v in value]
        case tuple():
            return tuple(filled(v, names) for v in value)
        case _:
            return value
