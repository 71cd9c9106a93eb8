"""What a column holds, and how each of its cells is read: in training data and in queries alike."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

import msgspec

from rafiki.data.dates import DayOrder, read_clock, read_date
from rafiki.data.missing import is_missing, is_missing_measure
from rafiki.data.numbers import is_exact, parse_plain, read_written


class ColumnKind(StrEnum):
    """What the values of a column are."""

    NUMBER = "number"
    CATEGORY = "category"
    TEXT = "text"
    """Several words a value, hardly one twice."""
    DATE = "date"
    TIME = "time"
    """Of day, or how long: ``13:30``."""
    YES_NO = "yes/no"
    IDENTIFIER = "identifier"
    """One value a row, which says nothing of another row: no feature."""
    CONSTANT = "constant"
    EMPTY = "empty"


MEASURES = frozenset({ColumnKind.NUMBER, ColumnKind.DATE, ColumnKind.TIME, ColumnKind.YES_NO})
"""Kinds whose values are read as numbers."""
NO_FEATURES = frozenset({ColumnKind.IDENTIFIER, ColumnKind.CONSTANT, ColumnKind.EMPTY})
"""Kinds that tell no row from another."""
YES = frozenset(["yes", "y", "true", "t", "on", "ja", "j", "oui", "si", "sí", "sim", "да"])
NO = frozenset(["no", "n", "false", "f", "off", "nein", "non", "não", "нет"])


class ColumnReading(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the cells of one column are read."""

    kind: ColumnKind
    decimal: Annotated[str, msgspec.Meta(pattern=r"^[.,]$")] = "."
    """The decimal mark of its numbers."""
    unit: str = ""
    """``kg``, ``%``, ``€``: what stands beside its numbers. A number beside another unit is no value of it."""
    day_order: DayOrder = DayOrder.MONTH_FIRST
    """Of its dates that begin with neither year nor name."""
    is_compact: bool = False
    """Whether ``20200301`` is a date in it."""
    has_time: bool = False
    """Whether its dates have a time of day."""

    def measure(self, text: str) -> float | None:
        """What a cell of a measured kind is: a number as it is, days since 1970-01-01 (UTC), hours, or 1 and 0 for yes
        and no. NaN = it says that there is no value; None = it is none of this column's values.

        Args:
            text: without spaces around it.
        """
        if is_missing_measure(text):
            return math.nan
        match self.kind:
            case ColumnKind.NUMBER:
                return self._number(text)
            case ColumnKind.DATE:
                date = read_date(text, self.day_order, is_compact=self.is_compact)
                return None if date is None else date.days
            case ColumnKind.TIME:
                return read_clock(text)
            case ColumnKind.YES_NO:
                return 1.0 if text.lower() in YES or text == "1" else 0.0 if text.lower() in NO or text == "0" else None
        return None

    def _number(self, text: str) -> float | None:
        if self.decimal == "." and (plain := parse_plain(text)) is not None:
            return plain
        written = read_written(text)
        if written is None or (written.unit and written.unit != self.unit):
            return None
        return written.value(self.decimal)


def category_of(text: str) -> str:
    """One spelling for what means the same: ``1``, ``1.0`` and ``01``; ``True`` and ``TRUE``. Integers keep all their
    digits."""
    if is_exact(text):
        if (number := parse_plain(text)) is not None:
            return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    elif parse_plain(text) is not None:
        return str(int(text))
    return text.lower() if text.lower() in ("true", "false") else text


def order_of_category(category: str) -> tuple[bool, float, str]:
    """Sorts categories: numbers by size, then texts by alphabet."""
    number = parse_plain(category)
    # Of long integers, floats are the same: their digits decide.
    return number is None, number or 0.0, category.zfill(40) if number is not None else category


__all__ = [
    "MEASURES", "NO", "NO_FEATURES", "YES", "ColumnKind", "ColumnReading", "category_of", "is_missing",
    "order_of_category",
]  # fmt: skip
