"""What is to be made of a raw table: the task, the columns and the parts, each with its reason."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rafiki.constants import Task
from rafiki.data.columns import ColumnKind, category_of
from rafiki.data.dialect import RawTable, read_table
from rafiki.data.missing import is_missing
from rafiki.data.split import split_rows
from rafiki.data.table_schema import TableSchema, profile_rows
from rafiki.errors import InvalidDatasetError
from rafiki.utils.nearest import did_you_mean

_MOST_CLASSES = 20
"""A target of more different numbers than these is a measure."""
_LEAST_ROWS = 10


class Wishes(NamedTuple):
    """What people say of the table; None = found."""

    target: str | None = None
    task: str | None = None
    ignore: Sequence[str] = ()
    val: float = 0.2
    test: float = 0.2
    seed: int = 1
    group: str | None = None
    """Rows of one value of this column stay together."""
    time: str | None = None
    """The parts follow each other in the order of this column."""


class TablePlan(NamedTuple):
    table: RawTable
    schema: TableSchema
    target: str
    task: str
    features: list[str]
    parts: dict[str, list[int]]
    """Positions of rows, by part."""
    notes: list[str]
    """What was decided, and what people should know, a sentence each."""

    def csv_of(self, part: str) -> bytes:
        """The rows of a part as the tabular tasks take them: the target last."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = [*self.features, self.target]
        places = [self.table.columns.index(name) for name in names]
        writer.writerow(names)
        for i in self.parts[part]:
            row = self.table.rows[i][1]
            writer.writerow([row[at] for at in places])
        return out.getvalue().encode()

    def query(self) -> bytes:
        """A row of the test part as a query."""
        i = self.parts["test"][0] if self.parts.get("test") else self.parts["val"][0]
        cells = dict(zip(self.table.columns, self.table.rows[i][1], strict=True))
        query = {name: None if is_missing(cells[name]) else cells[name] for name in self.features}
        return (json.dumps(query, ensure_ascii=False) + "\n").encode()


def plan_table(file: Path, wishes: Wishes) -> TablePlan:
    """
    Raises:
        InvalidDatasetError: the file is no table, a column is not in it, or nothing could be learnt from it.
    """
    table = read_table(file)
    target = wishes.target or table.columns[-1]
    for name in [target, *wishes.ignore, *filter(None, (wishes.group, wishes.time))]:
        if name not in table.columns:
            raise InvalidDatasetError(
                f"{file}: there is no column {name!r}. {did_you_mean(name, table.columns)} There are "
                f"{', '.join(table.columns)[:300]}."
            )
    notes = [f"{file.name}: {told}." for told in table.notes]
    if wishes.target is None:
        notes.append(f"The last column, {target!r}, is the target; --target names another.")
    table, without = _with_target(table, target)
    if without:
        notes.append(without)
    if len(table.rows) < _LEAST_ROWS:
        raise InvalidDatasetError(f"{file}: {len(table.rows)} rows are too few to train, validate and test on.")
    decimal = "," if table.delimiter == ";" else None
    schema = profile_rows(table.columns, table.rows, decimal=decimal)
    task = wishes.task or _task_of(schema, target, notes)
    features = [name for name in table.columns if name != target and name not in wishes.ignore]
    notes += [f"C{told.removeprefix('c')}." for told in schema.warnings([*features, target])]
    parts = _split(table, schema, target, task, wishes, notes)
    return TablePlan(table, schema, target, task, features, parts, notes)


def _with_target(table: RawTable, target: str) -> tuple[RawTable, str | None]:
    at = table.columns.index(target)
    kept = [(row_no, row) for row_no, row in table.rows if not is_missing(row[at])]
    if len(kept) == len(table.rows):
        return table, None
    first = next(row_no for row_no, row in table.rows if is_missing(row[at]))
    n = len(table.rows) - len(kept)
    told = f"{n:,} rows without a target are left out, the first of them row {first}."
    return table._replace(rows=kept), told


def _task_of(schema: TableSchema, target: str, notes: list[str]) -> str:
    column = schema.column(target)
    is_measure = column.reading.kind is ColumnKind.NUMBER and column.n_distinct > _MOST_CLASSES
    task = Task.TABULAR_REGRESSION if is_measure else Task.TABULAR_CLASSIFICATION
    values = "different numbers" if column.reading.kind is ColumnKind.NUMBER else "classes"
    notes.append(f"{target!r} has {column.n_distinct:,} {values}: {task}; --task names another.")
    return task


def _split(
    table: RawTable, schema: TableSchema, target: str, task: str, wishes: Wishes, notes: list[str]
) -> dict[str, list[int]]:
    rows = table.rows
    shares = {"train": 1 - wishes.val - wishes.test, "val": wishes.val, "test": wishes.test}
    shares = {part: share for part, share in shares.items() if share > 0}
    groups = strata = times = None
    how = f"drawn by the seed {wishes.seed}"
    if wishes.time is not None:
        reading, at = schema.column(wishes.time).reading, table.columns.index(wishes.time)
        found = [reading.measure(row[at]) for _, row in rows]
        wrong = next((i for i, value in enumerate(found) if value is None or math.isnan(value)), None)
        if wrong is not None:
            raise InvalidDatasetError(
                f"Row {rows[wrong][0]}, column {wishes.time!r}: {rows[wrong][1][at]!r} is no time to sort by."
            )
        times = [value for value in found if value is not None]
        how = f"in the order of {wishes.time!r}, the newest last"
    elif wishes.group is not None:
        at = table.columns.index(wishes.group)
        groups = [row[at] for _, row in rows]
        how += f", rows of one {wishes.group!r} together"
    elif task == Task.TABULAR_CLASSIFICATION:
        at = table.columns.index(target)
        strata = [category_of(row[at]) for _, row in rows]
        how += ", with every class in each by its share"
        if single := [name for name, n in Counter(strata).items() if n == 1]:
            notes.append(f"One row alone is of the class {single[0]!r}: it is in one part.")
    parts = split_rows(len(rows), shares, wishes.seed, strata=strata, groups=groups, times=times)
    if empty := [part for part, own in parts.items() if not own]:
        raise InvalidDatasetError(f"No row is left for the part {empty[0]!r}: there are too few rows or groups.")
    sizes = ", ".join(f"{len(own):,} for {part}" for part, own in parts.items())
    notes.append(f"{len(rows):,} rows: {sizes}; {how}.")
    return parts
