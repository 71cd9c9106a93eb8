"""Where a plain value does not fit a type, in Rafiki's own words: those of a library change with its version."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import inspect

from rafiki.utils.json_text import why_not_json

Path: TypeAlias = tuple[str | int, ...]
"""Names of fields and positions in lists, from the outside in."""
Problem: TypeAlias = Literal["missing", "unknown", "type", "choice", "length", "bound", "other"]


class Mismatch(msgspec.Struct, frozen=True):
    """The first place of a value that does not fit its type."""

    path: Path
    problem: Problem
    reason: str
    """What is wrong there, without a full stop; types are called as in JSON Schema's readers: `str`, `array`."""
    name: str = ""
    """Of the field that is missing or unknown; what is bounded (`array`, `str`, `int`, ...)."""
    valid: tuple[str, ...] = ()
    """The known fields, the choices, or the names of the types that fit."""
    sign: str = ""
    """Of a bound: `>=`, `<=`, `>` or `<`."""
    limit: int | float = 0

    @property
    def where(self) -> str:
        """The path as text: ``$.models[0].name``."""
        return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)

    def __str__(self) -> str:
        return f"{self.reason} at `{self.where}`" if self.path else self.reason


def find_mismatch(value: object, kind: object) -> Mismatch | None:
    """The first place of ``value`` (plain values, as read from JSON or YAML) that keeps it from being a ``kind``."""
    return _find(value, inspect.type_info(kind), ())


def explain_mismatch(value: object, kind: object, error: msgspec.ValidationError) -> Mismatch:
    """What :func:`find_mismatch` finds, after msgspec refused ``value`` with ``error``."""
    # A check of a struct's own (its __post_init__) speaks for itself.
    own = str(error.__cause__) if isinstance(error.__cause__, (ValueError, TypeError)) else ""
    return find_mismatch(value, kind) or Mismatch((), "other", own or "it does not fit")


def explain_json(data: bytes | str, kind: object) -> str:
    """Why ``data`` is no JSON of a ``kind``, for the message of a refusal after a decoder has failed."""
    if (reason := why_not_json(data)) is not None:
        return reason
    return str(find_mismatch(msgspec.json.decode(data), kind) or "it does not fit")


_KINDS = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes", list: "array",
          tuple: "array", dict: "object"}  # fmt: skip
_NAMES: dict[type[inspect.Type], str] = {
    inspect.NoneType: "null", inspect.BoolType: "bool", inspect.IntType: "int", inspect.FloatType: "float",
    inspect.StrType: "str", inspect.BytesType: "bytes", inspect.DictType: "object", inspect.StructType: "object",
    inspect.EnumType: "str", inspect.DateTimeType: "datetime",
}  # fmt: skip
_List: TypeAlias = inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType
_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)


def _kind_of(value: object) -> str:
    return next((name for kind, name in _KINDS.items() if type(value) is kind), type(value).__name__)


def _names(info: inspect.Type) -> tuple[str, ...]:
    """What a type is called; nothing for one that takes any value, or that is not judged here."""
    if isinstance(info, inspect.UnionType):
        return tuple(dict.fromkeys(name for member in info.types for name in _names(member)))
    if isinstance(info, inspect.LiteralType):
        return tuple(dict.fromkeys(_kind_of(value) for value in info.values))
    if isinstance(info, _LISTS):
        return ("array",)
    name = _NAMES.get(type(info))
    return (name,) if name else ()


def _takes(info: inspect.Type, kind: str) -> bool:
    names = _names(info)
    return not names or kind in names or ("float" in names and kind == "int") or names == ("datetime",)


def _find(value: object, info: inspect.Type, path: Path) -> Mismatch | None:
    if isinstance(info, inspect.Metadata):
        return _find(value, info.type, path)
    kind = _kind_of(value)
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    members = tuple(m.type if isinstance(m, inspect.Metadata) else m for m in members)
    if any(isinstance(m, inspect.StructType) and isinstance(value, m.cls) for m in members):
        return None  # It is one already, such as the file of a form.
    fitting = [m for m in members if _takes(m, kind)]
    if not fitting:
        names = tuple(dict.fromkeys(name for m in members for name in _names(m)))
        return Mismatch(path, "type", f"expected `{' | '.join(names)}`, got `{kind}`", valid=names)
    found = [_inside(value, m, path) for m in fitting]
    return None if None in found else found[0]


def _inside(value: object, info: inspect.Type, path: Path) -> Mismatch | None:
    """What is wrong in a value whose kind fits."""
    problems: Iterator[Mismatch | None] = iter(())
    if isinstance(info, inspect.StructType) and isinstance(value, dict):
        problems = _of_struct(value, info, path)
    elif isinstance(info, inspect.DictType) and isinstance(value, dict):
        problems = _of_dict(value, info, path)
    elif isinstance(info, _LISTS) and isinstance(value, (list, tuple)):
        problems = _of_list(value, info, path)
    elif isinstance(info, inspect.EnumType):
        problems = _of_choices(value, [member.value for member in info.cls], path)
    elif isinstance(info, inspect.LiteralType):
        problems = _of_choices(value, list(info.values), path)
    elif isinstance(info, inspect.StrType) and isinstance(value, str):
        problems = _of_text(value, info, path)
    elif isinstance(info, (inspect.IntType, inspect.FloatType)) and isinstance(value, (int, float)):
        problems = _of_number(value, info, path)
    return next((p for p in problems if p is not None), None)


def _of_struct(value: dict[str, object], info: inspect.StructType, path: Path) -> Iterator[Mismatch | None]:
    fields = {field.encode_name: field for field in info.fields}
    for name, inner in value.items():
        if name in fields:
            yield _find(inner, fields[name].type, (*path, name))
        elif info.forbid_unknown_fields and name != info.tag_field:
            reason = f"there is no field `{name!s:.80}`"
            yield Mismatch(path, "unknown", reason, name=str(name), valid=tuple(fields))
    for name, field in fields.items():
        if field.required and name not in value:
            yield Mismatch(path, "missing", f"the field `{name}` is missing", name=name)


def _of_dict(value: dict[object, object], info: inspect.DictType, path: Path) -> Iterator[Mismatch | None]:
    yield _length(len(value), "object", info.min_length, info.max_length, path)
    for key, inner in value.items():
        if (wrong := _find(key, info.key_type, path)) is not None:
            yield Mismatch(path, "other", f"the key {key!r:.80}: {wrong.reason}")
        yield _find(inner, info.value_type, (*path, key if isinstance(key, (str, int)) else str(key)))


def _of_list(value: Sequence[object], info: _List, path: Path) -> Iterator[Mismatch | None]:
    yield _length(len(value), "array", info.min_length, info.max_length, path)
    for i, inner in enumerate(value):
        yield _find(inner, info.item_type, (*path, i))


def _of_choices(value: object, choices: list[object], path: Path) -> Iterator[Mismatch | None]:
    if value not in choices:
        names = tuple(str(choice) for choice in choices)
        yield Mismatch(path, "choice", f"{value!r:.80} is none of {', '.join(names)}", valid=names)


def _of_text(value: str, info: inspect.StrType, path: Path) -> Iterator[Mismatch | None]:
    yield _length(len(value), "str", info.min_length, info.max_length, path)
    if info.pattern is not None and not re.search(info.pattern, value):
        yield Mismatch(path, "other", f"{value!r:.80} does not have the form `{info.pattern}`")


def _of_number(value: float, info: inspect.IntType | inspect.FloatType, path: Path) -> Iterator[Mismatch | None]:
    name = _NAMES[type(info)]
    if name == "float":
        try:
            is_finite = math.isfinite(float(value))
        except OverflowError:
            is_finite = False
        if not is_finite and isinstance(value, int):
            yield Mismatch(path, "other", "the number is out of range")
    bounds = (
        (">=", info.ge, operator.ge), ("<=", info.le, operator.le), (">", info.gt, operator.gt),
        ("<", info.lt, operator.lt),
    )  # fmt: skip
    for sign, limit, fits in bounds:
        if limit is not None and not fits(value, limit):
            yield Mismatch(path, "bound", f"expected `{name}` {sign} {limit}", name=name, sign=sign, limit=limit)


def _length(length: int, name: str, least: int | None, most: int | None, path: Path) -> Mismatch | None:
    for sign, limit, fits in ((">=", least, length >= (least or 0)), ("<=", most, length <= (most or length))):
        if limit is not None and not fits:
            reason = f"expected `{name}` of length {sign} {limit}"
            return Mismatch(path, "length", reason, name=name, sign=sign, limit=limit)
    return None
