"""Rows of csv and tsv files, read one after another, and the dataset format of the tabular tasks."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from rafiki.errors import InvalidDatasetError

CSV_FILE = "csv file"
_MAX_LINE_BYTES = 4 << 20
_AFTER_RETURN = re.compile(rb"(?<=\r)(?!\n|\Z)")
_TWICE_RETURNED = b"\r\r\n"
"""How a line ends that Python's csv wrote to a text file on Windows."""
"""Where a line ends with a carriage return alone."""


def place(file_name: str, row_no: int, column: str | None = None) -> str:
    """Where something is wrong, for the beginning of a message. The header is row 1, as in spreadsheets."""
    return f"{file_name}, row {row_no}" + ("" if column is None else f", column {column!r}")


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file with their ends: a line feed, a carriage return (as old spreadsheets write), or both."""
    rest = b""
    while True:
        read = stream.readline(_MAX_LINE_BYTES + 1)
        if read.endswith(_TWICE_RETURNED):
            read = read.removesuffix(_TWICE_RETURNED) + b"\r\n"
        # What the last piece ends with may go on in what is read next.
        *whole, rest = _AFTER_RETURN.split(rest + read)
        yield from whole
        if not read or rest.endswith(b"\n") or len(rest) > _MAX_LINE_BYTES:
            if rest:
                yield rest
            rest = b""
        if not read:
            return


def _lines(stream: IO[bytes], file_name: str) -> Iterator[str]:
    for line_no, line in enumerate(_split(stream), 1):
        if len(line) > _MAX_LINE_BYTES:
            raise InvalidDatasetError(
                f"{file_name}, line {line_no} is longer than {_MAX_LINE_BYTES:,} bytes: is it a table?"
            )
        try:
            text = line.decode("utf-8-sig" if line_no == 1 else "utf-8")
        except UnicodeDecodeError as e:
            raise InvalidDatasetError(f"{file_name}, line {line_no} is no UTF-8 text (its byte {e.start + 1}).") from e
        if "\0" in text:
            raise InvalidDatasetError(f"{file_name}, line {line_no} holds a zero byte: the file is no UTF-8 text.")
        yield text


def _why(error: csv.Error) -> str:
    """In words of our own: those of the reader speak of its own states."""
    text = str(error)
    if "expected after" in text:
        return "something stands between the end of a quoted value and the next comma"
    if "field limit" in text:
        return f"a value is longer than {csv.field_size_limit():,} characters"
    return "a quoted value has no end" if "unexpected end" in text else "its values cannot be told apart"


def iter_rows(
    stream: IO[bytes], file_name: str, delimiter: str = ",", *, has_quotes: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file of UTF-8 text with their numbers, the header first; an empty line is an empty row.

    Args:
        has_quotes: whether quotes around a cell mean that delimiters and line feeds are part of it; if not, they come
            as they are.

    Raises:
        InvalidDatasetError: when it is no such text, or its quotes do not match.
    """
    reader = csv.reader(
        _lines(stream, file_name), delimiter=delimiter, skipinitialspace=delimiter == ",", strict=True,
        quoting=csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE,
    )  # fmt: skip
    row_no = 0
    try:
        for row_no, row in enumerate(reader, 1):
            yield row_no, row
    except csv.Error as e:
        raise InvalidDatasetError(f"{place(file_name, row_no + 1)} cannot be read: {_why(e)}. Check its quotes.") from e


def find_columns(file_name: str, header: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """The positions of the columns ``wanted`` in ``header``.

    Raises:
        InvalidDatasetError: when one is missing or is there twice.
    """
    names = [name.strip() for name in header]
    if any(names.count(name) != 1 for name in wanted):
        raise InvalidDatasetError(
            f"{place(file_name, 1)}: the header must name the columns {', '.join(wanted)}, each once; "
            f"it is {','.join(names)[:200]!r}."
        )
    return [names.index(name) for name in wanted]


class Table(NamedTuple):
    """An open csv file."""

    columns: list[str]
    rows: Iterator[tuple[int, list[str]]]
    """Each with its number and one stripped text a column."""
    has_index: bool = False
    """Whether a first column without a name, the index of who wrote it, was left out."""


def _check_header(header: list[str]) -> list[str]:
    columns = [name.strip() for name in header]
    where = place(CSV_FILE, 1)
    if len(columns) < 2:
        other = next((sign for sign in ";\t|" if sign in "".join(header)), None)
        hint = f" Separate them with commas, not with {other!r}." if other else ""
        raise InvalidDatasetError(f"{where} must name at least two columns: a feature and the target.{hint}")
    # The first alone has none where pandas wrote its index too.
    has_index = columns[0] == "" and len(columns) > 2
    if "" in columns[has_index:]:
        raise InvalidDatasetError(f"{where}: column {columns.index('', has_index) + 1} has no name.")
    if twice := [name for name, n in Counter(columns).items() if n > 1]:
        raise InvalidDatasetError(f"{where} names {', '.join(map(repr, twice[:10]))} more than once.")
    return columns


def _rows_of_length(rows: Iterator[tuple[int, list[str]]], columns: list[str]) -> Iterator[tuple[int, list[str]]]:
    n_rows = 0
    for row_no, row in rows:
        if not row:
            continue
        if len(row) != len(columns):
            raise InvalidDatasetError(
                f"{place(CSV_FILE, row_no)} has {len(row)} values where row 1 names {len(columns)} columns."
            )
        n_rows += 1
        yield row_no, [cell.strip() for cell in row]
    if not n_rows:
        raise InvalidDatasetError("csv file: there is no row below the header.")


@contextmanager
def open_table(path: Path | str) -> Iterator[Table]:
    """The csv file at ``path``: its header, and its rows to be read one after another; empty lines are left out.

    Raises:
        InvalidDatasetError: now, when it has no header of unique names; while its rows are read, when one is of another
            length or cannot be read, or when there is none.
    """
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below; only the opening is tried here
    except OSError as e:
        raise InvalidDatasetError(f"The dataset cannot be read: {e.strerror}.") from e
    with stream:
        rows = iter_rows(stream, CSV_FILE)
        columns = _check_header(next(rows, (1, []))[1])
        has_index = columns[0] == ""
        checked = _rows_of_length(rows, columns)
        if has_index:
            columns, checked = columns[1:], ((row_no, row[1:]) for row_no, row in checked)
        yield Table(columns, checked, has_index)
