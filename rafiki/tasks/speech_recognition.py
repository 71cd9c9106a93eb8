"""SPEECH_RECOGNITION: what was said in a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rafiki.constants import Task
from rafiki.errors import InvalidDatasetError, InvalidQueryError, ModelPredictError
from rafiki.tasks.base import TaskSpec, encode_json
from rafiki.tasks.zip_files import open_dataset_zip

_decode_text = msgspec.json.Decoder(str).decode


class SpeechRecognitionTask(TaskSpec):
    """Datasets: zip with ``audios.csv``. Queries: a wav file in base64. Predictions: text, by the best member."""

    name = Task.SPEECH_RECOGNITION

    def validate_dataset(self, path: Path) -> None:
        with open_dataset_zip(path) as archive:
            if "audios.csv" not in archive.namelist():
                raise InvalidDatasetError("There is no file 'audios.csv' in the zip.")

    def decode_query(self, raw: bytes) -> str:
        try:
            return _decode_text(raw)
        except msgspec.DecodeError as e:
            raise InvalidQueryError(f"A query is a wav file as base64 text: {e}.") from e

    def encode_prediction(self, prediction: Any) -> bytes:
        if not isinstance(prediction, str):
            raise ModelPredictError(
                f"predict() must return one text for each query; it returned a {type(prediction).__name__}."
            )
        return encode_json(prediction)

    def ensemble(self, predictions: list[Any]) -> Any:
        return predictions[0]
