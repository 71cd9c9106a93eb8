"""What a task fixes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rafiki.errors import InvalidQueryError, ModelPredictError
from rafiki.utils.json_text import why_not_json
from rafiki.utils.values import JsonObject, JsonValue

if TYPE_CHECKING:
    from rafiki.utils.values import Array

_decode = msgspec.json.Decoder().decode


def _plain(value: object) -> object:
    """numpy arrays and scalars (and torch tensors) as plain Python; known by what they can do, to import neither."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def decode_json(raw: bytes) -> JsonValue:
    """A query as plain JSON values.

    Raises:
        InvalidQueryError: when it is no JSON.
    """
    try:
        value: JsonValue = _decode(raw)
        return value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise InvalidQueryError(f"The query is no valid JSON: {why_not_json(raw) or 'it cannot be read'}.") from e


def encode_json(prediction: object) -> bytes:
    """A prediction as JSON; numpy arrays and scalars become lists and numbers, NaN and infinities become null.

    Raises:
        ModelPredictError: when something in it cannot be written as JSON.
    """
    try:
        return _encode(prediction)
    except (TypeError, ValueError, OverflowError, RuntimeError, msgspec.EncodeError) as e:
        raise ModelPredictError(f"predict() returned what cannot be sent as JSON: {e}.") from e


class Misfit(NamedTuple):
    """What speaks against a model's predictions, for its author."""

    reason: str
    advice: str | None
    """What to do about it; None when it is worth no more than a warning."""


class TensorForm(NamedTuple):
    """A tensor of the Open Inference Protocol, which holds queries or predictions."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """-1 = any length; the first axis is that of the queries."""
    is_fixed: bool = True
    """Whether others are refused; else these are what is usual."""


class TaskSpec(ABC):
    """A task's dataset format, query format, prediction format and ensemble rule. Stateless; safe in any thread."""

    name: str
    about_queries: str = "Queries and predictions are JSON values, of a form that the models alone define."
    """The forms of a query and of a prediction, for people."""
    sample_query: object = None
    """A query for people to change, as JSON values; None where it would be long."""
    example_query: object = None
    """A query that is as small as can be; None = :attr:`sample_query`."""
    query_tensor: TensorForm | None = TensorForm("query", "FP64", (-1, -1), is_fixed=False)
    """None = a tensor a feature: a query is an object of their values."""
    prediction_tensor: TensorForm = TensorForm("prediction", "FP64", (-1, -1), is_fixed=False)
    compares_datasets: bool = False
    """Whether :meth:`check_pair` looks at the datasets of a train job."""
    query_schema: JsonObject = {}
    """A JSON Schema of what any query looks like; empty = nobody but the models knows."""
    prediction_schema: JsonObject = {}
    query_file: str | None = None
    """Such as ``image.png``: the kind of file that people have a query in, where it would be long."""

    @abstractmethod
    def validate_dataset(self, path: Path) -> None:
        """Checks the uploaded file at ``path`` against the task's dataset format, holding little of it in memory.

        Raises:
            InvalidDatasetError: says what is wrong, in which file and row.
        """

    def find_oddities(self, path: Path) -> list[str]:
        """What its owner should know of a dataset that :meth:`validate_dataset` has accepted, a sentence each."""
        return []

    def check_pair(
        self, train_path: Path, val_path: Path, train_args: Mapping[str, JsonValue], *, are_same: bool
    ) -> list[str]:
        """What people should know of the two datasets of a train job before it is made, a sentence each.

        Args:
            train_args: of the job; they may name columns.
            are_same: whether both are one file.

        Raises:
            InvalidDatasetError: no trial could succeed with them; says which dataset, row and column.
        """
        return []

    def read_query_schema(self, path: Path, train_args: Mapping[str, JsonValue]) -> JsonObject:
        """A JSON Schema of a query of the app whose validation dataset is at ``path``: from its beginning alone, and
        without any of its values. Empty = nothing more is known than :attr:`query_schema`.

        Raises:
            InvalidDatasetError: when the dataset cannot be read.
        """
        return {}

    def decode_query(self, raw: bytes) -> object:
        """One query, from the JSON value that the client sent, as the object that the model's predict() gets.

        Args:
            raw: one JSON value. The predictor has already found it to be well-formed.

        Raises:
            InvalidQueryError: says what the task takes and what came.
        """
        return decode_json(raw)

    def decode_array(self, array: Array) -> object:
        """One query that came as an array, as :meth:`decode_query` returns it for the same value in JSON.

        Args:
            array: of booleans, integers, floats or text (the kinds ``b``, ``i``, ``u``, ``f`` and ``U``); read only.

        Raises:
            InvalidQueryError: says what the task takes and what came.
        """
        return self.decode_query(_encode(array.tolist()))

    def encode_prediction(self, prediction: object) -> bytes:
        """One prediction, as predict() returned it, as the JSON value that the client gets.

        Raises:
            ModelPredictError: when it is not in the task's prediction format.
        """
        return encode_json(prediction)

    def read_examples(
        self, val_path: Path, train_path: Path, train_args: Mapping[str, JsonValue], max_examples: int
    ) -> list[bytes]:
        """At most ``max_examples`` examples of the dataset at ``val_path`` as clients would send them: one JSON value
        each. None for a task that cannot make queries from its dataset.

        Args:
            val_path, train_path: what ``evaluate()`` and ``train()`` get.
            train_args: of the train job.
            max_examples: at least 1.

        Raises:
            InvalidDatasetError: when a dataset cannot be read.
        """
        return []

    def find_misfit(
        self, queries: Sequence[object], predictions: Sequence[JsonValue], labels: Sequence[object] | None
    ) -> Misfit | None:
        """What is wrong with a model's predictions beyond the form of each, as far as the task can tell.

        Args:
            queries: as :meth:`decode_query` returns them.
            predictions: decoded JSON, one a query.
            labels: what the validation dataset says of each query; None when the queries are not of it.
        """
        return None

    @abstractmethod
    def ensemble(self, predictions: list[JsonValue], weights: Sequence[float] | None = None) -> object:
        """One prediction from those of the members that answered.

        For a single member it is that member's prediction, unchanged.

        Args:
            predictions: decoded JSON, one a member, the member with the best score first; at least one.
            weights: how much each counts, above 0, of any sum; None = all the same.

        Raises:
            ModelPredictError: when the members' predictions do not fit together.
        """


def encode_probabilities(prediction: object) -> bytes:
    """k probabilities as JSON.

    Raises:
        ModelPredictError: when ``prediction`` is not a flat, non-empty list or array of finite numbers.
    """
    values = prediction.tolist() if hasattr(prediction, "tolist") else prediction
    try:
        # A NaN or an infinity anywhere makes the sum one; text, lists and None cannot be summed.
        is_finite = isinstance(values, (list, tuple)) and len(values) > 0 and math.isfinite(math.fsum(values))
    except (TypeError, ValueError, OverflowError):
        is_finite = False
    if not is_finite:
        raise ModelPredictError(
            "predict() must return, for each query, one finite probability a class, "
            f"such as [0.1, 0.9]; it returned {str(prediction)[:120]}."
        )
    return encode_json(values)


def mean_of_lists(predictions: list[list[float]], weights: Sequence[float] | None = None) -> list[float]:
    """The members' probabilities, averaged class by class.

    Raises:
        ModelPredictError: when they are not of one length.
    """
    if len(predictions) == 1:
        return predictions[0]
    try:
        columns = zip(*predictions, strict=True)
        if weights is None:
            scale = 1.0 / len(predictions)
            return [sum(column) * scale for column in columns]
        scale = 1.0 / sum(weights)
        return [sum(map(mul, column, weights)) * scale for column in columns]
    except (TypeError, ValueError):
        lengths = ", ".join(str(len(p)) if isinstance(p, list) else type(p).__name__ for p in predictions)
        raise ModelPredictError(
            f"The members of the ensemble do not predict the same number of classes ({lengths}), so no mean exists."
        ) from None
