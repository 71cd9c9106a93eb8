"""``utils.dataset``: rows of features and a target."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.table_files import (
    CSV_FILE,
    category_of,
    is_missing,
    open_table,
    order_of_category,
    parse_number,
    place,
)

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
    """A column that is one of numbers until a text turns up in it."""

    def __init__(self) -> None:
        self._numbers = array("d")
        self._codes = array("i")
        self._categories: dict[str, int] = {}
        self._first_row_no = 0

    def add(self, row_no: int, text: str) -> None:
        if not self._first_row_no:
            number = math.nan if is_missing(text) else parse_number(text)
            if number is not None:
                self._numbers.append(number)
                return
            self._first_row_no = row_no
            for known in self._numbers:
                self._codes.append(-1 if math.isnan(known) else self._code(repr(known)))
        self._codes.append(-1 if is_missing(text) else self._code(text))

    def _code(self, text: str) -> int:
        return self._categories.setdefault(category_of(text), len(self._categories))

    def finish(self) -> Numbers | TextColumn:
        if self._first_row_no:
            return TextColumn(np.array(self._codes, np.int32), list(self._categories), self._first_row_no)
        return np.array(self._numbers, np.float64)


class TableDataset:
    """The rows of a TABULAR_CLASSIFICATION or TABULAR_REGRESSION dataset, in memory, column by column.

    Attributes:
        features: the names of the features.
        target: the name of the target.
        columns: each feature and the target by name: float64 numbers, NaN where a value is missing, or, when a text is
            among the values, a :class:`TextColumn`.
        size: the number of rows.
    """

    def __init__(self, path: str, features: Sequence[str] | None, target: str | None) -> None:
        with open_table(path) as table:
            self.target = target if target is not None else table.columns[-1]
            self.features = list(features) if features is not None else [n for n in table.columns if n != self.target]
            self._check_names(table.columns)
            wanted = [(table.columns.index(name), _ColumnReader()) for name in [*self.features, self.target]]
            target_at = wanted[-1][0]
            for row_no, row in table.rows:
                if is_missing(row[target_at]):
                    raise InvalidDatasetError(
                        f"{place(CSV_FILE, row_no, self.target)}: the target is missing; leave such rows out."
                    )
                for i, reader in wanted:
                    reader.add(row_no, row[i])
        names = [*self.features, self.target]
        self.columns = {name: reader.finish() for name, (_, reader) in zip(names, wanted, strict=True)}
        target_column = self.columns[self.target]
        self.size = len(target_column.codes if isinstance(target_column, TextColumn) else target_column)

    def __len__(self) -> int:
        return self.size

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
            classes = [category_of(repr(float(number))) for number in np.unique(column)]
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
        column = self.columns[self.target]
        if isinstance(column, TextColumn):
            where = place(CSV_FILE, column.first_row_no, self.target)
            raise InvalidDatasetError(
                f"{where}: the target of a regression must be a number. Another column is named by the train argument "
                "'target'."
            )
        return column


def as_codes(column: Numbers | TextColumn) -> tuple[npt.NDArray[np.int32], list[str]]:
    """A column as indices into its categories; -1 is a missing value."""
    if isinstance(column, TextColumn):
        return column.codes, column.categories
    distinct, indices = np.unique(column, return_inverse=True)
    is_number = ~np.isnan(distinct)
    codes = np.where(is_number[indices], indices, -1).astype(np.int32)
    return codes, [category_of(repr(float(number))) for number in distinct[is_number]]


def load_dataset_of_table(path: str, features: Sequence[str] | None = None, target: str | None = None) -> TableDataset:
    """The dataset at ``path`` in the format of the tabular tasks.

    Args:
        path: a csv file of UTF-8 text with a header.
        features: the columns to predict from; all but the target when None.
        target: the column to predict; the last one when None.

    Raises:
        InvalidDatasetError: says what is wrong, in which row and column.
    """
    return TableDataset(str(Path(path)), features, target)
