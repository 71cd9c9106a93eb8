# ruff: noqa: E501 - tables
"""Wav files are read as any player reads them, on every Python."""

from __future__ import annotations

import binascii
import io
import json
import struct
import wave
import zipfile
from pathlib import Path

import pytest

from rafiki.data.sounds import NotWavError, plain_wav, read_wav_header
from rafiki.errors import InvalidDatasetError
from rafiki.model import utils
from rafiki.tasks.registry import get_task

TASK = get_task("SPEECH_RECOGNITION")
SAMPLES = struct.pack("<160h", *range(160))
GUID = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
FORMAT = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)


def chunk(name: bytes, data: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(data) if size is None else size) + data + b"\0" * (len(data) % 2)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def extensible(tag: int = 1) -> bytes:
    form = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 16000, 32000, 2, 16, 22, 16, 4, tag) + GUID
    return riff(chunk(b"fmt ", form), chunk(b"data", SAMPLES))


INTACT = {
    "plain": riff(chunk(b"fmt ", FORMAT), chunk(b"data", SAMPLES)),
    "extensible": extensible(),
    "a longer format": riff(chunk(b"fmt ", FORMAT + b"\0\0"), chunk(b"data", SAMPLES)),
    "notes before the samples": riff(chunk(b"LIST", b"INFOodd"), chunk(b"fmt ", FORMAT), chunk(b"bext", b"x" * 602), chunk(b"data", SAMPLES)),
    "notes after the samples": riff(chunk(b"fmt ", FORMAT), chunk(b"data", SAMPLES), chunk(b"LIST", b"INFOmore")),
    "written into a pipe": riff(chunk(b"fmt ", FORMAT), chunk(b"data", SAMPLES, 0xFFFFFFFF), size=0xFFFFFFFF),
    "a length that was never filled in": riff(chunk(b"fmt ", FORMAT), chunk(b"data", SAMPLES, 0), size=0),
}  # fmt: skip
DAMAGED = {
    "nothing": (b"", "does not begin as a wav file"),
    "an mp3": (b"ID3\x04" + b"x" * 100, "does not begin as a wav file"),
    "no format": (riff(chunk(b"data", SAMPLES)), "its samples come before their format"),
    "no samples": (riff(chunk(b"fmt ", FORMAT)), "it has no samples"),
    "cut off in the header": (INTACT["plain"][:30], "its format is cut off"),
    "floating point": (extensible(3), "floating point numbers"),
    "another coding": (riff(chunk(b"fmt ", b"\x06\0" + FORMAT[2:]), chunk(b"data", SAMPLES)), "of the coding 6"),
    "cut off": (INTACT["plain"][:-100], "110 samples where its header says 160"),
}


def recordings(folder: Path, data: bytes) -> Path:
    path = folder / "d.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("audios.csv", f"wav_filename,wav_filesize,transcript\na.wav,{len(data)},one\n")
        archive.writestr("a.wav", data)
    return path


@pytest.mark.parametrize("name", INTACT)
def test_an_intact_file_is_taken_and_every_python_can_read_what_a_model_gets(tmp_path: Path, name: str) -> None:
    data = INTACT[name]
    path = recordings(tmp_path, data)
    TASK.validate_dataset(path)
    table = utils.dataset.load_dataset_of_audio_files(str(path), tmp_path / "out").df
    query = TASK.decode_query(json.dumps(binascii.b2a_base64(data).decode()).encode())
    assert isinstance(query, str)
    for found in (Path(table["wav_filename"][0]).read_bytes(), binascii.a2b_base64(query)):
        # Python 3.11 knows the plain tag alone.
        assert struct.unpack_from("<H", found, found.index(b"fmt ") + 8)[0] == 1
        with wave.open(io.BytesIO(found), "rb") as reader:
            assert (reader.getframerate(), reader.getnframes()) == (16000, 160)
            assert reader.readframes(160) == SAMPLES


def test_a_plain_file_stays_as_it_is() -> None:
    assert plain_wav(INTACT["plain"]) is INTACT["plain"]
    assert plain_wav(b"no wav") == b"no wav"


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_with_what_is_wrong(tmp_path: Path, name: str) -> None:
    data, told = DAMAGED[name]
    with pytest.raises(InvalidDatasetError, match=rf"row 2: 'a\.wav' .*{told}"):
        TASK.validate_dataset(recordings(tmp_path, data))


def test_a_header_of_a_gigabyte_is_not_read() -> None:
    data = b"RIFF\0\0\0\0WAVEjunk" + struct.pack("<I", 1 << 30)
    with pytest.raises(NotWavError, match="bytes long"):
        read_wav_header(io.BytesIO(data))
