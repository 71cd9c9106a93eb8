"""The schema of one column: what it holds, how it is read, and what people should know of it."""

from __future__ import annotations

import msgspec

from rafiki.data.columns import ColumnReading


class Odd(msgspec.Struct, frozen=True):
    """A cell that is no value of its column."""

    row: int
    """As spreadsheets count: the header is row 1."""
    value: str


class ColumnSchema(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column of a table, as all of its cells were seen."""

    name: str
    reading: ColumnReading
    n_values: int
    n_missing: int
    n_distinct: int
    """Of its texts; at most :data:`rafiki.data.profile.MOST_DISTINCT` are told apart."""
    low: float | None = None
    """The least of its numbers, dates (days since 1970) or times (hours)."""
    high: float | None = None
    most_frequent: list[tuple[str, int]] = []
    """Values with how often they are there, at most ten."""
    n_odd: int = 0
    """Cells that are no values of the column's kind: they count as missing."""
    odd: list[Odd] = []
    """The first of them."""
    warnings: list[str] = []
    """For people: what was decided of it that they may want otherwise, with row and value."""
