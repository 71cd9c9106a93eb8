"""A training and a validation table side by side: what no trial could learn from, and what people should know before
they spend a budget on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rafiki.data.column_schema import ColumnSchema
from rafiki.data.columns import NO_FEATURES, ColumnKind, ColumnReading, category_of
from rafiki.data.missing import is_missing
from rafiki.data.profile import ColumnProfiler
from rafiki.data.table_schema import conclude
from rafiki.errors import InvalidDatasetError
from rafiki.tasks.table_files import open_table
from rafiki.utils.values import JsonValue

MOST_CELLS = 4_000_000
"""Of each table, so many cells are looked at: some ten seconds."""
_SAME_SHARE = 0.01
_MOST_NAMED = 5
_LEAK_ROWS = 50
_MOST_VALUES = 1000
_MANY_CLASSES = 50


class Part(NamedTuple):
    """One of the two."""

    role: str
    """``train`` or ``validation``, for people."""
    path: Path


class _Table:
    """The columns that a job uses, read once."""

    def __init__(self, part: Part, target: str | None, features: Sequence[str] | None, *, strict: bool) -> None:
        """
        Args:
            strict: whether it has to have all of ``features``.
        """
        self.part = part
        with open_table(part.path) as table:
            self.columns = table.columns
            self.target = table.columns[-1] if target is None else target
            if self.target not in table.columns:
                raise self._wrong(f"row 1: there is no column {self.target!r}, the target", table.columns)
            wanted = [n for n in table.columns if n != self.target] if features is None else list(features)
            self.absent = [name for name in wanted if name not in table.columns]
            if self.absent and strict:
                raise self._wrong(f"row 1: there is no column {self.absent[0]!r}, a feature", table.columns)
            self.features = [name for name in wanted if name in table.columns]
            self._read(table.rows)

    def _wrong(self, told: str, columns: Sequence[str] = ()) -> InvalidDatasetError:
        there = f" There are {', '.join(columns)[:300]}." if columns else ""
        return InvalidDatasetError(f"The {self.part.role} dataset, {told}.{there}")

    def _read(self, rows: Iterator[tuple[int, list[str]]]) -> None:
        names = [*self.features, self.target]
        places = [self.columns.index(name) for name in names]
        profilers = [ColumnProfiler(name) for name in names]
        self.rows: Counter[int] = Counter()
        self.first_row: dict[int, int] = {}
        self.by_value = [_Values() for _ in self.features]
        target_at = places[-1]
        self.n_rows, self.is_whole = 0, True
        for row_no, row in rows:
            if self.n_rows * len(names) >= MOST_CELLS:
                self.is_whole = False
                break
            if is_missing(row[target_at]):
                raise self._wrong(
                    f"row {row_no}, column {self.target!r}: the target is missing. Leave such rows out, or name "
                    "another column by the train argument 'target'"
                )
            self.n_rows += 1
            cells = [row[at] for at in places]
            for profiler, cell in zip(profilers, cells, strict=True):
                profiler.add(row_no, cell)
            key = hash(tuple(cells))
            self.rows[key] += 1
            self.first_row.setdefault(key, row_no)
            for values, cell in zip(self.by_value, cells, strict=False):
                values.add(cell, cells[-1])
        self.schema = conclude(profilers, self.n_rows)
        self.classes: Counter[str] = Counter()
        for text, n in profilers[-1].counts().items():
            self.classes[category_of(text)] += n


class _Values:
    """Which targets come with each value of a feature, while there are few enough to tell."""

    def __init__(self) -> None:
        self.targets: dict[str, str] | None = {}
        self.n = 0

    def add(self, value: str, target: str) -> None:
        if self.targets is None:
            return
        self.n += 1
        if self.targets.setdefault(value, target) != target or len(self.targets) > _MOST_VALUES:
            self.targets = None

    @property
    def gives_target_away(self) -> bool:
        return self.targets is not None and self.n >= _LEAK_ROWS and 2 <= len(self.targets) <= self.n / 5


def check_pair(
    train: Path, val: Path, train_args: Mapping[str, JsonValue], *, is_regression: bool, are_same: bool
) -> list[str]:
    """What people should know of a job's two tables, a sentence each.

    Args:
        are_same: whether both are one file.

    Raises:
        InvalidDatasetError: no trial could succeed; names dataset, row and column.
    """
    target, features = train_args.get("target"), train_args.get("features")
    named = [str(name) for name in features] if isinstance(features, list) else None
    table = _Table(Part("train", train), target if isinstance(target, str) else None, named, strict=True)
    kept = [n for n in table.features if table.schema.column(n).reading.kind not in NO_FEATURES]
    other = table if are_same else _Table(Part("validation", val), table.target, kept or table.features, strict=True)
    told = _check_target(table, other, is_regression)
    if are_same:
        told.append(
            "The train and the validation dataset are one file: scores will say how well it is remembered, not how "
            "well new rows are predicted. Give other rows for validation."
        )
    else:
        told += _compare(table, other, is_regression)
    told += _leaks(table)
    told += [f"The train dataset, {warning}." for warning in table.schema.warnings()]
    if not table.is_whole:
        told.append(f"The first {table.n_rows:,} rows of the train dataset were looked at, not those after them.")
    return told


def _check_target(table: _Table, other: _Table, is_regression: bool) -> list[str]:
    found = table.schema.column(table.target)
    where = f"The train dataset, column {table.target!r}"
    if len(table.classes) == 1:
        raise InvalidDatasetError(
            f"{where}: every row has the same target, {next(iter(table.classes))[:80]!r}. There is nothing to learn; "
            "another column is named by the train argument 'target'."
        )
    if is_regression:
        for one in (table, other):
            _check_numbers(one, one.schema.column(one.target), found.reading)
        return []
    classes = len(table.classes)
    if found.reading.kind is ColumnKind.NUMBER and classes > max(_MANY_CLASSES, table.n_rows / 10):
        return [
            f"{where}: the target has {classes:,} different numbers in {table.n_rows:,} rows, and each counts as a "
            "class. Is it TABULAR_REGRESSION?"
        ]
    if classes == table.n_rows:
        raise InvalidDatasetError(
            f"{where}: every row is of a class of its own, so none can be learnt. Another column is named by the train "
            "argument 'target'."
        )
    return []


def _check_numbers(table: _Table, found: ColumnSchema, reading: ColumnReading) -> None:
    where = f"The {table.part.role} dataset"
    hint = "The target of a regression holds numbers alone; for classes use TABULAR_CLASSIFICATION."
    if reading.kind is not ColumnKind.NUMBER:
        text = next(iter(table.classes))
        raise InvalidDatasetError(f"{where}, column {found.name!r}: it holds no numbers, but {text[:80]!r}. {hint}")
    if found.odd:
        odd = found.odd[0]
        raise InvalidDatasetError(f"{where}, row {odd.row}, column {found.name!r}: {odd.value!r} is no number. {hint}")


def _compare(table: _Table, other: _Table, is_regression: bool) -> list[str]:
    told: list[str] = []
    n_same = sum(n for key, n in other.rows.items() if key in table.rows)
    if n_same > _SAME_SHARE * other.n_rows:
        key = next(key for key in other.rows if key in table.rows)
        told.append(
            f"{n_same:,} of {other.n_rows:,} rows of the validation dataset are in the train dataset, too (row "
            f"{other.first_row[key]} is its row {table.first_row[key]}): scores will be too good."
        )
    more = [name for name in other.columns if name not in table.columns]
    if more:
        told.append(f"The validation dataset has columns that the train dataset lacks: {_names(more)}.")
    for name in other.features:
        one, two = table.schema.column(name).reading.kind, other.schema.column(name).reading.kind
        if one != two and two not in NO_FEATURES:
            told.append(
                f"Column {name!r} holds {_kind(one)} in the train dataset and {_kind(two)} in the validation dataset: "
                f"it is read as {_kind(one)}."
            )
    if not is_regression:
        told += _compare_classes(table, other)
    return told


def _compare_classes(table: _Table, other: _Table) -> list[str]:
    told = []
    unknown = sorted(other.classes.keys() - table.classes.keys())
    if len(unknown) == len(other.classes):
        raise InvalidDatasetError(
            f"The validation dataset has no class of the train dataset in column {table.target!r}: {_names(unknown)}."
        )
    if unknown:
        told.append(f"The validation dataset has classes that the train dataset lacks: {_names(unknown)}.")
    single = sorted(name for name, n in table.classes.items() if n == 1)
    if single:
        told.append(f"One row alone is of the class {_names(single)} in the train dataset.")
    return told


def _leaks(table: _Table) -> list[str]:
    return [
        f"Column {name!r} gives the target away: each of its values comes with one value of {table.target!r} alone. "
        "Leave it out of the features if it will not be known when predictions are asked for."
        for name, values in zip(table.features, table.by_value, strict=True)
        if values.gives_target_away
    ]


def _kind(kind: ColumnKind) -> str:
    return {
        ColumnKind.NUMBER: "numbers", ColumnKind.CATEGORY: "categories", ColumnKind.TEXT: "texts",
        ColumnKind.DATE: "dates", ColumnKind.TIME: "times", ColumnKind.YES_NO: "yes and no",
        ColumnKind.IDENTIFIER: "identifiers", ColumnKind.CONSTANT: "one value", ColumnKind.EMPTY: "nothing",
    }[kind]  # fmt: skip


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"
