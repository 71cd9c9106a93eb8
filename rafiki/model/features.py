"""From rows of named features to arrays of numbers, the same way for training, evaluation and serving."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from rafiki.data.columns import NO_FEATURES, ColumnKind, ColumnReading
from rafiki.errors import InvalidDatasetError
from rafiki.model.dataset_table import Numbers, TableDataset, TextColumn, as_codes
from rafiki.model.feature_kinds import (
    MAKERS,
    AnyFeature,
    CategoryFeature,
    MeasureFeature,
    WordsFeature,
    encode_texts,
)

_MIN_ROWS = 2
_NUMBER = ColumnReading(kind=ColumnKind.NUMBER)


class FeatureEncoder:
    """Learns from a training dataset what its features hold: numbers, categories, dates, yes and no, texts.

    Attributes:
        features: the names of the features.
        categories: for each feature its categories, the most frequent first; None for a feature of another kind.
        readings: for each feature how its cells are read.
    """

    def __init__(
        self,
        features: Sequence[str],
        categories: Sequence[Sequence[str] | None],
        readings: Sequence[ColumnReading] | None = None,
        words: Sequence[Sequence[str] | None] | None = None,
    ) -> None:
        """
        Args:
            readings: None = numbers where there are no categories.
            words: for each feature of texts the words that are told apart; None for the others.
        """
        self.features = list(features)
        self.categories = [None if c is None else list(c) for c in categories]
        kinds = [_NUMBER if c is None else ColumnReading(kind=ColumnKind.CATEGORY) for c in self.categories]
        self.readings = kinds if readings is None else list(readings)
        self._words = [None] * len(self.features) if words is None else [None if w is None else list(w) for w in words]
        self._parts = [_feature(r, c, w) for r, c, w in zip(self.readings, self.categories, self._words, strict=True)]
        self._is_narrow = all(part.width == 1 for part in self._parts)

    @classmethod
    def fit(cls, dataset: TableDataset, max_categories: int = 64) -> FeatureEncoder:
        """The encoder for the features of a training dataset.

        Args:
            dataset: its schema says what its features hold.
            max_categories: of each feature so many are distinguished; rarer ones, and those of one row alone, count as
                missing values. A feature of which nothing is left, or that tells no row from another, is left out.

        Raises:
            InvalidDatasetError: when no feature is left.
        """
        found = [cls._fit_one(dataset, name, max_categories) for name in dataset.features]
        kept = [(name, *one) for name, one in zip(dataset.features, found, strict=True) if one is not None]
        if not kept:
            # Better one that is the same in each row, or numbers the rows, than none.
            kept = [
                (name, _NUMBER, None, None)
                for name in dataset.features
                if not isinstance(column := dataset.cells[name], TextColumn) and not np.isnan(column).all()
            ]
        if not kept:
            raise InvalidDatasetError(
                "No feature tells rows apart: their columns are empty, or each text in them is unique."
            )
        names, readings, categories, words = zip(*kept, strict=True)
        return cls(names, categories, readings, words)

    @staticmethod
    def _fit_one(
        dataset: TableDataset, name: str, max_categories: int
    ) -> tuple[ColumnReading, list[str] | None, list[str] | None] | None:
        reading = dataset.schema.column(name).reading
        if reading.kind in NO_FEATURES:
            return None
        if reading.kind is ColumnKind.TEXT:
            _, texts = as_codes(dataset.cells[name])
            return reading, None, WordsFeature.fit(texts).words
        if reading.kind is not ColumnKind.CATEGORY:
            return reading, None, None
        codes, categories = as_codes(dataset.columns[name])
        counts = np.bincount(codes[codes >= 0], minlength=len(categories))
        order = sorted(range(len(counts)), key=lambda i: (-counts[i], categories[i]))
        kept = [categories[i] for i in order[:max_categories] if counts[i] >= _MIN_ROWS]
        return (reading, kept, None) if kept else None

    @property
    def is_category(self) -> npt.NDArray[np.bool_]:
        """Which columns of an encoded array hold categories. Shape: (columns,)."""
        return np.array([part.is_category for part in self._parts for _ in range(part.width)], bool)

    def encode(self, dataset: TableDataset) -> Numbers:
        """The features of a dataset. Shape: (rows, columns): a number, a category, or yes and no is one column, a date
        or a text is several.

        Numbers are themselves; of a category it is the index. NaN is a missing value, a category that is not known, or
        a text where the training data has numbers.
        """
        return np.concatenate(
            [self._encode_column(dataset, name, part) for name, part in zip(self.features, self._parts, strict=True)],
            axis=1,
        )

    @staticmethod
    def _encode_column(dataset: TableDataset, name: str, part: AnyFeature) -> Numbers:
        cells = dataset.cells[name]
        if isinstance(part, MeasureFeature) and not isinstance(cells, TextColumn):
            return cells[:, None]
        codes, texts = as_codes(cells)
        # The last row is where the index -1 of a missing value leads.
        return encode_texts(part, texts)[codes]

    def encode_queries(self, queries: Sequence[Mapping[str, object]]) -> Numbers:
        """The features of queries, as :meth:`encode` has them; a feature that a query leaves out, or whose value is
        None, is a missing value. Shape: (queries, columns)."""
        named = [(name, part.encode) for name, part in zip(self.features, self._parts, strict=True)]
        if self._is_narrow:
            rows = [[encode(query.get(name))[0] for name, encode in named] for query in queries]
        else:
            rows = [[number for name, encode in named for number in encode(query.get(name))] for query in queries]
        return np.array(rows, np.float64).reshape(len(rows), sum(part.width for part in self._parts))

    def one_hot(self, encoded: Numbers) -> Numbers:
        """Encoded features with a column of 0 and 1 for each category instead of its index; a missing category is 0
        in all of them. Numbers, also missing ones, stay. Shape: (rows, numbers + categories)."""
        columns, at = [], 0
        for part in self._parts:
            values = encoded[:, at : at + part.width]
            at += part.width
            is_category = isinstance(part, CategoryFeature)
            columns.append(np.equal(values, np.arange(len(part.categories))) if is_category else values)  # type: ignore[union-attr]
        return np.concatenate(columns, axis=1, dtype=np.float64)

    def to_json(self) -> str:
        """All of it as text, for ``dump_parameters``."""
        return json.dumps({
            "features": self.features, "categories": self.categories,
            "readings": msgspec.to_builtins(self.readings), "words": self._words,
        })  # fmt: skip

    @classmethod
    def from_json(cls, text: str) -> FeatureEncoder:
        """The inverse of :meth:`to_json`; also of what earlier versions wrote, which knew numbers and categories."""
        found = json.loads(text)
        readings = found.get("readings")
        return cls(
            found["features"], found["categories"],
            None if readings is None else msgspec.convert(readings, list[ColumnReading]), found.get("words"),
        )  # fmt: skip


def _feature(reading: ColumnReading, categories: list[str] | None, words: list[str] | None) -> AnyFeature:
    if categories is not None:
        return CategoryFeature(categories)
    if words is not None:
        return WordsFeature(words)
    return MAKERS[reading.kind](reading)
