"""How values of the entities are stored, so that both databases give back what they were given."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import cast

import msgspec
from sqlalchemy import DateTime, Dialect, String, Text
from sqlalchemy.types import TypeDecorator

from rafiki.entities import Gpu, parse_gpu
from rafiki.errors import InvalidRequestError


class Str(TypeDecorator[str]):
    """Text that both databases can hold.

    SQLite takes a NUL character and PostgreSQL does not; neither takes half a surrogate pair.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if "\0" in value or (not value.isascii() and _has_surrogates(value)):
            raise InvalidRequestError(
                f"The text {value[:40]!r} cannot be stored: it holds a NUL character or half a surrogate pair."
            )
        return value


class Message(TypeDecorator[str]):
    """Text for people. It may quote anything that a program printed, so what cannot be stored is replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.replace("\0", "\ufffd").encode(errors="replace").decode()


class Choice(TypeDecorator[StrEnum]):
    """A member of a StrEnum by its name."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.kind(value)


class Json(TypeDecorator[object]):
    """Plain values as JSON text. Not PostgreSQL's JSON type, which rewrites numbers and key order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> object:
        return None if value is None else msgspec.json.decode(value)


class JsonStruct(TypeDecorator[object]):
    """Structs, or containers of them, as JSON text; ``kind`` is their type."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: object) -> None:
        super().__init__()
        self.kind = cast(type[object], kind)

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> object:
        return None if value is None else msgspec.json.decode(value, type=self.kind)


class Gpus(TypeDecorator[list[Gpu]]):
    """GPUs as a JSON list of ``host/name``."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: list[Gpu] | None, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode([str(gpu) for gpu in value]).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[Gpu] | None:
        return None if value is None else [parse_gpu(text) for text in msgspec.json.decode(value, type=list[str])]


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC. SQLite keeps no zone, and PostgreSQL answers in that of its session."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise InvalidRequestError(f"The time {value} has no time zone.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
