"""Makes datasets for IMAGE_CLASSIFICATION of CIFAR-10 or CIFAR-100, from their *binary* versions.

    tar -xf cifar-10-binary.tar.gz
    python cifar.py cifar-10-batches-bin/ --name cifar10

The test batch becomes the test dataset; a share of the training batches becomes the validation dataset. The "python
version" of CIFAR is refused: it is pickled, and reading a pickle runs whatever code it holds.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import make_parser, names_table, open_parts, read_exactly, run, split_by_class, track, zip_path
from PIL import Image

from rafiki.errors import InvalidDatasetError

SIDE = 32
_IMAGE_BYTES = 3 * SIDE * SIDE


class Layout(NamedTuple):
    """Where the images of one of the two lie, and which byte of a record is the label."""

    train: list[Path]
    test: Path
    n_label_bytes: int
    label_at: int
    n_classes: int
    names: Path


def find_layout(folder: Path, labels: str) -> Layout:
    """The files of CIFAR-10 or CIFAR-100 in ``folder``.

    Raises:
        InvalidDatasetError: when it holds neither, or their pickled versions.
    """
    if not folder.is_dir():
        raise InvalidDatasetError(f"There is no folder {folder}; unpack the binary version first (tar -xf ...).")
    if batches := sorted(folder.glob("data_batch_*.bin")):
        layout = Layout(batches, folder / "test_batch.bin", 1, 0, 10, folder / "batches.meta.txt")
    elif (folder / "train.bin").is_file():
        at, n_classes = (0, 20) if labels == "coarse" else (1, 100)
        names = folder / f"{labels}_label_names.txt"
        layout = Layout([folder / "train.bin"], folder / "test.bin", 2, at, n_classes, names)
    elif any((folder / name).is_file() for name in ("data_batch_1", "batches.meta", "train", "meta")):
        raise InvalidDatasetError(
            f"{folder} holds the python version of CIFAR, which is pickled; reading a pickle runs whatever code it "
            "holds. Take the binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz)."
        )
    else:
        raise InvalidDatasetError(f"{folder} holds neither data_batch_1.bin (CIFAR-10) nor train.bin (CIFAR-100).")
    if not layout.test.is_file():
        raise InvalidDatasetError(f"There is no file {layout.test}.")
    return layout


def iter_records(paths: Sequence[Path], layout: Layout) -> Iterator[tuple[int, bytes]]:
    """``(label, pixels)`` of one record after another; the pixels are 3 planes of 32 x 32."""
    record_bytes = layout.n_label_bytes + _IMAGE_BYTES
    for path in paths:
        n_bytes = path.stat().st_size
        if n_bytes == 0 or n_bytes % record_bytes:
            raise InvalidDatasetError(
                f"{path} has {n_bytes:,} bytes, which is no multiple of a record's {record_bytes}: it is cut off, or "
                "of another format."
            )
        with path.open("rb") as stream:
            for i in range(n_bytes // record_bytes):
                record = read_exactly(stream, record_bytes, str(path))
                label = record[layout.label_at]
                if label >= layout.n_classes:
                    raise InvalidDatasetError(f"{path}, record {i + 1}: there is no class {label}.")
                yield label, record[layout.n_label_bytes :]


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Writes the zips; returns their paths.

    Raises:
        InvalidDatasetError: says which file is wrong.
    """
    parser = make_parser(__doc__ or "", default_name="cifar", split=None)
    parser.add_argument("folder", type=Path, help="with data_batch_1.bin (CIFAR-10) or train.bin (CIFAR-100)")
    parser.add_argument("--labels", choices=["fine", "coarse"], default="fine", help="which labels of CIFAR-100")
    parser.add_argument("--val-share", type=float, default=0.1, help="of the training images (0.1)")
    args = parser.parse_args(argv)
    if not 0 <= args.val_share < 1:
        parser.error(f"--val-share: it takes a number from 0 to below 1, not {args.val_share}")

    layout = find_layout(args.folder, args.labels)
    shares = {"train": 1 - args.val_share, "val": args.val_share}
    labels = [label for label, _ in iter_records(layout.train, layout)]
    assigned = split_by_class(labels, shares, args.seed)
    n_test = sum(1 for _ in iter_records([layout.test], layout))
    assigned += ["test"] * n_test
    parts = [part for part in ("train", "val", "test") if part in assigned]
    names = layout.names.read_text().split() if layout.names.is_file() else []
    if len(names) != layout.n_classes:
        names = [str(i) for i in range(layout.n_classes)]

    with open_parts(args.out, args.name, parts, "images.csv", ["path", "class"]) as writers:
        records = track(iter_records([*layout.train, layout.test], layout), len(assigned), "images", args.quiet)
        for i, (label, pixels) in enumerate(records):
            image = np.frombuffer(pixels, np.uint8).reshape(3, SIDE, SIDE).transpose(1, 2, 0)
            png = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(image)).save(png, format="PNG")
            name = f"images/{i:05}.png"
            writers[assigned[i]].add_file(name, png.getvalue())
            writers[assigned[i]].add_row(name, label)
        for writer in writers.values():
            writer.add_file("classes.csv", names_table(["class", "name"], names))
    return [zip_path(args.out, args.name, part) for part in parts]


if __name__ == "__main__":
    run(main)
