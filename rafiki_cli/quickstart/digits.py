"""The held-out digits as queries, and how many of them a predictor gets right."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rafiki.data.images import as_seen
from rafiki.utils.values import JsonValue

if TYPE_CHECKING:
    from rafiki.client import PredictorClient

BATCH_SIZE = 16
CONCURRENCY = 8


class Accuracy(NamedTuple):
    """How many queries were predicted right."""

    right: int
    total: int

    @property
    def share(self) -> float:
        return self.right / self.total if self.total else 0.0


def read_images(file: Path) -> tuple[list[JsonValue], list[int]]:
    """The images of an IMAGE_CLASSIFICATION dataset as nested lists (rows, columns, RGB), and their classes."""
    import numpy as np
    from PIL import Image

    images: list[JsonValue] = []
    classes: list[int] = []
    with zipfile.ZipFile(file) as archive:
        for row in csv.DictReader(io.StringIO(archive.read("images.csv").decode())):
            with Image.open(io.BytesIO(archive.read(row["path"]))) as image:
                images.append(np.asarray(as_seen(image).convert("RGB")).tolist())
            classes.append(int(row["class"]))
    return images, classes


def most_probable(probabilities: Sequence[float]) -> int:
    """The class with the highest probability."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def measure(predictor: PredictorClient, images: Sequence[JsonValue], classes: Sequence[int]) -> Accuracy:
    """Ask for all images, in batches and several batches at a time."""
    batches = [images[i : i + BATCH_SIZE] for i in range(0, len(images), BATCH_SIZE)]
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        answers = [p for batch in pool.map(predictor.predict_many, batches) for p in batch]
    right = sum(most_probable(p) == c for p, c in zip(answers, classes, strict=True))
    return Accuracy(right, len(classes))
