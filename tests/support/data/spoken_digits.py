"""Recordings of spoken digits as datasets and queries of speech recognition."""

from __future__ import annotations

import base64
import io
import wave
import zipfile
from pathlib import Path

import numpy as np
from support.data.task_files import make_zip, real_data

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def to_16_khz(recording: bytes) -> bytes:
    """A wav file of 8 kHz, 16 bits and one channel, with a sample between each two."""
    with wave.open(io.BytesIO(recording)) as source:
        assert source.getparams()[:3] == (1, 2, 8_000)
        samples = np.frombuffer(source.readframes(source.getnframes()), "<i2")
    between = np.interp(np.arange(2 * len(samples)) / 2, np.arange(len(samples)), samples)
    out = io.BytesIO()
    with wave.open(out, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        target.writeframes(np.rint(between).astype("<i2").tobytes())
    return out.getvalue()


def write_few(folder: Path, n_takes: int) -> Path:
    """The file of real recordings, with each speaker's first ``n_takes`` takes of each digit alone."""
    few = folder / "few.zip"
    with zipfile.ZipFile(real_data("fsdd_4_speakers.zip")) as source, zipfile.ZipFile(few, "w") as target:
        for name in source.namelist():
            if name.endswith(".wav") and int(Path(name).stem.split("_")[-1]) < n_takes:
                target.writestr(name, source.read(name))
    return few


def write_recordings(folder: Path, n_takes: int = 35) -> tuple[Path, Path, list[tuple[str, str]]]:
    """Datasets to train on and to validate with, and recordings (base64, transcript) that are in neither; of each
    speaker's first ``n_takes`` takes of each digit."""
    parts: dict[str, list[tuple[str, bytes, str]]] = {"train": [], "val": [], "test": []}
    with zipfile.ZipFile(real_data("fsdd_4_speakers.zip")) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".wav")):
            digit, _, take = Path(name).stem.split("_")
            if int(take) >= n_takes:
                continue
            part = "test" if int(take) < 5 else "val" if int(take) < 8 else "train"
            parts[part].append((Path(name).name, to_16_khz(archive.read(name)), WORDS[int(digit)]))
    paths = []
    for part in ("train", "val"):
        table = "".join(f"{name},{len(data)},{word}\n" for name, data, word in parts[part])
        files: dict[str, bytes | str] = {"audios.csv": f"wav_filename,wav_filesize,transcript\n{table}"}
        paths.append(make_zip(folder / f"{part}.zip", files | {name: data for name, data, _ in parts[part]}))
    return paths[0], paths[1], [(base64.b64encode(data).decode(), word) for _, data, word in parts["test"]]
