"""TABULAR_CLASSIFICATION and TABULAR_REGRESSION: a class, or a number, for each row of features."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from rafiki.constants import Task
from rafiki.errors import InvalidDatasetError, InvalidQueryError, ModelPredictError
from rafiki.tasks.base import TaskSpec, encode_json, encode_probabilities, mean_of_lists
from rafiki.tasks.table_files import CSV_FILE, is_missing, open_table, parse_number, place

Scalar = str | int | float | bool | None
_decode_features = msgspec.json.Decoder(dict[str, Scalar]).decode


class _TabularTask(TaskSpec):
    def validate_dataset(self, path: Path) -> None:
        """Checks the header and the length of every row; values may be missing.

        Raises:
            InvalidDatasetError: says what is wrong, in which row and column.
        """
        with open_table(path) as table:
            for _ in table.rows:
                pass

    def decode_query(self, raw: bytes) -> dict[str, Scalar]:
        """The features by name; a feature that is null or left out is a missing value."""
        try:
            return _decode_features(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise InvalidQueryError(
                'A query is an object of feature -> text, number, true, false or null, such as {"age": 24}: '
                f"{_why_invalid(raw) or e}."
            ) from e


def _why_invalid(raw: bytes) -> str | None:
    """Which feature of an object has no value that a table holds; None for all else."""
    try:
        query = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    wrong = [n for n, v in query.items() if isinstance(v, (list, dict))] if isinstance(query, dict) else []
    return f"the value of {wrong[0][:80]!r} is a list or an object" if wrong else None


def _has_column_of_numbers(path: Path) -> bool:
    with open_table(path) as table:
        left = set(range(len(table.columns)))
        seen: set[int] = set()
        for _, row in table.rows:
            for i in tuple(left):
                if parse_number(row[i]) is not None:
                    seen.add(i)
                elif not is_missing(row[i]):
                    left.discard(i)
    return bool(left & seen)


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

    def validate_dataset(self, path: Path) -> None:
        """Checks the header, the length of every row, and that a target of numbers is there.

        The target is the last column unless a train job says otherwise. So a last column of which at least half are
        numbers is taken for it and must hold nothing else; any other is a feature, and some column must hold numbers
        alone. Values may be missing.

        Raises:
            InvalidDatasetError: says what is wrong, in which row and column.
        """
        n_numbers = n_texts = 0
        complaint = ""
        with open_table(path) as table:
            target = table.columns[-1]
            for row_no, row in table.rows:
                if is_missing(row[-1]):
                    continue
                if parse_number(row[-1]) is not None:
                    n_numbers += 1
                    continue
                n_texts += 1
                complaint = complaint or f"{place(CSV_FILE, row_no, target)}: {row[-1][:80]!r} is not a number"
        if n_texts and n_numbers >= n_texts:
            raise InvalidDatasetError(f"{complaint}; the target of a regression (the last column) holds numbers alone.")
        if not n_numbers and not n_texts:
            complaint = f"{place(CSV_FILE, 2, target)}: the whole column is empty"
        if complaint and not _has_column_of_numbers(path):
            raise InvalidDatasetError(f"{complaint}, and no other column can be the target: none holds numbers alone.")

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
