"""POS_TAGGING: one tag for each token of a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rafiki.constants import Task
from rafiki.errors import InvalidQueryError, ModelPredictError
from rafiki.tasks.base import TaskSpec, encode_json
from rafiki.tasks.corpus_file import iter_sentences
from rafiki.tasks.zip_files import DEFAULT_LIMITS, ZipLimits, open_dataset_zip

_decode_tokens = msgspec.json.Decoder(list[str]).decode


def _as_tag(value: Any) -> int:
    """Raises TypeError for what is no integer."""
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError
    return number


class PosTaggingTask(TaskSpec):
    """Datasets: zip with ``corpus.tsv``. Queries: a list of tokens. Predictions: one integer tag a token; the members
    vote."""

    name = Task.POS_TAGGING

    def validate_dataset(self, path: Path, limits: ZipLimits = DEFAULT_LIMITS) -> None:
        """Checks every row of ``corpus.tsv``: a token and, in the column ``tag``, an integer.

        Raises:
            InvalidDatasetError: says what is wrong, in which row and column.
        """
        with open_dataset_zip(path, limits) as archive:
            for _ in iter_sentences(archive):
                pass

    def decode_query(self, raw: bytes) -> list[str]:
        try:
            tokens = _decode_tokens(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise InvalidQueryError(f'A query is a list of tokens, such as ["a", "sentence"]: {e}.') from e
        if not tokens or "" in tokens:
            what = f"token {tokens.index('')} is empty" if tokens else "the list is empty"
            raise InvalidQueryError(f'A query is a list of tokens, such as ["a", "sentence"]: {what}.')
        return tokens

    def encode_prediction(self, prediction: Any) -> bytes:
        values = prediction.tolist() if hasattr(prediction, "tolist") else prediction
        try:
            if not isinstance(values, (list, tuple)):
                raise TypeError
            return encode_json([_as_tag(value) for value in values])
        except (TypeError, ValueError):
            raise ModelPredictError(
                "predict() must return, for each query, one integer tag a token, such as [3, 0, 7]; it returned "
                f"{str(prediction)[:120]}."
            ) from None

    def ensemble(self, predictions: list[Any]) -> list[Any]:
        """The most frequent tag of each token; among equals, the best member's."""
        best: list[Any] = predictions[0]
        voters = [tags for tags in predictions if len(tags) == len(best)]
        return [max(votes, key=votes.count) for votes in zip(*voters, strict=True)]
