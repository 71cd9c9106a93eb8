"""What a dump of a meta store holds: the rows of all tables at one moment, whatever database they were in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import msgspec

from rafiki.errors import DamagedFileError
from rafiki.utils.values import JsonValue

_MOST_BYTES_OF_ROW = 1 << 30


class DumpedTable(msgspec.Struct, frozen=True, kw_only=True):
    """One table. Its file is ``NAME.jsonl``, one row a line: a list of values in the order of the columns."""

    name: str
    columns: list[str]
    n_rows: int


class DatabaseDump(msgspec.Struct, frozen=True, kw_only=True):
    """All tables, in an order in which a row refers to earlier tables alone."""

    revision: str
    """Of the schema."""
    tables: list[DumpedTable]


Row = list[JsonValue]
ReadTable = Callable[[DumpedTable], Iterator[Row]]
"""Gives the rows of a table, as :func:`read_rows` does."""
Renames = Mapping[tuple[str, str], Mapping[str, str]]
"""``(table, column)`` -> what a value becomes."""


def read_rows(table: DumpedTable, file: BinaryIO) -> Iterator[Row]:
    """The rows in a table's file.

    Raises:
        DamagedFileError: it does not hold the rows that it should.
    """
    n_rows = 0
    while line := file.readline(_MOST_BYTES_OF_ROW):
        try:
            row = msgspec.json.decode(line, type=list[JsonValue])
        except msgspec.DecodeError as e:
            raise DamagedFileError(f"Row {n_rows + 1} of the table {table.name} cannot be read: {e}.") from e
        if len(row) != len(table.columns):
            raise DamagedFileError(
                f"Row {n_rows + 1} of the table {table.name} has {len(row)} values for {len(table.columns)} columns."
            )
        n_rows += 1
        yield row
    if n_rows != table.n_rows:
        raise DamagedFileError(f"The table {table.name} has {n_rows} rows; {table.n_rows} were written.")
