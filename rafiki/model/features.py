"""From rows of named features to arrays of numbers, the same way for training, evaluation and serving."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import SupportsFloat, cast

import numpy as np
import numpy.typing as npt

from rafiki.errors import InvalidDatasetError
from rafiki.model.dataset_table import Numbers, TableDataset, TextColumn, as_codes
from rafiki.tasks.table_files import category_of, is_missing, parse_number

_MIN_ROWS = 2


class FeatureEncoder:
    """Learns from a training dataset which features are numbers and which are categories.

    Attributes:
        features: the names of the features, in the order of the columns of an encoded array.
        categories: for each feature its categories, the most frequent first; None for a feature of numbers.
    """

    def __init__(self, features: Sequence[str], categories: Sequence[Sequence[str] | None]) -> None:
        self.features = list(features)
        self.categories = [None if c is None else list(c) for c in categories]
        self._codes = [None if c is None else {name: float(i) for i, name in enumerate(c)} for c in self.categories]

    @classmethod
    def fit(cls, dataset: TableDataset, max_categories: int = 64) -> FeatureEncoder:
        """The encoder for the features of a training dataset.

        Args:
            dataset: a feature with any text in it is one of categories.
            max_categories: of each feature so many are distinguished; rarer ones, and those of one row alone, count as
                missing values. A feature of which nothing is left is left out.

        Raises:
            InvalidDatasetError: when no feature is left.
        """
        features: list[str] = []
        categories: list[list[str] | None] = []
        for name in dataset.features:
            column = dataset.columns[name]
            if not isinstance(column, TextColumn):
                if not np.isnan(column).all():
                    features.append(name)
                    categories.append(None)
                continue
            counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.categories))
            order = sorted(range(len(counts)), key=lambda i: (-counts[i], column.categories[i]))
            kept = [i for i in order[:max_categories] if counts[i] >= _MIN_ROWS]
            if kept:
                features.append(name)
                categories.append([column.categories[i] for i in kept])
        if not features:
            raise InvalidDatasetError(
                "No feature tells rows apart: their columns are empty, or each text in them is unique."
            )
        return cls(features, categories)

    @property
    def is_category(self) -> npt.NDArray[np.bool_]:
        """Which columns of an encoded array hold categories. Shape: (n features,)."""
        return np.array([c is not None for c in self.categories])

    def encode(self, dataset: TableDataset) -> Numbers:
        """The features of a dataset. Shape: (rows, features).

        Numbers are themselves; of a category it is the index. NaN is a missing value, a category that is not known, or
        a text where the training data has numbers.
        """
        out = np.empty((len(dataset), len(self.features)))
        for i, (name, codes) in enumerate(zip(self.features, self._codes, strict=True)):
            column = dataset.columns[name]
            if codes is None and not isinstance(column, TextColumn):
                out[:, i] = column
                continue
            indices, categories = as_codes(column)
            # The last one is where the index -1 of a missing value leads.
            values = [_encode_value(category, codes) for category in categories] + [math.nan]
            out[:, i] = np.array(values)[indices]
        return out

    def encode_queries(self, queries: Sequence[Mapping[str, object]]) -> Numbers:
        """The features of queries, as :meth:`encode` has them; a feature that a query leaves out, or whose value is
        None, is a missing value. Shape: (queries, features)."""
        rows = [
            [_encode_value(query.get(name), codes) for name, codes in zip(self.features, self._codes, strict=True)]
            for query in queries
        ]
        return np.array(rows, np.float64).reshape(len(rows), len(self.features))

    def one_hot(self, encoded: Numbers) -> Numbers:
        """Encoded features with a column of 0 and 1 for each category instead of its index; a missing category is 0
        in all of them. Numbers, also missing ones, stay. Shape: (rows, numbers + categories)."""
        columns = []
        for i, categories in enumerate(self.categories):
            values = encoded[:, i : i + 1]
            columns.append(values if categories is None else np.equal(values, np.arange(len(categories))))
        return np.concatenate(columns, axis=1, dtype=np.float64)

    def to_json(self) -> str:
        """All of it as text, for ``dump_parameters``."""
        return json.dumps({"features": self.features, "categories": self.categories})

    @classmethod
    def from_json(cls, text: str) -> FeatureEncoder:
        """The inverse of :meth:`to_json`."""
        return cls(**json.loads(text))


def _encode_value(value: object, codes: Mapping[str, float] | None) -> float:
    if value is None:
        return math.nan
    if codes is None:
        if not isinstance(value, str):
            return float(cast(SupportsFloat, value))
        number = None if is_missing(value.strip()) else parse_number(value)
        return math.nan if number is None else number
    text = value.strip() if isinstance(value, str) else str(value)
    return math.nan if is_missing(text) else codes.get(category_of(text), math.nan)
