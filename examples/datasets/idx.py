"""Makes datasets for IMAGE_CLASSIFICATION of a pair of IDX files: MNIST, Fashion-MNIST, EMNIST, KMNIST.

    python idx.py train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz --name mnist --split 90,10,0
    python idx.py t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz --name mnist --split 0,0,100

Files may be packed with gzip. Labels that do not count from 0 without a gap are renumbered; `classes.csv` in each zip
tells which is which.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np
from _common import PARTS, make_parser, names_table, open_parts, read_exactly, run, split_by_class, track, zip_path
from PIL import Image

from rafiki.errors import InvalidDatasetError

_UNSIGNED_BYTES = 0x08
_MAX_IMAGE_BYTES = 64 << 20
_MAX_LABELS = 100_000_000


@contextlib.contextmanager
def open_idx(path: Path) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
    """The numbers of an IDX file of unsigned bytes, to be read one after another, and its shape.

    Raises:
        InvalidDatasetError: when it is no such file.
    """
    with contextlib.ExitStack() as stack:
        stream: IO[bytes] = stack.enter_context(path.open("rb"))
        is_packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        if is_packed:
            stream = cast(IO[bytes], stack.enter_context(gzip.open(stream)))
        magic = read_exactly(stream, 4, str(path))
        if magic[:2] != b"\0\0" or not 1 <= magic[3] <= 4:
            raise InvalidDatasetError(f"{path} is no IDX file: it begins with {magic.hex()}.")
        if magic[2] != _UNSIGNED_BYTES:
            raise InvalidDatasetError(f"{path} holds numbers of the type {magic[2]:#04x}; only bytes (0x08) are taken.")
        shape = tuple(np.frombuffer(read_exactly(stream, 4 * magic[3], str(path)), ">u4").tolist())
        yield stream, shape


def read_labels(path: Path) -> list[int]:
    """The labels of an IDX file of one dimension."""
    with open_idx(path) as (stream, shape):
        if len(shape) != 1 or shape[0] > _MAX_LABELS:
            raise InvalidDatasetError(f"{path} has the shape {shape}; labels have one dimension.")
        return list(read_exactly(stream, shape[0], str(path)))


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Writes the zips; returns their paths.

    Raises:
        InvalidDatasetError: says which file is wrong.
    """
    parser = make_parser(__doc__ or "", default_name="idx")
    parser.add_argument("images", type=Path, help="N x height x width (x 3)")
    parser.add_argument("labels", type=Path, help="N")
    parser.add_argument("--transpose", action="store_true", help="swap rows and columns, as EMNIST needs")
    args = parser.parse_args(argv)

    labels = read_labels(args.labels)
    values = sorted(set(labels))
    classes = {label: i for i, label in enumerate(values)}
    assigned = split_by_class(labels, args.split, args.seed)
    parts = [part for part in PARTS if part in assigned]
    with (
        open_idx(args.images) as (stream, shape),
        open_parts(args.out, args.name, parts, "images.csv", ["path", "class"]) as writers,
    ):
        n_bytes = math.prod(shape[1:])
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3) or not 0 < n_bytes <= _MAX_IMAGE_BYTES:
            raise InvalidDatasetError(f"{args.images} has the shape {shape}; images are N x height x width (x 3).")
        if shape[0] != len(labels):
            raise InvalidDatasetError(
                f"{args.images} holds {shape[0]:,} images, {args.labels} {len(labels):,} labels: they are no pair."
            )
        for i, label in track(enumerate(labels), len(labels), "images", args.quiet):
            image = np.frombuffer(read_exactly(stream, n_bytes, str(args.images)), np.uint8).reshape(shape[1:])
            if args.transpose:
                image = image.swapaxes(0, 1)
            png = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(image)).save(png, format="PNG")
            name = f"images/{i:07}.png"
            writers[assigned[i]].add_file(name, png.getvalue())
            writers[assigned[i]].add_row(name, classes[label])
        for writer in writers.values():
            writer.add_file("classes.csv", names_table(["class", "name"], values))
    return [zip_path(args.out, args.name, part) for part in parts]


if __name__ == "__main__":
    run(main)
