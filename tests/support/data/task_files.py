"""Datasets of the tasks, small ones made up and real ones."""

from __future__ import annotations

import csv
import io
import random
import wave
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

REAL_DATA = Path(__file__).resolve().parents[3] / "examples" / "data"


def make_zip(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def wav(n_samples: int = 160, *, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    """Quiet noise."""
    out = io.BytesIO()
    with wave.open(out, "wb") as recording:
        recording.setnchannels(channels)
        recording.setframerate(rate)
        recording.setsampwidth(bits // 8)
        recording.writeframes(random.Random(0).randbytes(n_samples * channels * bits // 8))
    return out.getvalue()


def real_data(name: str) -> Path:
    """A file of real data."""
    return REAL_DATA / name


def split_csv(path: Path, folder: Path, shares: Mapping[str, float], seed: int = 0) -> list[Path]:
    """The rows of a csv file in a random order, as one csv file a share."""
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    random.Random(seed).shuffle(rows)
    written, start = [], 0
    for name, share in shares.items():
        end = min(len(rows), start + round(share * len(rows)))
        written.append(folder / f"{path.stem}_{name}.csv")
        written[-1].write_text("\n".join([header, *rows[start:end]]) + "\n", encoding="utf-8")
        start = end
    return written


def write_corpus(lines: Iterable[str], path: Path, tags: dict[str, int]) -> Path:
    """Lines of ``token<TAB>tag``, an empty one after each sentence, as a dataset; ``tags`` numbers them, and grows."""
    table = io.StringIO()
    rows = csv.writer(table, dialect="excel-tab", lineterminator="\n")
    rows.writerow(["token", "tag"])
    for line in lines:
        token, _, tag = line.rstrip("\n").partition("\t")
        rows.writerow([token, tags.setdefault(tag, len(tags))] if token else ["\\n", 0])
    return make_zip(path, {"corpus.tsv": table.getvalue()})


def read_corpus(path: Path) -> list[list[tuple[str, str]]]:
    """The sentences of such lines."""
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    return [[(line.split("\t")[0], line.split("\t")[1]) for line in block.split("\n")] for block in blocks]


def read_rows(path: Path, target: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of a csv file as queries (numbers as numbers, empty cells as null), and their targets."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    targets = [row.pop(target) for row in rows]
    return [{name: _value(text) for name, text in row.items()} for row in rows], targets


def _value(text: str) -> str | float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def read_images(path: Path) -> tuple[list[Any], list[int]]:
    """The images of a dataset as queries, and their classes."""
    with zipfile.ZipFile(path) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("images.csv").decode())))
        images = [Image.open(io.BytesIO(archive.read(row["path"]))).convert("RGB") for row in rows]
        return [np.asarray(image).tolist() for image in images], [int(row["class"]) for row in rows]
