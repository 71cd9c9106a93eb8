"""POS_TAGGING: one tag for each token of a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rafiki.constants import Task
from rafiki.errors import InvalidDatasetError, InvalidQueryError, ModelPredictError
from rafiki.tasks.base import TaskSpec, encode_json
from rafiki.tasks.zip_files import open_dataset_zip

_decode_tokens = msgspec.json.Decoder(list[str]).decode


class PosTaggingTask(TaskSpec):
    """Datasets: zip with ``corpus.tsv``. Queries: a list of tokens. Predictions: a list of tags; the members vote."""

    name = Task.POS_TAGGING

    def validate_dataset(self, path: Path) -> None:
        with open_dataset_zip(path) as archive:
            if "corpus.tsv" not in archive.namelist():
                raise InvalidDatasetError("There is no file 'corpus.tsv' in the zip.")

    def decode_query(self, raw: bytes) -> list[str]:
        try:
            return _decode_tokens(raw)
        except msgspec.DecodeError as e:
            raise InvalidQueryError(f"A query is a list of tokens, such as ['a', 'sentence']: {e}.") from e

    def encode_prediction(self, prediction: Any) -> bytes:
        tags = prediction.tolist() if hasattr(prediction, "tolist") else prediction
        if not isinstance(tags, (list, tuple)):
            raise ModelPredictError(
                f"predict() must return a list of tags for each query; it returned {str(prediction)[:120]}."
            )
        return encode_json(tags)

    def ensemble(self, predictions: list[Any]) -> list[Any]:
        """The most frequent tag of each token; among equals, the best member's."""
        best: list[Any] = predictions[0]
        voters = [tags for tags in predictions if len(tags) == len(best)]
        return [max(votes, key=votes.count) for votes in zip(*voters, strict=True)]
