"""How one feature of a table becomes numbers, by the kind of its column: the same way from cells and from queries."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, SupportsFloat, cast

import numpy as np
import numpy.typing as npt

from rafiki.data.columns import ColumnKind, ColumnReading, category_of
from rafiki.data.missing import is_missing

Numbers = npt.NDArray[np.float64]
_MOST_WORDS = 64
_WORD = re.compile(r"\w+")
_FIRST_MONDAY = 4.0
"""1970-01-05, in days since 1970-01-01."""


class Feature(Protocol):
    """One feature. ``width`` numbers stand for a value of it."""

    width: int
    is_category: bool

    def encode(self, value: object) -> list[float]:
        """A cell's text, or the value of a query: ``width`` numbers, NaN where it is missing."""
        ...


def encode_texts(feature: Feature, texts: Sequence[str]) -> Numbers:
    """The numbers of texts, and a last row for a missing value. Shape: (texts + 1, width)."""
    rows = [feature.encode(text) for text in [*texts, None]]
    return np.array(rows, np.float64).reshape(len(rows), feature.width)


class MeasureFeature:
    """A number, a time, or yes and no."""

    width = 1
    is_category = False

    def __init__(self, reading: ColumnReading) -> None:
        self.reading = reading

    def encode(self, value: object) -> list[float]:
        if value is None:
            return [math.nan]
        if not isinstance(value, str):
            return [float(cast(SupportsFloat, value))]
        found = self.reading.measure(value.strip())
        return [math.nan if found is None else found]


class CategoryFeature:
    """The index of a category; NaN for one that is not known."""

    width = 1
    is_category = True

    def __init__(self, categories: Sequence[str]) -> None:
        self.categories = list(categories)
        self._codes = {name: float(i) for i, name in enumerate(self.categories)}

    def encode(self, value: object) -> list[float]:
        if value is None:
            return [math.nan]
        text = value.strip() if isinstance(value, str) else str(value)
        return [math.nan if is_missing(text) else self._codes.get(category_of(text), math.nan)]


class DateFeature:
    """Days since 1970 with the time of day as a fraction, then what recurs: month, day of the month, day of the week,
    and the hour where there are times."""

    is_category = False

    def __init__(self, reading: ColumnReading) -> None:
        self.reading = reading
        self.width = 5 if reading.has_time else 4

    def encode(self, value: object) -> list[float]:
        text = value.strip() if isinstance(value, str) else "" if value is None else str(value)
        days = self.reading.measure(text)
        if days is None or math.isnan(days):
            return [math.nan] * self.width
        day = np.datetime64(math.floor(days), "D")
        month = day.astype("datetime64[M]")
        parts = [
            days, float(month.astype(int) % 12 + 1), float((day - month.astype("datetime64[D]")).astype(int) + 1),
            (math.floor(days) - _FIRST_MONDAY) % 7,
        ]  # fmt: skip
        return [*parts, days % 1 * 24] if self.reading.has_time else parts


class WordsFeature:
    """Which of the known words a text has, and how many words it is long."""

    is_category = False

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._at = {word: i for i, word in enumerate(self.words)}
        self.width = len(self.words) + 1

    @classmethod
    def fit(cls, texts: Sequence[str]) -> WordsFeature:
        """With the words that most texts differ by: those in the most texts, but for those that are in nearly all."""
        counts = Counter(word for text in texts for word in set(_words(text)))
        told = [(n, w) for w, n in counts.items() if 2 <= n <= 0.9 * len(texts)]
        return cls([w for _, w in sorted(told, key=lambda pair: (-pair[0], pair[1]))[:_MOST_WORDS]])

    def encode(self, value: object) -> list[float]:
        found = [0.0] * self.width
        words = _words("" if value is None else str(value))
        for word in words:
            if (at := self._at.get(word)) is not None:
                found[at] = 1.0
        found[-1] = float(len(words))
        return found


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


AnyFeature = MeasureFeature | CategoryFeature | DateFeature | WordsFeature
MAKERS: dict[ColumnKind, Callable[[ColumnReading], AnyFeature]] = {
    ColumnKind.NUMBER: MeasureFeature,
    ColumnKind.TIME: MeasureFeature,
    ColumnKind.YES_NO: MeasureFeature,
    ColumnKind.DATE: DateFeature,
}
"""Of kinds whose reading says all."""
