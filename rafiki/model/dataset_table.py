"""``utils.dataset``: rows of features and a target."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from rafiki.data.columns import ColumnKind, ColumnReading, category_of, order_of_category
from rafiki.data.missing import is_missing, is_missing_measure
from rafiki.data.numbers import is_exact, parse_plain
from rafiki.data.profile import ColumnProfiler
from rafiki.data.table_schema import TableSchema, conclude
from rafiki.errors import InvalidDatasetError
from rafiki.tasks.table_files import CSV_FILE, open_table, place

Numbers: TypeAlias = npt.NDArray[np.float64]


class TextColumn(NamedTuple):
    """A column that holds more than numbers."""

    codes: npt.NDArray[np.int32]
    """For each row an index into ``categories``; -1 is a missing value."""
    categories: list[str]
    """The distinct texts, in the order in which they occur first."""
    first_row_no: int
    """The first row whose value is no number."""


class _ColumnReader:
    """The cells of a column: numbers until a text turns up, then indices into distinct texts."""

    def __init__(self, name: str) -> None:
        self.profiler = ColumnProfiler(name)
        self._numbers = array("d")
        self._codes = array("i")
        self._texts: dict[str, int] = {}
        self._first_row_no = 0

    def add(self, row_no: int, text: str) -> None:
        self.profiler.add(row_no, text)
        if not self._first_row_no:
            number = math.nan if is_missing(text) else parse_plain(text) if is_exact(text) else None
            if number is not None:
                self._numbers.append(number)
                return
            self._first_row_no = row_no
            for known in self._numbers:
                self._codes.append(-1 if math.isnan(known) else self._code(text_of(known)))
        self._codes.append(-1 if is_missing(text) else self._code(text))

    def _code(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def finish(self) -> Numbers | TextColumn:
        if self._first_row_no:
            return TextColumn(np.array(self._codes, np.int32), list(self._texts), self._first_row_no)
        return np.array(self._numbers, np.float64)


class TableDataset:
    """The rows of a TABULAR_CLASSIFICATION or TABULAR_REGRESSION dataset, in memory, column by column.

    Attributes:
        features: the names of the features.
        target: the name of the target.
        schema: what each column holds and how its cells are read, with warnings for people.
        columns: each feature and the target by name: float64 numbers, NaN where a value is missing, for a feature of
            numbers; a :class:`TextColumn` for all else. A target is one of numbers when nothing else is in it.
        size: the number of rows.
    """

    def __init__(
        self,
        path: str,
        features: Sequence[str] | None,
        target: str | None,
        readings: Mapping[str, ColumnReading] | None = None,
    ) -> None:
        with open_table(path) as table:
            self.target = target if target is not None else table.columns[-1]
            self.features = list(features) if features is not None else [n for n in table.columns if n != self.target]
            self._check_names(table.columns)
            names = [*self.features, self.target]
            wanted = [(table.columns.index(name), _ColumnReader(name)) for name in names]
            target_at = wanted[-1][0]
            for row_no, row in table.rows:
                if is_missing(row[target_at]):
                    raise InvalidDatasetError(
                        f"{place(CSV_FILE, row_no, self.target)}: the target is missing; leave such rows out."
                    )
                for i, reader in wanted:
                    reader.add(row_no, row[i])
        self.cells = {name: reader.finish() for name, (_, reader) in zip(names, wanted, strict=True)}
        """The columns as they are written: numbers where there is nothing else, distinct texts otherwise."""
        target_column = self.cells[self.target]
        self.size = len(target_column.codes if isinstance(target_column, TextColumn) else target_column)
        self.schema: TableSchema = conclude([reader.profiler for _, reader in wanted], self.size, readings)

    def __len__(self) -> int:
        return self.size

    @cached_property
    def columns(self) -> dict[str, Numbers | TextColumn]:
        found = {name: self._column(name) for name in self.features}
        return {**found, self.target: _grouped(self.cells[self.target])}

    def _column(self, name: str) -> Numbers | TextColumn:
        cells, reading = self.cells[name], self.schema.column(name).reading
        if not isinstance(cells, TextColumn):
            return cells
        return measures(cells, reading) if reading.kind is ColumnKind.NUMBER else _grouped(cells)

    def _check_names(self, columns: list[str]) -> None:
        if not self.features:
            raise InvalidDatasetError("The train argument 'features' names no column.")
        if self.target in self.features:
            raise InvalidDatasetError(f"The column {self.target!r} is the target, so it cannot be a feature.")
        for name in [*self.features, self.target]:
            if name not in columns:
                raise InvalidDatasetError(
                    f"{place(CSV_FILE, 1)}: there is no column {name!r}; there are {', '.join(columns)[:300]}. "
                    "Columns are named by the train arguments 'features' and 'target'."
                )

    def target_classes(self) -> list[str]:
        """The classes in the target: numbers by size, then texts by alphabet.

        Raises:
            InvalidDatasetError: when there is one class alone.
        """
        column = self.columns[self.target]
        if isinstance(column, TextColumn):
            classes = column.categories
        else:
            classes = [text_of(float(number)) for number in np.unique(column)]
        if len(classes) < 2:
            raise InvalidDatasetError(
                f"{CSV_FILE}, column {self.target!r}: every row is of the class {classes[0]!r}; two classes or more "
                "are needed. Another column is named by the train argument 'target'."
            )
        return sorted(classes, key=order_of_category)

    def target_class_indices(self, classes: Sequence[str]) -> npt.NDArray[np.int64]:
        """For each row the index of its target in ``classes``; -1 when it is not among them. Shape: (size,)."""
        index = {name: i for i, name in enumerate(classes)}
        codes, categories = as_codes(self.columns[self.target])
        return np.array([index.get(name, -1) for name in categories], np.int64)[codes]

    def target_numbers(self) -> Numbers:
        """The target of each row as a number. Shape: (size,).

        Raises:
            InvalidDatasetError: names the first row whose target is none.
        """
        cells = self.cells[self.target]
        if not isinstance(cells, TextColumn):
            return cells
        schema = self.schema.column(self.target)
        reading = schema.reading
        if reading.kind is not ColumnKind.NUMBER:
            reading = ColumnReading(kind=ColumnKind.NUMBER)
        found = measures(cells, reading)
        if np.isnan(found).any():
            text = cells.categories[cells.codes[np.isnan(found)][0]]
            row_no = schema.odd[0].row if schema.odd else cells.first_row_no
            told = "the target is missing; leave such rows out" if is_missing_measure(text) else (
                f"the target of a regression must be a number, and {text[:80]!r} is none"
            )  # fmt: skip
            raise InvalidDatasetError(
                f"{place(CSV_FILE, row_no, self.target)}: {told}. Another column is named by the train argument "
                "'target'."
            )
        return found


def text_of(number: float) -> str:
    """How a number is written that was read as one."""
    return category_of(repr(number))


def measures(column: TextColumn, reading: ColumnReading) -> Numbers:
    """The cells of a column by its reading; NaN where a value is missing or is none of the column's."""
    found = [reading.measure(text) for text in column.categories]
    # The last one is where the index -1 of a missing value leads.
    return np.array([math.nan if value is None else value for value in [*found, None]])[column.codes]


def _grouped(cells: Numbers | TextColumn) -> Numbers | TextColumn:
    """With one category for all spellings of the same."""
    if not isinstance(cells, TextColumn):
        return cells
    index: dict[str, int] = {}
    to = np.array([index.setdefault(category_of(text), len(index)) for text in cells.categories] + [-1], np.int32)
    return TextColumn(to[cells.codes], list(index), cells.first_row_no)


def as_codes(column: Numbers | TextColumn) -> tuple[npt.NDArray[np.int32], list[str]]:
    """A column as indices into its categories; -1 is a missing value."""
    if isinstance(column, TextColumn):
        return column.codes, column.categories
    distinct, indices = np.unique(column, return_inverse=True)
    is_number = ~np.isnan(distinct)
    codes = np.where(is_number[indices], indices, -1).astype(np.int32)
    return codes, [text_of(float(number)) for number in distinct[is_number]]


def load_dataset_of_table(
    path: str,
    features: Sequence[str] | None = None,
    target: str | None = None,
    readings: Mapping[str, ColumnReading] | None = None,
) -> TableDataset:
    """The dataset at ``path`` in the format of the tabular tasks.

    Args:
        path: a csv file of UTF-8 text with a header.
        features: the columns to predict from; all but the target when None.
        target: the column to predict; the last one when None.
        readings: how columns are read, by name; found from their values when None.

    Raises:
        InvalidDatasetError: says what is wrong, in which row and column.
    """
    return TableDataset(str(Path(path)), features, target, readings)
