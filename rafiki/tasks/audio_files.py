"""The dataset format of speech recognition: a zip with ``audios.csv`` and the wav files that it lists."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

from rafiki.data.numbers import parse_plain
from rafiki.data.sounds import NotWavError, read_wav_header
from rafiki.errors import InvalidDatasetError
from rafiki.tasks.table_files import find_columns, iter_rows, place
from rafiki.tasks.zip_files import find_member, open_member

AUDIOS_CSV = "audios.csv"
COLUMNS = ("wav_filename", "wav_filesize", "transcript")
SAMPLE_RATE_HZ = 16_000
_BLOCK = 1 << 16
_NOT_SPOKEN = re.compile(r"[^a-z ']")


class AudioRow(NamedTuple):
    row_no: int
    """Counted as spreadsheets do: the header is row 1."""
    wav_filename: str
    """Path in the zip."""
    wav_filesize: int
    """In bytes."""
    told_bytes: float
    """The size that the table tells: that of the recording before it was converted, maybe."""
    transcript: str
    """What was said, in a to z, spaces and apostrophes."""


def _check_transcript(transcript: str, row_no: int) -> None:
    where = place(AUDIOS_CSV, row_no, "transcript")
    if not transcript.strip():
        raise InvalidDatasetError(f"{where}: the transcript is empty.")
    if found := _NOT_SPOKEN.search(transcript):
        raise InvalidDatasetError(
            f"{where}: {transcript[:80]!r} holds {found.group()!r}; transcripts are of a to z, space and ' alone."
        )


def iter_audio_rows(archive: zipfile.ZipFile) -> Iterator[AudioRow]:
    """The rows of ``audios.csv`` in their order, each with the size of its file in the zip.

    Raises:
        InvalidDatasetError: says what is wrong, in which row and column.
    """
    with open_member(archive, AUDIOS_CSV) as stream:
        rows = iter_rows(stream, AUDIOS_CSV)
        header = next(rows, (1, []))[1]
        name_at, size_at, transcript_at = find_columns(AUDIOS_CSV, header, COLUMNS)
        is_empty = True
        for row_no, row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise InvalidDatasetError(
                    f"{place(AUDIOS_CSV, row_no)} has {len(row)} values where row 1 names {len(header)} columns."
                )
            name, size = row[name_at].strip(), row[size_at].strip()
            info = find_member(archive, name)
            if info is None:
                raise InvalidDatasetError(
                    f"{place(AUDIOS_CSV, row_no, 'wav_filename')}: there is no file {name!r} in the zip."
                )
            told_bytes = parse_plain(size)
            if told_bytes is None or told_bytes < 0:
                raise InvalidDatasetError(
                    f"{place(AUDIOS_CSV, row_no, 'wav_filesize')}: {size[:80]!r} came, where a number of bytes belongs."
                )
            _check_transcript(row[transcript_at], row_no)
            is_empty = False
            yield AudioRow(row_no, name, info.file_size, told_bytes, row[transcript_at])
        if is_empty:
            raise InvalidDatasetError(f"{AUDIOS_CSV} lists no recordings.")


def check_wav(archive: zipfile.ZipFile, row: AudioRow) -> None:
    """Reads a wav file to its end; little of it is held in memory.

    Raises:
        InvalidDatasetError: when it is no 16-bit PCM of one channel at 16 kHz, holds no sample, or is cut off.
    """
    origin = f"{place(AUDIOS_CSV, row.row_no)}: "
    with open_member(archive, row.wav_filename, origin) as stream:
        try:
            header = read_wav_header(stream)
        except NotWavError as e:
            raise InvalidDatasetError(f"{origin}{row.wav_filename!r} is not a readable PCM wav file: {e}.") from e
        form = (header.n_channels, header.rate_hz, header.bits)
        if form != (1, SAMPLE_RATE_HZ, 16):
            raise InvalidDatasetError(
                f"{origin}{row.wav_filename!r} has {form[0]} channel(s), {form[1]} Hz and {form[2]} bits a sample; "
                f"recordings have 1 channel, {SAMPLE_RATE_HZ} Hz and 16 bits."
            )
        # The zip's checksum is compared at the end of the file.
        n_bytes = 0
        while block := stream.read(_BLOCK):
            n_bytes += len(block)
        told = n_bytes if header.n_bytes is None else header.n_bytes
        if not told or n_bytes < told:
            raise InvalidDatasetError(
                f"{origin}{row.wav_filename!r} has {n_bytes // 2} samples where its header says {told // 2}."
                if told
                else f"{origin}{row.wav_filename!r} holds no sound."
            )


def is_wav(data: bytes) -> bool:
    """Whether ``data`` begins as a wav file does, and has a format and samples, of whatever kind."""
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE" and b"fmt " in data and b"data" in data
