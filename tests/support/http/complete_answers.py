"""Whole answers of the contract from the fields that a test is about."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

Record = TypeVar("Record")
MOMENT = "2025-01-01T10:00:00Z"
_NEUTRAL: dict[Any, Any] = {str: "", int: 0, float: 0.0, bool: False, datetime: MOMENT}


def completed(value: Any, kind: Any) -> Any:
    """``value``, the JSON form of a ``kind`` without some of its fields, with neutral values for these."""
    kind = _bare(kind)
    if value == {} and typing.get_origin(kind) is list:
        return []
    if isinstance(value, list) and typing.get_origin(kind) is list:
        return [completed(v, typing.get_args(kind)[0]) for v in value]
    if isinstance(value, dict):
        for member in _members(kind):
            if _is_struct(member) and member.__struct_config__.tag == value.get("type"):
                return _completed_struct(value, member)
        for member in _members(kind):
            if _is_struct(member) and member.__struct_config__.tag is None:
                return _completed_struct(value, member)
    return value


def record(value: dict[str, Any], kind: type[Record]) -> Record:
    """A record with the fields that a test is about."""
    return msgspec.convert(completed(value, kind), kind)


def records(values: Iterable[dict[str, Any]], kind: type[Record]) -> list[Record]:
    """Several of them."""
    return [record(value, kind) for value in values]


def _completed_struct(value: dict[str, Any], kind: Any) -> dict[str, Any]:
    found = {} if (tag := kind.__struct_config__.tag) is None else {"type": tag}
    for field in msgspec.structs.fields(kind):
        if field.encode_name in value:
            found[field.encode_name] = completed(value[field.encode_name], field.type)
        elif field.required:
            found[field.encode_name] = _neutral(field.type)
        elif not kind.__struct_config__.omit_defaults and field.default not in (msgspec.NODEFAULT, msgspec.UNSET):
            # As the admin sends it.
            found[field.encode_name] = msgspec.to_builtins(field.default)
    return found | {name: v for name, v in value.items() if name not in found}


def _neutral(kind: Any) -> Any:
    kind = _bare(kind)
    if types.NoneType in _members(kind):
        return None
    if typing.get_origin(kind) in (list, dict):
        return typing.get_origin(kind)()
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind)).value
    return msgspec.to_builtins(record({}, kind)) if _is_struct(kind) else _NEUTRAL[kind]


def _bare(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def _members(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return tuple(map(_bare, typing.get_args(kind)))
    return (kind,)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
