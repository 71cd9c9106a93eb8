"""Splits a csv file into datasets for TABULAR_CLASSIFICATION or TABULAR_REGRESSION.

    python csv_split.py titanic.csv --stratify survived
    python csv_split.py winequality.csv --delimiter ";" --split 70,15,15 --seed 1

Rows are dealt out at random; with --stratify, every value of that column is dealt out in the same shares. The file is
read twice, row by row, whatever its size.
"""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from _common import PARTS, make_parser, run, split_by_class, track, unfinished

from rafiki.errors import InvalidDatasetError


def iter_rows(path: Path, delimiter: str, encoding: str) -> Iterator[list[str]]:
    """The rows, the header first; empty lines are left out.

    Raises:
        InvalidDatasetError: says which line cannot be read, or has too few or too many values.
    """
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
        n_columns = 0
        try:
            for row in reader:
                if not row:
                    continue
                n_columns = n_columns or len(row)
                if len(row) != n_columns:
                    raise InvalidDatasetError(
                        f"{path}, line {reader.line_num} has {len(row)} values where the header names {n_columns}."
                    )
                yield row
        except UnicodeDecodeError as e:
            raise InvalidDatasetError(f"{path} is no text in {encoding} ({e}); name another --encoding.") from e
        except csv.Error as e:
            raise InvalidDatasetError(f"{path}, line {reader.line_num} cannot be read: {e}.") from e


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Writes the csv files; returns their paths.

    Raises:
        InvalidDatasetError: says what is wrong in which line.
    """
    parser = make_parser(__doc__ or "", default_name="")
    parser.add_argument("csv", type=Path, help="a csv file with a header")
    parser.add_argument("--stratify", metavar="COLUMN", help="keep the shares of this column's values in every part")
    parser.add_argument("--delimiter", default=",", help="what separates the values of the csv file (,)")
    parser.add_argument("--encoding", default="utf-8-sig", help="of the csv file (utf-8)")
    args = parser.parse_args(argv)
    name = args.name or args.csv.stem

    rows = iter_rows(args.csv, args.delimiter, args.encoding)
    header = [column.strip() for column in next(rows, [])]
    if len(header) < 2:
        raise InvalidDatasetError(f"{args.csv} has no header of at least two columns; is --delimiter right?")
    if args.stratify is not None and args.stratify not in header:
        raise InvalidDatasetError(f"{args.csv} has no column {args.stratify!r}; it has {', '.join(header)}.")
    column = None if args.stratify is None else header.index(args.stratify)
    # One text for each value of the column, not one for each row: the file may be long.
    texts: dict[str, str] = {}
    values = ["all" if column is None else texts.setdefault(row[column], row[column]) for row in rows]
    assigned = split_by_class(values, args.split, args.seed)
    paths = {part: args.out / f"{name}_{part}.csv" for part in PARTS if part in assigned}

    args.out.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.ExitStack() as stack:
            writers = {}
            for part, path in paths.items():
                file = stack.enter_context(unfinished(path).open("w", encoding="utf-8", newline=""))
                writers[part] = csv.writer(file, lineterminator="\n")
                writers[part].writerow(header)
            rows = iter_rows(args.csv, args.delimiter, args.encoding)
            next(rows)
            for row, part in track(zip(rows, assigned, strict=True), len(assigned), "rows", args.quiet):
                writers[part].writerow(row)
        for path in paths.values():
            os.replace(unfinished(path), path)
    finally:
        for path in paths.values():
            unfinished(path).unlink(missing_ok=True)
    return list(paths.values())


if __name__ == "__main__":
    run(main)
