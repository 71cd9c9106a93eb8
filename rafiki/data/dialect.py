"""Text tables as programs and people write them: encoding, delimiter and header are found, and said."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rafiki.data.numbers import read_written
from rafiki.errors import InvalidDatasetError

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_LOOKED_AT = 200
"""Rows by which delimiter and header are found."""


class RawTable(NamedTuple):
    """A table with how it was written."""

    columns: list[str]
    rows: list[tuple[int, list[str]]]
    """Each with its number in the file, the first line 1, and one text without spaces around it a column."""
    delimiter: str
    encoding: str
    has_header: bool
    notes: list[str]
    """For people: what was found that they may not expect."""


def read_table(path: Path) -> RawTable:
    """The table in a text file.

    Raises:
        InvalidDatasetError: it holds none; says in which row.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise InvalidDatasetError(f"{path}: cannot be read: {e.strerror or e}.") from e
    text, encoding = _decode(data, path)
    delimiter = _find_delimiter(text, path)
    records = _records(text, delimiter, path)
    first = records[0][1]
    has_header = _has_header(first, [row for _, row in records[1:_LOOKED_AT]])
    names, notes = _names(first) if has_header else ([f"column{i + 1}" for i in range(len(first))], [])
    rows = records[1:] if has_header else records
    if not rows:
        raise InvalidDatasetError(f"{path}: there is no row below the header.")
    for row_no, row in rows:
        if len(row) != len(names):
            raise InvalidDatasetError(
                f"{path}, row {row_no} has {len(row)} values where the first row has {len(names)}. Check its quotes."
            )
    if delimiter != ",":
        notes.append(f"values are separated by {_DELIMITERS[delimiter]}")
    if encoding not in ("utf-8", "ascii"):
        notes.append(f"the text is {encoding}")
    if not has_header:
        notes.append(f"the first row is no header: the columns are called {names[0]} to {names[-1]}")
    return RawTable(names, rows, delimiter, encoding, has_header, notes)


def _decode(data: bytes, path: Path) -> tuple[str, str]:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        candidates = ["utf-16"]
    else:
        candidates = ["utf-8-sig", "cp1252"]
    for encoding in candidates:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, "utf-8" if encoding == "utf-8-sig" else "Windows-1252" if encoding == "cp1252" else "UTF-16"
    raise InvalidDatasetError(f"{path}: this is no text. Tables are text files: csv, tsv and the like.")


def _records(text: str, delimiter: str, path: Path, most: int | None = None) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    found = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                found.append((reader.line_num if most is None else 0, [cell.strip() for cell in row]))
            if most is not None and len(found) >= most:
                break
    except csv.Error as e:
        raise InvalidDatasetError(f"{path}, line {reader.line_num}: its quotes do not match.") from e
    return found


def _find_delimiter(text: str, path: Path) -> str:
    best: tuple[float, int, str] | None = None
    wrong: InvalidDatasetError | None = None
    for delimiter in _DELIMITERS:
        try:
            rows = _records(text[: 1 << 20], delimiter, path, _LOOKED_AT)
        except InvalidDatasetError as e:
            wrong = wrong or e
            continue
        if not rows:
            raise InvalidDatasetError(f"{path}: the file is empty.")
        widths = Counter(len(row) for _, row in rows)
        width, n = widths.most_common(1)[0]
        if width > 1:
            best = max(best or (0.0, 0, ","), (n / len(rows), width, delimiter))
    if best is None:
        raise wrong or InvalidDatasetError(
            f"{path}: there is one column alone. A table has a target and a feature, separated by commas, semicolons, "
            "tabs or bars."
        )
    return best[2]


def _has_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: all of it are names, and below them there is something else."""
    names = [name for name in first if name]
    if len(set(names)) < len(names) or any(read_written(name) is not None for name in names):
        return False
    if len(names) < len(first) - 1:
        return False
    columns = list(zip(*(row for row in rows if len(row) == len(first)), strict=False))
    if any(sum(read_written(cell) is not None for cell in column) > len(column) / 2 for column in columns):
        return True
    # Of texts alone: values come again, names do not.
    return not any(name in column for name, column in zip(first, columns, strict=False) if name)


def _names(header: Sequence[str]) -> tuple[list[str], list[str]]:
    names, notes = [], []
    for i, name in enumerate(header):
        if name:
            names.append(name)
        else:
            names.append("index" if i == 0 else f"column{i + 1}")
            notes.append(f"column {i + 1} has no name: it is called {names[-1]!r}")
    return names, notes
