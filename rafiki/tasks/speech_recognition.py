"""SPEECH_RECOGNITION: what was said in a recording."""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rafiki.constants import Task
from rafiki.data.sounds import plain_wav
from rafiki.errors import InvalidQueryError, ModelPredictError
from rafiki.tasks.audio_files import AUDIOS_CSV, check_wav, is_wav, iter_audio_rows
from rafiki.tasks.base import TaskSpec, TensorForm, encode_json
from rafiki.tasks.table_files import place
from rafiki.tasks.validation import draw_evenly
from rafiki.tasks.zip_files import DEFAULT_LIMITS, ZipLimits, open_dataset_zip, read_member
from rafiki.utils.mismatch import explain_json
from rafiki.utils.values import JsonValue

if TYPE_CHECKING:
    from rafiki.utils.values import Array

_decode_text = msgspec.json.Decoder(str).decode


class SpeechRecognitionTask(TaskSpec):
    """Datasets: zip with ``audios.csv`` and wav files. Queries: a wav file in base64. Predictions: text, by the best
    member."""

    name = Task.SPEECH_RECOGNITION
    about_queries = "A query is a wav file as base64 text (in a JSON string). A prediction is a text."
    query_schema = {"type": "string", "contentEncoding": "base64", "contentMediaType": "audio/wav"}
    prediction_schema = {"type": "string"}
    query_tensor = TensorForm("audio", "BYTES", (-1,))
    prediction_tensor = TensorForm("transcript", "BYTES", (-1,))
    query_file = "recording.json"

    def validate_dataset(self, path: Path, limits: ZipLimits = DEFAULT_LIMITS) -> None:
        """Checks every row of ``audios.csv`` and reads every wav file that it lists.

        Raises:
            InvalidDatasetError: says what is wrong, in which file, row and column.
        """
        with open_dataset_zip(path, limits) as archive:
            checked: set[str] = set()
            for row in iter_audio_rows(archive):
                # A file may be listed many times; it is read once.
                if row.wav_filename not in checked:
                    check_wav(archive, row)
                    checked.add(row.wav_filename)

    def find_oddities(self, path: Path) -> list[str]:
        """Sizes in the table that are not those of the files."""
        with open_dataset_zip(path) as archive:
            others = [row for row in iter_audio_rows(archive) if row.told_bytes != row.wav_filesize]
        if not others:
            return []
        first = others[0]
        return [
            f"{place(AUDIOS_CSV, first.row_no)}: wav_filesize is {first.told_bytes:g}, but {first.wav_filename!r} has "
            f"{first.wav_filesize} bytes. The size of the file counts; {len(others):,} row"
            f"{'s' if len(others) > 1 else ''} in all tell another."
        ]

    def read_examples(
        self, val_path: Path, train_path: Path, train_args: Mapping[str, JsonValue], max_examples: int
    ) -> list[bytes]:
        with open_dataset_zip(val_path) as archive:
            rows = draw_evenly(iter_audio_rows(archive), max_examples)
            files = [read_member(archive, row.wav_filename, row.wav_filesize) for row in rows]
        return [encode_json(binascii.b2a_base64(data, newline=False).decode()) for data in files]

    def decode_query(self, raw: bytes) -> str:
        """The base64 text; its contents have been seen to be a wav file, of any rate and format. As it came, but for a
        header that not every Python reads, or that leaves the length open."""
        try:
            text = _decode_text(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise InvalidQueryError(f"A query is a wav file as base64 text: {explain_json(raw, str)}.") from e
        # Line breaks, as MIME has them, are no damage.
        packed = "".join(text.split())
        try:
            data = binascii.a2b_base64(packed, strict_mode=True)
        except ValueError as e:
            reason = "what came is no base64" if packed.isascii() else "base64 is ASCII text, and what came is not"
            raise InvalidQueryError(f"A query is a wav file as base64 text: {reason}.") from e
        if not is_wav(data):
            raise InvalidQueryError(
                f"A query is a wav file as base64 text: what came is {len(data)} bytes that are no wav file."
            )
        plain = plain_wav(data)
        return text if plain is data else binascii.b2a_base64(plain, newline=False).decode()

    def decode_array(self, array: Array) -> object:
        """The bytes of a wav file, as a flat array of uint8, as base64 text."""
        if array.ndim == 1 and array.dtype == "uint8":
            return self.decode_query(encode_json(binascii.b2a_base64(array.tobytes(), newline=False).decode()))
        return super().decode_array(array)

    def encode_prediction(self, prediction: object) -> bytes:
        if not isinstance(prediction, str):
            raise ModelPredictError(
                f"predict() must return one text for each query; it returned a {type(prediction).__name__}."
            )
        return encode_json(str(prediction))

    def ensemble(self, predictions: list[JsonValue], weights: Sequence[float] | None = None) -> object:
        return predictions[0]
