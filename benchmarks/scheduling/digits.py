"""The data of the benchmark: scikit-learn's handwritten digits with noise, so that no model finds them all."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import Queries

_NOISE = 80.0
_TRAIN, _VAL, _QUERIES = slice(0, 1000), slice(1000, 1400), slice(1400, None)
_DRAWS = 4
"""How often a digit to validate on, or to ask, comes: each time with noise of its own."""
_Images = NDArray[np.uint8]
_Classes = NDArray[np.int64]


def write_digits(folder: Path) -> tuple[Path, Path, Queries]:
    """Datasets to train on and to validate, and queries of digits that neither holds."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.data))
    features, classes = digits.data[order] * (255 / 16), digits.target[order]

    def noisy(part: slice, n_draws: int) -> tuple[_Images, _Classes]:
        clean = np.repeat(features[part], n_draws, axis=0)
        images = (clean + rng.normal(0, _NOISE, clean.shape)).clip(0, 255).round()
        return images.astype(np.uint8).reshape(-1, 8, 8), np.repeat(classes[part], n_draws)

    train, val = (_write(folder / f"{name}.zip", *noisy(*part)) for name, part in (
        ("train", (_TRAIN, 1)), ("val", (_VAL, _DRAWS)),
    ))  # fmt: skip
    images, labels = noisy(_QUERIES, _DRAWS)
    # Copies of a digit far from each other; an odd number of queries, so that two or four members that take turns are
    # asked all of them.
    mixed = rng.permutation(len(images))[: (len(images) - 1) // 2 * 2 + 1]
    return train, val, Queries(images[mixed].tolist(), labels[mixed].tolist())


def _write(path: Path, images: _Images, classes: _Classes) -> Path:
    from PIL import Image

    with zipfile.ZipFile(path, "w") as archive:
        rows = ["path,class"]
        for i, (image, label) in enumerate(zip(images, classes, strict=True)):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            archive.writestr(f"{i}.png", png.getvalue())
            rows.append(f"{i}.png,{label}")
        archive.writestr("images.csv", "\n".join(rows) + "\n")
    return path
