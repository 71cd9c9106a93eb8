"""The datasets and queries of the benchmarks, all from scikit-learn's handwritten digits (1,797 images of 8 x 8)."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

N_QUERIES = 64
_N_TRAIN = 1400
_SIDE = 32


class Queries(NamedTuple):
    """Held-out queries with the classes that a model should find."""

    queries: list[Any]
    classes: list[int]

    def bodies(self) -> list[bytes]:
        """One request body for each query."""
        return [json.dumps({"query": q}, separators=(",", ":")).encode() for q in self.queries]


def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    return digits.data[order], digits.target[order]


def write_numbers(folder: Path) -> tuple[Path, Path]:
    """CSV files to train on and to validate: 64 numbers from 0 to 16, then the class."""
    features, classes = _digits()
    table = np.column_stack([features, classes])
    train, val = folder / "numbers_train.csv", folder / "numbers_val.csv"
    np.savetxt(train, table[:_N_TRAIN], delimiter=",", fmt="%g")
    np.savetxt(val, table[_N_TRAIN:], delimiter=",", fmt="%g")
    return train, val


def train_numbers() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What :func:`write_numbers` writes to train on: features, classes."""
    features, classes = _digits()
    return features[:_N_TRAIN].astype(np.float32), classes[:_N_TRAIN]


def train_images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What :func:`write_images` writes to train on: pixels, classes."""
    features, classes = _digits()
    return _as_images(features[:_N_TRAIN]).reshape(_N_TRAIN, -1).astype(np.float32), classes[:_N_TRAIN]


def number_queries() -> Queries:
    """Lists of 64 numbers."""
    features, classes = _digits()
    return Queries(features[-N_QUERIES:].tolist(), classes[-N_QUERIES:].tolist())


def _as_images(features: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The digits enlarged to images of 32 x 32 x 3, in one colour, from 0 to 255."""
    grey = features.reshape(-1, 8, 8) * (255 / 16)
    large = np.kron(grey, np.ones((1, _SIDE // 8, _SIDE // 8)))
    return np.asarray((large[..., None] * np.array([1.0, 0.8, 0.6])).round(), dtype=np.uint8)


def write_images(folder: Path) -> tuple[Path, Path]:
    """IMAGE_CLASSIFICATION datasets of 32 x 32 x 3 to train on and to validate."""
    features, classes = _digits()
    images = _as_images(features)
    return (
        _write_zip(folder / "images_train.zip", images[:_N_TRAIN], classes[:_N_TRAIN]),
        _write_zip(folder / "images_val.zip", images[_N_TRAIN:], classes[_N_TRAIN:]),
    )


def _write_zip(path: Path, images: NDArray[np.uint8], classes: NDArray[np.int64]) -> Path:
    from PIL import Image

    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["path", "class"])
    with zipfile.ZipFile(path, "w") as archive:
        for i, (image, image_class) in enumerate(zip(images, classes, strict=True)):
            png = io.BytesIO()
            Image.fromarray(image).save(png, format="PNG")
            archive.writestr(f"{i:04}.png", png.getvalue())
            rows.writerow([f"{i:04}.png", int(image_class)])
        archive.writestr("images.csv", table.getvalue())
    return path


def image_queries() -> Queries:
    """Images of 32 x 32 x 3 as nested lists."""
    features, classes = _digits()
    return Queries(_as_images(features[-N_QUERIES:]).tolist(), classes[-N_QUERIES:].tolist())
