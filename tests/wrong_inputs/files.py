"""Datasets as bytes, good ones and wrong ones."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping

from support.data.task_files import wav

HEADER = "wav_filename,wav_filesize,transcript\n"


def zip_of(files: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def corpus_zip(text: str | bytes) -> bytes:
    return zip_of({"corpus.tsv": text})


def audio_zip(rows: str | None = None, b: bytes = b"", header: str = HEADER) -> bytes:
    """A dataset for SPEECH_RECOGNITION: ``a.wav``, which row 2 lists, and ``b.wav``, which ``rows`` may list."""
    a = wav()
    return zip_of({"audios.csv": f"{header}a.wav,{len(a)},it's one\n{rows or ''}", "a.wav": a, "b.wav": b})


def damaged(data: bytes, at: int, n_bytes: int) -> bytes:
    return data[:at] + bytes(b ^ 0x5A for b in data[at : at + n_bytes]) + data[at + n_bytes :]


def encrypted(data: bytes) -> bytes:
    """A zip whose first file says that it needs a password."""
    out = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        out[out.index(signature) + offset] |= 1
    return bytes(out)


def far_away(data: bytes) -> bytes:
    """A zip whose first file begins, by its directory, 4 GB later."""
    at = data.index(b"PK\x01\x02") + 42
    return data[:at] + b"\xfe\xff\xff\xff" + data[at + 4 :]


def with_link(data: bytes) -> bytes:
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return out.getvalue()


def absent_pixels(png: bytes) -> bytes:
    """A png without its IDAT chunk; all that is left is sound."""
    at = png.index(b"IDAT") - 4
    return png[:at] + png[png.index(b"IEND") - 4 :]
