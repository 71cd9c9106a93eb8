"""The schema of a table: its columns, as all rows were seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from rafiki.data.column_schema import ColumnSchema
from rafiki.data.columns import ColumnReading
from rafiki.data.profile import ColumnProfiler


class TableSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a table."""

    n_rows: int
    columns: list[ColumnSchema]

    def column(self, name: str) -> ColumnSchema:
        """
        Raises:
            KeyError: there is none of this name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def warnings(self, names: Container[str] | None = None) -> list[str]:
        """Of columns, each with its column's name.

        Args:
            names: of these columns; None = of all.
        """
        return [
            f"column {column.name!r}, {told}" if told.startswith("row") else f"column {column.name!r}: {told}"
            for column in self.columns
            if names is None or column.name in names
            for told in column.warnings
        ]


def profile_rows(
    columns: Sequence[str],
    rows: Iterable[tuple[int, Sequence[str]]],
    readings: Mapping[str, ColumnReading] | None = None,
    *,
    decimal: str | None = None,
) -> TableSchema:
    """The schema of rows, read one after another.

    Args:
        rows: each with its number, and one text without spaces around it a column.
        readings: what people say of columns, by name.
        decimal: the decimal mark where neither a column nor the rest of the table tells.
    """
    profilers = [ColumnProfiler(name) for name in columns]
    n_rows = 0
    for row_no, row in rows:
        n_rows += 1
        for profiler, cell in zip(profilers, row, strict=True):
            profiler.add(row_no, cell)
    return conclude(profilers, n_rows, readings, decimal=decimal)


def conclude(
    profilers: Sequence[ColumnProfiler],
    n_rows: int,
    readings: Mapping[str, ColumnReading] | None = None,
    *,
    decimal: str | None = None,
) -> TableSchema:
    """The schema of what profilers saw; arguments as in :func:`profile_rows`."""
    marks = sum((p.sure_marks() for p in profilers), Counter[str]())
    told = decimal if marks["."] == marks[","] else "," if marks[","] > marks["."] else "."
    known = readings or {}
    return TableSchema(n_rows=n_rows, columns=[p.conclude(known.get(p.name), decimal=told) for p in profilers])
