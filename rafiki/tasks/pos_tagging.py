"""POS_TAGGING: one tag for each token of a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from rafiki.constants import Task
from rafiki.errors import InvalidQueryError, ModelPredictError
from rafiki.tasks.base import Misfit, TensorForm, encode_json
from rafiki.tasks.corpus_file import iter_sentences
from rafiki.tasks.validation import CombiningTask, ValidationSample, draw_evenly
from rafiki.tasks.zip_files import DEFAULT_LIMITS, ZipLimits, open_dataset_zip
from rafiki.utils.mismatch import explain_json
from rafiki.utils.values import JsonValue

if TYPE_CHECKING:
    from rafiki.tasks.model_library import ModelLibrary
    from rafiki.tasks.validation import Packed

_decode_tokens = msgspec.json.Decoder(list[str]).decode


def _as_tag(value: object) -> int:
    """Raises TypeError for what is no integer."""
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError
    return number


class PosTaggingTask(CombiningTask):
    """Datasets: zip with ``corpus.tsv``. Queries: a list of tokens. Predictions: one integer tag a token; the members
    vote.

    The casts: what is joined and compared here is what :meth:`encode_prediction` and :meth:`read_validation` returned.
    """

    name = Task.POS_TAGGING
    metric = "accuracy"
    about_queries = "A query is a sentence: a list of tokens. A prediction is one tag (a number) a token."
    sample_query = ("The", "cat", "sleeps", ".")
    query_schema = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
    prediction_schema = {"type": "array", "items": {"type": "integer"}}
    query_tensor = TensorForm("tokens", "BYTES", (-1, -1))
    prediction_tensor = TensorForm("tags", "INT64", (-1, -1))

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
            reason = explain_json(raw, list[str])
            raise InvalidQueryError(f'A query is a list of tokens, such as ["a", "sentence"]: {reason}.') from e
        if not tokens or "" in tokens:
            what = f"token {tokens.index('')} is empty" if tokens else "the list is empty"
            raise InvalidQueryError(f'A query is a list of tokens, such as ["a", "sentence"]: {what}.')
        return tokens

    def encode_prediction(self, prediction: object) -> bytes:
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

    def find_misfit(
        self, queries: Sequence[object], predictions: Sequence[JsonValue], labels: Sequence[object] | None
    ) -> Misfit | None:
        pairs = zip(cast(Sequence[list[int]], predictions), cast(Sequence[list[str]], queries), strict=True)
        for no, (tags, tokens) in enumerate(pairs, 1):
            if len(tags) != len(tokens):
                return Misfit(
                    f"query {no}: it returned {len(tags)} tags for {len(tokens)} tokens",
                    "Return one tag for each token of the sentence.",
                )
        return None

    def ensemble(self, predictions: list[JsonValue], weights: Sequence[float] | None = None) -> list[int]:
        """The tag of each token with the most votes, or the most weight; among equals, the best member's."""
        members = cast("list[list[int]]", predictions)
        best = members[0]
        if weights is None:
            voters = [tags for tags in members if len(tags) == len(best)]
            return [max(votes, key=votes.count) for votes in zip(*voters, strict=True)]
        weighted = [(tags, w) for tags, w in zip(members, weights, strict=True) if len(tags) == len(best)]
        shares = [w for _, w in weighted]
        return [_elect(votes, shares) for votes in zip(*(tags for tags, _ in weighted), strict=True)]

    def read_validation(
        self, val_path: Path, train_path: Path, train_args: Mapping[str, JsonValue], max_examples: int
    ) -> ValidationSample:
        """An example is a sentence; its label, the tags in the column ``tag``."""
        with open_dataset_zip(val_path) as archive:
            sentences = draw_evenly(iter_sentences(archive), max_examples)
        queries = [[token for token, _ in sentence] for sentence in sentences]
        return ValidationSample(queries, [[tag for _, tag in sentence] for sentence in sentences])

    def pack(self, labels: Sequence[object], predictions: Sequence[JsonValue]) -> Packed:
        import numpy as np

        tags: list[int] = []
        labels = cast(Sequence[list[int]], labels)
        for label, prediction in zip(labels, cast(Sequence[list[int]], predictions), strict=True):
            # A tag that no dataset has: the answer to this sentence is wrong throughout.
            tags += prediction if len(prediction) == len(label) else [-1] * len(label)
        return {
            "labels": np.array([tag for label in labels for tag in label], np.int32),
            "lengths": np.array([len(label) for label in labels], np.int32),
            "predictions": np.clip(np.array(tags, np.int64), -1, 1 << 30).astype(np.int32),
        }

    def library(self, packed: Sequence[Packed]) -> ModelLibrary:
        from rafiki.tasks.model_library import VoteLibrary

        return VoteLibrary(packed)


def _elect(votes: Sequence[int], weights: Sequence[float]) -> int:
    """The tag of the most weight; of equals, the first."""
    sums: dict[int, float] = {}
    for tag, weight in zip(votes, weights, strict=True):
        sums[tag] = sums.get(tag, 0.0) + weight
    # Rounded: sums of the same weights in another order are equals.
    return max(sums, key=lambda tag: round(sums[tag], 9))
