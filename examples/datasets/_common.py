"""What the loaders share: options, splits, progress bars, and zips that appear complete or not at all."""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import os
import random
import sys
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rafiki.errors import InvalidDatasetError, RafikiError
from rafiki.tasks.zip_files import open_dataset_zip, read_member

PARTS = ("train", "val", "test")
T = TypeVar("T")


def make_parser(doc: str, default_name: str, split: str | None = "80,10,10") -> argparse.ArgumentParser:
    """A parser with the options that every loader has; ``doc`` becomes its help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data"), metavar="FOLDER", help="where to write (data)")
    parser.add_argument(
        "--name", default=default_name, help=f"what the files' names begin with ({default_name}); _train.. is added"
    )
    if split is not None:
        parser.add_argument(
            "--split",
            type=parse_shares,
            default=parse_shares(split),
            metavar="A,B,C",
            help=f"shares of train, val and test ({split}); a share of 0 writes no such file",
        )
    parser.add_argument("--seed", type=int, default=0, help="another seed splits otherwise (0)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def run(main: Callable[[Sequence[str] | None], list[Path]]) -> None:
    """Runs a loader as a program: paths of what it wrote to stdout, what went wrong to stderr."""
    try:
        paths = main(None)
    except (RafikiError, OSError) as e:
        sys.exit(f"error: {e}")
    for path in paths:
        print(path)


def parse_shares(text: str) -> dict[str, float]:
    """``"80,10,10"`` as shares of train, val and test that sum to 1.

    Raises:
        argparse.ArgumentTypeError: says what it takes.
    """
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    total = sum(numbers)
    if len(numbers) != len(PARTS) or min(numbers) < 0 or not (0 < total < math.inf):
        raise argparse.ArgumentTypeError(f"it takes three numbers, such as 80,10,10, not {text!r}")
    return {part: number / total for part, number in zip(PARTS, numbers, strict=True)}


def split_by_class(classes: Sequence[Hashable], shares: dict[str, float], seed: int) -> list[str]:
    """For each item its part, so that every class is shared out as ``shares`` say, with one item a part at least.

    Raises:
        InvalidDatasetError: when a class has fewer items than there are parts.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, item_class in enumerate(classes):
        members[item_class].append(i)
    parts = [part for part, share in shares.items() if share > 0]
    assigned = [""] * len(classes)
    rng = random.Random(seed)
    for item_class, indexes in members.items():
        if len(indexes) < len(parts):
            raise InvalidDatasetError(
                f"The class {item_class!r} has {len(indexes)} item(s), too few for one in each of {', '.join(parts)}. "
                "Add some, remove the class, or use fewer parts, such as --split 80,20,0."
            )
        rng.shuffle(indexes)
        sizes = {part: max(1, round(shares[part] * len(indexes))) for part in parts}
        # Rounding is made up for by the largest part.
        sizes[max(parts, key=lambda part: sizes[part])] += len(indexes) - sum(sizes.values())
        position = 0
        for part in parts:
            for i in indexes[position : position + sizes[part]]:
                assigned[i] = part
            position += sizes[part]
    return assigned


def split_by_group(groups: Sequence[Hashable], shares: dict[str, float], seed: int) -> list[str]:
    """For each item its part; items of one group (a speaker, say) stay together.

    Raises:
        InvalidDatasetError: when there are fewer groups than parts.
    """
    names = list(dict.fromkeys(groups))
    # One class of all groups.
    part_of = dict(zip(names, split_by_class(["all"] * len(names), shares, seed), strict=True))
    return [part_of[group] for group in groups]


def track(items: Iterable[T], total: int | None, what: str, quiet: bool) -> Iterator[T]:
    """``items``, with a progress bar on stderr."""
    if quiet:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total=total, description=what)


class PartWriter:
    """One zip of a dataset: members as they come, and a table of them (``images.csv``, say) at the end.

    Members are stored as they are: png, jpg and wav files hardly get smaller. The table grows in a temporary file, so
    memory stays flat. The same contents give the same bytes.
    """

    def __init__(self, path: Path, table_name: str, header: Sequence[str], delimiter: str) -> None:
        self._archive = zipfile.ZipFile(path, "w")
        self._table_name = table_name
        self._table = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115 (closed in close)
        self._rows = csv.writer(self._table, delimiter=delimiter, lineterminator="\n")
        self._rows.writerow(header)
        self.n_rows = 0

    def add_file(self, name: str, data: bytes) -> None:
        # ZipInfo's fixed date, instead of now, keeps the bytes the same from run to run.
        self._archive.writestr(zipfile.ZipInfo(name), data)

    def add_row(self, *values: Any) -> None:
        self._rows.writerow(values)
        self.n_rows += 1

    def close(self) -> None:
        self._table.seek(0)
        entry = zipfile.ZipInfo(self._table_name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with self._archive.open(entry, "w", force_zip64=True) as out:
            while block := self._table.read(1 << 20):
                out.write(block.encode())
        self._table.close()
        self._archive.close()

    def discard(self) -> None:
        self._table.close()
        self._archive.close()


@contextlib.contextmanager
def open_parts(
    out: Path, name: str, parts: Iterable[str], table_name: str, header: Sequence[str], delimiter: str = ","
) -> Iterator[dict[str, PartWriter]]:
    """A writer for each part. The zips get their names when all are complete; after an error none is left behind."""
    out.mkdir(parents=True, exist_ok=True)
    paths = {part: unfinished(zip_path(out, name, part)) for part in parts}
    writers: dict[str, PartWriter] = {}
    try:
        for part, path in paths.items():
            writers[part] = PartWriter(path, table_name, header, delimiter)
        yield writers
        for part, writer in writers.items():
            if writer.n_rows == 0:
                raise InvalidDatasetError(f"Nothing fell into {part}; leave it out with a share of 0, or add data.")
            writer.close()
        for part, path in paths.items():
            os.replace(path, zip_path(out, name, part))
    finally:
        for writer in writers.values():
            writer.discard()
        for path in paths.values():
            path.unlink(missing_ok=True)


def zip_path(out: Path, name: str, part: str) -> Path:
    return out / f"{name}_{part}.zip"


def unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def names_table(header: Sequence[str], names: Iterable[Any]) -> bytes:
    """A csv file of numbers from 0 and their names: what the classes or tags of a dataset stand for."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(header)
        rows.writerows(enumerate(names))
        file.seek(0)
        return file.read().encode()


class Source:
    """The files of a folder or of a zip, by their paths in it. A zip is read, never extracted."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None) -> None:
        self._path, self._archive = path, archive

    def names(self, suffixes: Iterable[str]) -> list[str]:
        """The paths that end in one of ``suffixes``, sorted, with ``/`` between folders."""
        ends = tuple(suffixes)
        if self._archive is not None:
            found = [name for name in self._archive.namelist() if not name.startswith("__MACOSX/")]
        else:
            root = self._path.resolve()
            # A link that leads out of the folder is not part of it.
            found = [
                path.relative_to(self._path).as_posix()
                for path in self._path.rglob("*")
                if path.is_file() and path.resolve().is_relative_to(root)
            ]
        return sorted(name for name in found if name.lower().endswith(ends) and not Path(name).name.startswith("."))

    def read(self, name: str, max_bytes: int = 256 << 20) -> bytes:
        """The contents of a file.

        Raises:
            InvalidDatasetError: when it is damaged or larger than ``max_bytes``.
        """
        if self._archive is not None:
            return read_member(self._archive, name, max_bytes)
        path = self._path / name
        if path.stat().st_size > max_bytes:
            raise InvalidDatasetError(f"{path} has {path.stat().st_size:,} bytes; at most {max_bytes:,} are taken.")
        return path.read_bytes()


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """The folder or zip at ``path``.

    Raises:
        InvalidDatasetError: when it is neither.
    """
    if path.is_dir():
        yield Source(path, None)
    elif not path.exists():
        raise InvalidDatasetError(f"There is no folder or zip {path}.")
    elif "".join(path.suffixes[-2:]).endswith((".tar.gz", ".tgz", ".tar", ".tar.bz2")):
        raise InvalidDatasetError(f"{path} is a tar file; unpack it first (tar -xf {path.name}) and name the folder.")
    else:
        with open_dataset_zip(path) as archive:
            yield Source(path, archive)


def read_exactly(stream: IO[bytes], n_bytes: int, origin: str) -> bytes:
    """The next ``n_bytes`` of ``stream``.

    Raises:
        InvalidDatasetError: when it ends before; names ``origin``.
    """
    try:
        data = stream.read(n_bytes)
    except (OSError, EOFError, zlib.error) as e:  # what a damaged gzip file raises
        raise InvalidDatasetError(f"{origin} is damaged ({e}).") from e
    if len(data) != n_bytes:
        raise InvalidDatasetError(f"{origin} is cut off: {n_bytes} bytes were to come, {len(data)} did.")
    return data
