"""Types in the words of the pages."""

from __future__ import annotations

import enum
import types
import typing
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    bytes: "bytes",
    datetime: "date and time",
    type(None): "null",
    Any: "any JSON",
    dict: "object",
    list: "list",
}


def type_name(kind: Any) -> str:
    """``list of texts``, ``whole number or null``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return type_name(arguments[0]) + _bounds(arguments[1:])
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(map(type_name, arguments)))
    if origin is Literal:
        return " or ".join(f"`{a}`" for a in arguments)
    if origin is list:
        return f"list of {_plural(type_name(arguments[0]))}"
    if origin is dict:
        value = arguments[1]
        return "object" if value is Any else f"object of {_plural(type_name(value))}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{m.value}`" for m in kind)
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))


def _plural(name: str) -> str:
    return name if name in ("any JSON", "bytes") or name.startswith(("list", "object", "`")) else f"{name}s"


def _bounds(metas: tuple[Any, ...]) -> str:
    for meta in metas:
        if isinstance(meta, msgspec.Meta) and meta.ge is not None and meta.le is not None:
            return f", {meta.ge} to {meta.le:,}"
        if isinstance(meta, msgspec.Meta) and meta.ge is not None:
            return f", {meta.ge} or more"
    return ""
