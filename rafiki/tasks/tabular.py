"""TABULAR_CLASSIFICATION and TABULAR_REGRESSION: a class, or a number, for each row of features."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, SupportsFloat, cast

import msgspec

from rafiki.constants import Task
from rafiki.data.columns import ColumnKind, ColumnReading, category_of, order_of_category
from rafiki.data.missing import is_missing
from rafiki.data.numbers import parse_plain, read_written
from rafiki.data.profile import ColumnProfiler
from rafiki.data.table_schema import profile_rows
from rafiki.errors import InvalidDatasetError, InvalidQueryError, ModelPredictError
from rafiki.tasks.base import TensorForm, encode_json
from rafiki.tasks.probabilities import ProbabilityTask
from rafiki.tasks.table_files import CSV_FILE, Table, open_table, place
from rafiki.tasks.table_pairs import check_pair
from rafiki.tasks.validation import CombiningTask, ValidationSample, draw_evenly
from rafiki.utils.mismatch import explain_json
from rafiki.utils.values import JsonObject, JsonValue

if TYPE_CHECKING:
    from rafiki.tasks.model_library import ModelLibrary
    from rafiki.tasks.validation import Packed

Scalar = str | int | float | bool | None
_decode_features = msgspec.json.Decoder(dict[str, Scalar]).decode


_VALUE_TYPES = ("string", "number", "boolean", "null")
_FIRST_ROWS = 50
_ABOUT_QUERIES = "A query is an object of feature -> value; a feature that is left out is missing."


class _TabularTask(CombiningTask):
    is_regression: ClassVar[bool]
    compares_datasets = True
    sample_query = {"feature": 1.5, "other": "a"}
    query_tensor = None
    query_schema = {"type": "object", "additionalProperties": {"type": list(_VALUE_TYPES)}}

    def validate_dataset(self, path: Path) -> None:
        """Checks the header and the length of every row; values may be missing.

        Raises:
            InvalidDatasetError: says what is wrong, in which row and column.
        """
        with open_table(path) as table:
            for _ in table.rows:
                pass

    def find_oddities(self, path: Path) -> list[str]:
        """An index that was left out, and what the schema of the columns says."""
        with open_table(path) as table:
            has_index, schema = table.has_index, profile_rows(table.columns, table.rows)
        told = f"{place(CSV_FILE, 1)}: the first column has no name: it is taken for an index, and is no feature."
        index = [f"{told} pandas writes none with to_csv(index=False)."] if has_index else []
        return [*index, *(f"{CSV_FILE}, {warning}." for warning in schema.warnings())]

    def check_pair(
        self, train_path: Path, val_path: Path, train_args: Mapping[str, JsonValue], *, are_same: bool
    ) -> list[str]:
        return check_pair(train_path, val_path, train_args, is_regression=self.is_regression, are_same=are_same)

    def read_query_schema(self, path: Path, train_args: Mapping[str, JsonValue]) -> JsonObject:
        """The features by name; a feature is of numbers if all of the first rows say so."""
        with open_table(path) as table:
            target_at, wanted = _target_of(table, train_args), train_args.get("features")
            rows = [row for _, row in islice(table.rows, _FIRST_ROWS)]
            features = [
                (i, name)
                for i, name in enumerate(table.columns)
                if i != target_at and (not isinstance(wanted, list) or name in wanted)
            ]
        properties: JsonObject = {name: {"type": _types_of([_value(row[i]) for row in rows])} for i, name in features}
        return {**self.query_schema, "properties": properties}

    def decode_query(self, raw: bytes) -> dict[str, Scalar]:
        """The features by name; a feature that is null or left out is a missing value."""
        try:
            return _decode_features(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise InvalidQueryError(
                'A query is an object of feature -> text, number, true, false or null, such as {"age": 24}: '
                f"{_why_invalid(raw) or explain_json(raw, dict[str, Scalar])}."
            ) from e


def _types_of(values: Sequence[Scalar]) -> list[JsonValue]:
    """What the values of a feature are, in JSON's words: first what these are, then what else is taken."""
    is_text = any(isinstance(value, str) for value in values)
    first = "string" if is_text else "number"
    return [first, *(kind for kind in _VALUE_TYPES if kind != first)]


def _target_of(table: Table, train_args: Mapping[str, JsonValue]) -> int:
    """The position of the target's column.

    Raises:
        InvalidDatasetError: when the train argument 'target' names none.
    """
    target = train_args.get("target")
    if target is None:
        return len(table.columns) - 1
    if target not in table.columns:
        raise InvalidDatasetError(f"{place(CSV_FILE, 1)}: there is no column {target!r}, the train argument 'target'.")
    return table.columns.index(target)


def _read_examples(
    path: Path, train_args: Mapping[str, JsonValue], max_examples: int
) -> tuple[list[dict[str, Scalar]], list[str]]:
    """Rows as clients would send them, and the texts of their targets."""
    with open_table(path) as table:
        target_at = _target_of(table, train_args)
        wanted = train_args.get("features")
        features = [
            (i, name)
            for i, name in enumerate(table.columns)
            if i != target_at and (not isinstance(wanted, list) or name in wanted)
        ]
        rows = draw_evenly((row for _, row in table.rows if not is_missing(row[target_at])), max_examples)
    return [{name: _value(row[i]) for i, name in features} for row in rows], [row[target_at] for row in rows]


def _value(text: str) -> Scalar:
    if is_missing(text):
        return None
    number = parse_plain(text)
    if number is None:
        return text
    return int(text) if text.lstrip("+-").isdigit() else number


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
                if read_written(row[i]) is not None:
                    seen.add(i)
                elif not is_missing(row[i]):
                    left.discard(i)
    return bool(left & seen)


class TabularClassificationTask(_TabularTask, ProbabilityTask):
    """Datasets: csv. Queries: feature -> value. Predictions: k probabilities, averaged over the ensemble."""

    name = Task.TABULAR_CLASSIFICATION
    is_regression = False
    about_queries = f"{_ABOUT_QUERIES} A prediction is one probability a class."

    def read_validation(
        self, val_path: Path, train_path: Path, train_args: Mapping[str, JsonValue], max_examples: int
    ) -> ValidationSample:
        """Labels are indices of the classes in the training dataset: numbers by size, then texts by alphabet."""
        with open_table(train_path) as table:
            target_at = _target_of(table, train_args)
            texts = {row[target_at] for _, row in table.rows}
        classes = sorted({category_of(text) for text in texts if not is_missing(text)}, key=order_of_category)
        index = {name: i for i, name in enumerate(classes)}
        queries, targets = _read_examples(val_path, train_args, max_examples)
        return ValidationSample(queries, [index.get(category_of(text), -1) for text in targets])


class TabularRegressionTask(_TabularTask):
    """Datasets: csv. Queries: feature -> value. Predictions: a number, averaged over the ensemble."""

    name = Task.TABULAR_REGRESSION
    is_regression = True
    about_queries = f"{_ABOUT_QUERIES} A prediction is a number."
    metric = "R2"
    prediction_schema = {"type": "number"}
    prediction_tensor = TensorForm("value", "FP64", (-1,))

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
                if read_written(row[-1]) is not None:
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

    def encode_prediction(self, prediction: object) -> bytes:
        try:
            number = float(cast(SupportsFloat, prediction.item() if hasattr(prediction, "item") else prediction))
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise ModelPredictError(
                f"predict() must return one finite number for each query; it returned {str(prediction)[:120]}."
            )
        return encode_json(number)

    def ensemble(self, predictions: list[JsonValue], weights: Sequence[float] | None = None) -> float:
        numbers = cast("list[float]", predictions)  # as encode_prediction() of the members returned them
        if len(numbers) == 1:
            return float(numbers[0])
        if weights is None:
            return math.fsum(numbers) / len(numbers)
        return math.fsum(p * w for p, w in zip(numbers, weights, strict=True)) / math.fsum(weights)

    def read_validation(
        self, val_path: Path, train_path: Path, train_args: Mapping[str, JsonValue], max_examples: int
    ) -> ValidationSample:
        queries, targets = _read_examples(val_path, train_args, max_examples)
        with open_table(train_path) as table:
            target_at = _target_of(table, train_args)
            profiler = ColumnProfiler(table.columns[target_at])
            for row_no, row in table.rows:
                profiler.add(row_no, row[target_at])
        reading = profiler.conclude().reading
        if reading.kind is not ColumnKind.NUMBER:
            reading = ColumnReading(kind=ColumnKind.NUMBER)
        labels = [reading.measure(text) for text in targets]
        if None in labels:
            raise InvalidDatasetError(f"{CSV_FILE}: the target {targets[labels.index(None)][:80]!r} is not a number.")
        return ValidationSample(queries, labels)

    def pack(self, labels: Sequence[object], predictions: Sequence[JsonValue]) -> Packed:
        import numpy as np

        return {"labels": np.array(labels, np.float64), "predictions": np.array(predictions, np.float64)}

    def library(self, packed: Sequence[Packed]) -> ModelLibrary:
        from rafiki.tasks.model_library import NumberLibrary

        return NumberLibrary(packed)
