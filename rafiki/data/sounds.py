"""Headers of wav files, with an extension or without one, as any player reads them. Python's own reader knows the first
kind from 3.12 on."""

from __future__ import annotations

import struct
from typing import IO, NamedTuple

_PCM, _EXTENSIBLE = 1, 0xFFFE
_PCM_GUID = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
_UNKNOWN = (0, 0xFFFFFFFF)
"""Lengths that programs write which cannot go back to the header: into a pipe, for instance."""
_MOST_CHUNK = 1 << 20
"""Of a chunk before the samples: none is long."""


class NotWavError(ValueError):
    """It is no wav file of PCM samples; the message says why."""


class WavHeader(NamedTuple):
    n_channels: int
    rate_hz: int
    bits: int
    """A sample."""
    n_bytes: int | None
    """Of samples, as the header says; None = all to the end of the file."""

    @property
    def frame_bytes(self) -> int:
        """Of one sample of each channel."""
        return self.n_channels * ((self.bits + 7) // 8)


def read_wav_header(stream: IO[bytes]) -> WavHeader:
    """The header of a wav file; the stream is left where its samples begin.

    Raises:
        NotWavError: it is no wav file, or its samples are not PCM.
    """
    head = stream.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise NotWavError("it does not begin as a wav file does")
    form: tuple[int, int, int] | None = None
    while True:
        name = stream.read(8)
        if len(name) < 8:
            raise NotWavError("it has no samples" if form else "it has no format")
        kind, size = name[:4], struct.unpack("<I", name[4:])[0]
        if kind == b"data":
            if form is None:
                raise NotWavError("its samples come before their format")
            return WavHeader(*form, None if size in _UNKNOWN else size)
        if size > _MOST_CHUNK:
            raise NotWavError(f"a part of its header is {size:,} bytes long")
        # Parts begin at even places.
        part = stream.read(size + size % 2)
        if kind == b"fmt ":
            form = _read_format(part)


def _read_format(part: bytes) -> tuple[int, int, int]:
    if len(part) < 16:
        raise NotWavError("its format is cut off")
    tag, n_channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", part)
    if tag == _EXTENSIBLE and len(part) >= 40:
        tag = _PCM if part[24:40] == _PCM_GUID else struct.unpack_from("<H", part, 24)[0]
    if tag != _PCM:
        raise NotWavError(
            "its samples are floating point numbers" if tag == 3 else f"its samples are of the coding {tag}"
        )
    if not n_channels or not rate_hz or not bits:
        raise NotWavError("its format has zeros where there are none")
    return n_channels, rate_hz, bits


def plain_header(header: WavHeader, n_bytes: int) -> bytes:
    """A header that every reader knows.

    Args:
        n_bytes: of samples that follow.
    """
    frame = header.frame_bytes
    form = struct.pack("<HHIIHH", _PCM, header.n_channels, header.rate_hz, header.rate_hz * frame, frame, header.bits)
    return b"".join([
        b"RIFF", struct.pack("<I", min(36 + n_bytes, 0xFFFFFFFF)), b"WAVE", b"fmt ", struct.pack("<I", 16), form,
        b"data", struct.pack("<I", n_bytes),
    ])  # fmt: skip


def plain_wav(data: bytes) -> bytes:
    """A wav file as every reader takes it; as it came when it is plain already, or is no PCM that could be so.

    A length that the header leaves open is that of the file.
    """
    import io

    stream = io.BytesIO(data)
    try:
        header = read_wav_header(stream)
    except NotWavError:
        return data
    begin = stream.tell()
    n_bytes = len(data) - begin if header.n_bytes is None else min(header.n_bytes, len(data) - begin)
    is_plain = begin == 44 and header.n_bytes == n_bytes
    return data if is_plain else plain_header(header, n_bytes) + data[begin : begin + n_bytes]
