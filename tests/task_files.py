"""Datasets of the tasks, small ones made up and real ones."""

from __future__ import annotations

import csv
import io
import os
import random
import wave
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


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
    """A file of real data; skips the test when it is absent, but in CI fails it."""
    path = REAL_DATA / name
    if not path.is_file():
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"{path} is missing")
        pytest.skip(f"{path} is missing")
    return path


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
