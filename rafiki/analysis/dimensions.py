"""The knobs of finished trials as dimensions: for each trial its place on a grid of values. Pure, with numpy.

What a knob is comes from the model's knob configuration (its JSON form) or, where that is out of reach, from the values
that the trials had.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rafiki.knob_specs import (
    CategoricalKnobSpec,
    FloatKnobSpec,
    IntegerKnobSpec,
    Knobs,
    KnobSpec,
    KnobSpecs,
    PolicyKnobSpec,
    Scalar,
)
from rafiki.utils.words import number, text

Column: TypeAlias = Sequence[Scalar | list[Scalar] | None]
"""The values of one knob, one a trial; None where a trial has none."""
GRID = 50
"""Cells of a numeric dimension, as common for PED-ANOVA."""
_LOG_SPREAD = 10.0
"""Values that spread by less than this factor look alike on either scale."""


class Dimension(NamedTuple):
    """One thing that a trial could choose: a knob, or a position of an architecture knob."""

    name: str
    is_ordered: bool
    is_log: bool
    is_whole: bool
    labels: list[str]
    """Of each cell of the grid: its choice, or its value in the middle."""
    edges: list[float]
    """Of an ordered dimension: the ends of its cells, one more than there are cells. Else empty."""
    cells: NDArray[np.int64]
    """Of each trial: the cell of its value; -1 where the trial has none."""
    raw: list[float | None]
    """Of each trial: its value, where it is a number of an ordered dimension."""

    @property
    def size(self) -> int:
        return len(self.labels)


class Dimensions(NamedTuple):
    varied: list[Dimension]
    constant: dict[str, Scalar | list[Scalar] | None]
    """Knobs that had one value in all trials; nothing can be said about these."""


def dimensions_of(rows: Sequence[Knobs], knob_config: KnobSpecs | None = None) -> Dimensions:
    """The dimensions in which ``rows`` (the knobs of trials) differ.

    Args:
        knob_config: the model's knobs; policies are none of the dimensions.
    """
    config = knob_config or {}
    names = [n for n in config if any(n in r for r in rows)]
    names += [n for n in dict.fromkeys(k for row in rows for k in row) if n not in config]
    varied: list[Dimension] = []
    constant: dict[str, Scalar | list[Scalar] | None] = {}
    for name in names:
        spec = config.get(name)
        if isinstance(spec, PolicyKnobSpec):
            continue
        column = [row.get(name) for row in rows]
        present = [v for v in column if v is not None]
        if len({repr(v) for v in present}) <= 1:
            constant[name] = present[0] if present else None
        elif all(isinstance(v, list) for v in present):
            varied += _positions(name, column)
        else:
            varied.append(_dimension(name, column, spec))
    return Dimensions(varied, constant)


def _positions(name: str, column: Column) -> list[Dimension]:
    """The positions of an architecture knob at which trials chose differently."""
    rows = [v if isinstance(v, list) else None for v in column]
    length = max(len(v) for v in rows if v is not None)
    found = []
    for i in range(length):
        choices = [v[i] if v is not None and i < len(v) else None for v in rows]
        if len({repr(c) for c in choices if c is not None}) > 1:
            found.append(_choices(f"{name}[{i}]", choices))
    return found


def _dimension(name: str, column: Column, spec: KnobSpec | None) -> Dimension:
    placed = [v if isinstance(v, (int, float)) and not isinstance(v, bool) else None for v in column]
    numbers = [v for v in placed if v is not None]
    is_numeric = len(numbers) == sum(v is not None for v in column)
    if isinstance(spec, CategoricalKnobSpec) or not is_numeric:
        return _choices(name, column, spec.values if isinstance(spec, CategoricalKnobSpec) else None)
    low, high = float(min(numbers)), float(max(numbers))
    if isinstance(spec, (IntegerKnobSpec, FloatKnobSpec)):
        low, high = min(low, float(spec.value_min)), max(high, float(spec.value_max))
        is_log, is_whole = spec.is_exp, isinstance(spec, IntegerKnobSpec)
    else:
        is_log, is_whole = _looks_logarithmic(numbers), spec is None and all(isinstance(v, int) for v in numbers)
    return _ordered(name, placed, low, high, is_log=is_log and low > 0, is_whole=is_whole)


def _looks_logarithmic(numbers: Sequence[float]) -> bool:
    """Whether the median of the values lies nearer to the middle of their range on a log scale than on a plain one."""
    low, high, median = min(numbers), max(numbers), statistics.median(numbers)
    if low <= 0 or high / low < _LOG_SPREAD:
        return False
    plain = (median - low) / (high - low)
    log = math.log(median / low) / math.log(high / low)
    return abs(log - 0.5) < abs(plain - 0.5)


def _choices(name: str, column: Column, candidates: Sequence[Scalar] | None = None) -> Dimension:
    keys: dict[str, Scalar | list[Scalar]] = {repr(c): c for c in candidates or ()}
    keys |= {repr(v): v for v in column if v is not None and repr(v) not in keys}
    order = list(keys)
    cells = np.array([-1 if v is None else order.index(repr(v)) for v in column], dtype=np.int64)
    labels = [text(v) for v in keys.values()]
    return Dimension(name, False, False, False, labels, [], cells, [None] * len(column))


def _ordered(
    name: str, column: Sequence[float | None], low: float, high: float, *, is_log: bool, is_whole: bool
) -> Dimension:
    raw = [None if v is None else float(v) for v in column]
    count = GRID
    if is_log:
        a, b = math.log(low), math.log(high + 1 if is_whole else high)
        if is_whole:
            # Cells as wide as the lowest whole number's own, so that none is empty whatever the trials tried.
            count = min(GRID, max(2, math.floor((b - a) / math.log((low + 1) / low))))
    elif is_whole:
        # A whole number owns the room up to half way to its neighbours, so that both ends count in full.
        a, b = low - 0.5, high + 0.5
        count = min(GRID, round(b - a))
    else:
        a, b = low, high
    edges = np.linspace(a, b, count + 1)
    # Whole numbers can lie on an edge, which is the lower one of their cell whatever was rounded.
    nudge = 1e-9 if is_whole else 0.0
    placed = np.array([a if v is None else math.log(v + nudge) if is_log else v for v in raw])
    cells = np.clip(np.searchsorted(edges, placed, side="right") - 1, 0, count - 1).astype(np.int64)
    cells[[v is None for v in raw]] = -1
    middles = (edges[:-1] + edges[1:]) / 2
    shown = np.exp(middles) if is_log else middles
    ends = np.exp(edges) if is_log else edges
    labels = [number(round(v) if is_whole else v) for v in shown.tolist()]
    return Dimension(name, True, is_log, is_whole, labels, ends.tolist(), cells, raw)
