"""TABULAR_CLASSIFICATION and TABULAR_REGRESSION: a class, or a number, for each row of features."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import msgspec

from rafiki.constants import Task
from rafiki.errors import InvalidDatasetError, InvalidQueryError, ModelPredictError
from rafiki.tasks.base import TaskSpec, encode_json, encode_probabilities, mean_of_lists

_decode_features = msgspec.json.Decoder(dict[str, Any]).decode


def _validate_csv(path: Path) -> None:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header, first = next(reader, []), next(reader, [])
    except (UnicodeDecodeError, csv.Error) as e:
        raise InvalidDatasetError(f"The dataset is no csv file of UTF-8 text ({e}).") from e
    if len(header) < 2:
        raise InvalidDatasetError("Row 1 must name at least two columns: a feature and the target.")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InvalidDatasetError(f"Row 1 names the column(s) {', '.join(map(repr, twice))} more than once.")
    if len(first) != len(header):
        raise InvalidDatasetError(f"Row 2 has {len(first)} values where row 1 names {len(header)} columns.")


class _TabularTask(TaskSpec):
    def validate_dataset(self, path: Path) -> None:
        _validate_csv(path)

    def decode_query(self, raw: bytes) -> dict[str, Any]:
        try:
            return _decode_features(raw)
        except msgspec.DecodeError as e:
            raise InvalidQueryError(f"A query is an object of feature -> value: {e}.") from e


class TabularClassificationTask(_TabularTask):
    """Datasets: csv. Queries: feature -> value. Predictions: k probabilities, averaged over the ensemble."""

    name = Task.TABULAR_CLASSIFICATION

    def encode_prediction(self, prediction: Any) -> bytes:
        return encode_probabilities(prediction)

    def ensemble(self, predictions: list[Any]) -> list[float]:
        return mean_of_lists(predictions)


class TabularRegressionTask(_TabularTask):
    """Datasets: csv. Queries: feature -> value. Predictions: a number, averaged over the ensemble."""

    name = Task.TABULAR_REGRESSION

    def encode_prediction(self, prediction: Any) -> bytes:
        try:
            number = float(prediction.item() if hasattr(prediction, "item") else prediction)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise ModelPredictError(
                f"predict() must return one finite number for each query; it returned {str(prediction)[:120]}."
            )
        return encode_json(number)

    def ensemble(self, predictions: list[Any]) -> float:
        if len(predictions) == 1:
            return float(predictions[0])
        return math.fsum(predictions) / len(predictions)
