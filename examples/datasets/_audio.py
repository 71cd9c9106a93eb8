"""Recordings as SPEECH_RECOGNITION takes them: wav, 16 kHz, one channel, 16 bits; transcripts of a-z, space and '."""

from __future__ import annotations

import importlib
import io
import math
import re
import wave
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from rafiki.data.sounds import plain_wav
from rafiki.errors import InvalidDatasetError

SAMPLE_RATE_HZ = 16_000
AUDIO_COLUMNS = ("wav_filename", "wav_filesize", "transcript")
_RATES_HZ = range(1_000, 768_001)
_MAX_S = 3600


def to_wav(data: bytes, origin: str) -> bytes:
    """An audio file, as a wav file of 16 kHz, one channel and 16 bits.

    Args:
        data: PCM wav; flac, ogg and other wav where the package soundfile is installed.
        origin: the file's name, for messages.

    Raises:
        InvalidDatasetError: when it cannot be read; says what would help.
    """
    samples, rate_hz = _read_pcm(data, origin) if data[:4] == b"RIFF" else _read_with_soundfile(data, origin)
    if not len(samples):
        raise InvalidDatasetError(f"{origin} holds no sound.")
    if rate_hz not in _RATES_HZ or len(samples) > _MAX_S * rate_hz:
        raise InvalidDatasetError(
            f"{origin} has {len(samples):,} samples at {rate_hz:,} Hz; at most an hour at 1 to 768 kHz is taken."
        )
    if rate_hz != SAMPLE_RATE_HZ:
        common = math.gcd(rate_hz, SAMPLE_RATE_HZ)
        # Filters out, when the rate falls, what the new rate cannot hold.
        samples = resample_poly(samples, SAMPLE_RATE_HZ // common, rate_hz // common)
    pcm = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(pcm.tobytes())
    return out.getvalue()


def _read_pcm(data: bytes, origin: str) -> tuple[npt.NDArray[np.float64], int]:
    """The samples of a wav file, from -1 to 1, its channels averaged; and its rate in Hz."""
    try:
        with wave.open(io.BytesIO(plain_wav(data)), "rb") as file:
            width, n_channels, rate_hz = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError, ValueError) as e:
        # Python reads plain PCM alone; floating point and other codings are for soundfile.
        if "unknown format" in str(e):
            return _read_with_soundfile(data, origin)
        raise InvalidDatasetError(f"{origin} is not a readable wav file ({e}).") from e
    if width not in (1, 2, 3, 4) or len(frames) % (width * n_channels):
        raise InvalidDatasetError(f"{origin} is cut off, or has samples of {8 * width} bits.")
    bytes_ = np.frombuffer(frames, np.uint8).reshape(-1, width)
    if width == 1:  # the one width whose samples have no sign
        samples = (bytes_[:, 0].astype(np.float64) - 128) / 128
    else:
        wide = np.zeros((len(bytes_), 4), np.uint8)
        wide[:, 4 - width :] = bytes_
        samples = wide.view("<i4")[:, 0] / 2.0**31
    return samples.reshape(-1, n_channels).mean(axis=1), rate_hz


def _read_with_soundfile(data: bytes, origin: str) -> tuple[npt.NDArray[np.float64], int]:
    try:
        reader: Any = importlib.import_module("soundfile")
    except ImportError as e:
        raise InvalidDatasetError(
            f"{origin} is no PCM wav file; for flac, ogg and the like install a decoder: pip install soundfile"
        ) from e
    try:
        samples, rate_hz = reader.read(io.BytesIO(data), dtype="float64", always_2d=True)
    except (reader.SoundFileError, RuntimeError, ValueError) as e:
        raise InvalidDatasetError(f"{origin} is not a readable audio file ({e}).") from e
    return samples.mean(axis=1), int(rate_hz)


def clean_transcript(text: str, origin: str) -> str:
    """``text`` in lower case with punctuation left out.

    Raises:
        InvalidDatasetError: when it holds what must be spelled out first, such as a digit, or no letter at all.
    """
    lower = text.lower().replace("’", "'")
    if found := re.search(r"[^\W_a-z]", lower):
        raise InvalidDatasetError(
            f"{origin}: the transcript {text[:60]!r} holds {found.group()!r}; spell it in the letters a to z."
        )
    if not (words := re.sub(r"[^a-z']+", " ", lower).strip()):
        raise InvalidDatasetError(f"{origin}: the transcript {text[:60]!r} holds no letters.")
    return words
