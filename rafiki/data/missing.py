"""Marks of a value that is not there."""

from __future__ import annotations

_MARKS = frozenset({
    "", "?", "na", "n/a", "#n/a", "n.a.", "n.a", "#na", "#n/a n/a", "<na>", "nan", "-nan", "nat", "null", "(null)",
    "none", "nil", "n/d", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "#div/0!", "#value!", "#ref!", "#name?", "#num!",
    "#null!",
})  # fmt: skip
"""In any column. Those that begin with ``#`` are what spreadsheets write where a formula failed."""
_USUAL = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "<na>", "nat"})
"""What programs write: nobody has to be told of them."""
_SOFT_MARKS = frozenset({
    "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "missing", "unknown", "not available", "not known", "k.a.",
    "tbd",
})  # fmt: skip
"""In a column of numbers or dates. Among texts they may be values of their own."""


def is_missing(text: str) -> bool:
    """Whether a cell holds no value, whatever its column is: it is empty, or ``? NA N/A NaN NULL None`` and the like in
    any case."""
    return text.lower() in _MARKS


def is_missing_measure(text: str) -> bool:
    """Whether a cell of a column of numbers or dates holds no value: ``-``, ``.`` and ``unknown`` say so there, too."""
    lower = text.lower()
    return lower in _MARKS or lower in _SOFT_MARKS


def is_unusual(text: str) -> bool:
    """Whether people should know that a mark is taken for a missing value."""
    return text.lower() not in _USUAL
