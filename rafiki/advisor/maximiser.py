"""The search for the point of a space that is most worth trying."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rafiki.advisor.acquisition import LogExpectedImprovement
from rafiki.advisor.encoding import Encoding
from rafiki.advisor.optimize import minimize_in_box

Array: TypeAlias = NDArray[np.float64]

_N_RANDOM = 1000
_N_NEAR_BEST = 300
_N_LOCAL = 120
_LOCAL_SCALES = (0.1, 0.03, 0.01)
_N_REFINED = 6
_SAME, _NEAR = 1e-9, 3e-3
"""Coordinates of integers and choices that agree, and of floats too close to learn anything by trying both."""
_CHUNK = 16
"""Candidates that are checked at a time, best first: most need no check at all."""
_MOST_CHECKED = 1024
_BOX_MOVES = 20
"""About so many coordinates of a trust region's centre are moved at a time."""


class Box(NamedTuple):
    """A part of the unit cube around a point; arrays (d,)."""

    centre: Array
    low: Array
    high: Array


class Maximiser:
    """Looks for the unseen, allowed point of a space with the highest acquisition value.

    Many random points and mutations of the best trials, then rounds of ever smaller mutations of the best few, then
    gradient ascent along the continuous dimensions. Integers and choices are snapped before they are valued, so what
    wins is what will be tried.

    Args:
        features: coordinates (m, d) to what the acquisition takes (m, p).
        seen: (n, d) snapped coordinates of all trials so far, which are not to be proposed again, nor is any point
            that differs from one by less than 0.3% of the range of each continuous knob.
        allows: whether a point (d,) satisfies the constraints; None when there are none.
    """

    def __init__(
        self,
        encoding: Encoding,
        acquisition: LogExpectedImprovement,
        features: Callable[[Array], Array],
        seen: Array,
        allows: Callable[[Array], bool] | None = None,
    ) -> None:
        self._encoding, self._acquisition, self._features = encoding, acquisition, features
        self._seen, self._allows = seen, allows
        # Expected improvement never quite vanishes at the incumbent. Without a distance to keep, a search
        # that is sure of a local maximum spends all that is left of its budget within a hair of it.
        self._tolerance = np.where(encoding.is_smooth, _NEAR, _SAME)

    def best_of(self, unit: Array) -> Array | None:
        """The best admissible row (d,) of snapped coordinates (m, d), None when there is none."""
        if not len(unit):
            return None
        pool, _ = self._top(unit, self._values(unit), 1, len(unit))
        return pool[0] if len(pool) else None

    def search(
        self, rng: np.random.Generator, incumbents: Array, drawn: Array | None = None, box: Box | None = None
    ) -> Array | None:
        """The best admissible point found (d,), None without one.

        Args:
            incumbents: (k, d), to be mutated.
            drawn: (m, d), further candidates.
            box: when given, nothing outside it is looked at.
        """
        pool = self._pool(rng, incumbents, drawn, box)
        pool, values = self._top(pool, self._values(pool), 2 * _N_REFINED)
        if not len(pool):
            return None
        for scale in _LOCAL_SCALES:
            parents = np.repeat(pool, -(-_N_LOCAL // len(pool)), axis=0)
            children = self._within(self._mutate(rng, parents, np.full((len(parents), 1), scale)), box)
            children, child_values = self._top(children, self._values(children), 2 * _N_REFINED)
            pool, values = _best(np.concatenate([pool, children]), np.concatenate([values, child_values]))
        if self._encoding.is_smooth.any():
            refined = self._encoding.snap(np.array([self._ascend(row, box) for row in pool[:_N_REFINED]]))
            refined, refined_values = self._top(refined, self._values(refined), 1)
            pool, values = np.concatenate([pool, refined]), np.concatenate([values, refined_values])
        return np.asarray(pool[int(np.argmax(values))])

    def _pool(self, rng: np.random.Generator, incumbents: Array, drawn: Array | None, box: Box | None) -> Array:
        d = self._encoding.n_dimensions
        wide = rng.random((_N_RANDOM, d))
        parents = incumbents[rng.integers(len(incumbents), size=_N_NEAR_BEST)] if len(incumbents) else np.empty((0, d))
        scales = 10 ** rng.uniform(-2.5, -0.5, size=(len(parents), 1))
        near = self._mutate(rng, parents, scales)
        if box is None:
            return self._encoding.snap(np.concatenate([wide, near, np.empty((0, d)) if drawn is None else drawn]))
        moved = rng.random(wide.shape) < min(1.0, _BOX_MOVES / d)
        moved[np.arange(len(wide)), rng.integers(d, size=len(wide))] = True
        return self._within(
            np.concatenate([np.where(moved, box.low + wide * (box.high - box.low), box.centre), near]), box
        )

    def _within(self, unit: Array, box: Box | None) -> Array:
        return self._encoding.snap(unit if box is None else np.clip(unit, box.low, box.high))

    def _values(self, unit: Array) -> Array:
        return self._acquisition(self._features(unit)) if len(unit) else np.empty(0)

    def _top(self, unit: Array, values: Array, count: int, most: int = _MOST_CHECKED) -> tuple[Array, Array]:
        """The best ``count`` admissible rows with their values, best first."""
        order = np.argsort(-values, kind="stable")[:most]
        found: list[int] = []
        for start in range(0, len(order), _CHUNK):
            chunk = order[start : start + _CHUNK]
            for i in chunk[self._is_unseen(unit[chunk])]:
                if self._allows is None or self._allows(unit[i]):
                    found.append(int(i))
                    if len(found) == count:
                        return unit[found], values[found]
        return unit[found], values[found]

    def _is_unseen(self, snapped: Array) -> NDArray[np.bool_]:
        out = np.ones(len(snapped), dtype=bool)
        if not len(self._seen):
            return out
        rows = np.arange(len(snapped))
        same = np.ones((len(snapped), len(self._seen)), dtype=bool)
        # Continuous coordinates first: they rarely agree, and then few rows are left to compare.
        for j in np.argsort(~self._encoding.is_smooth, kind="stable"):
            same &= np.abs(snapped[rows, j, None] - self._seen[None, :, j]) < self._tolerance[j]
            agrees = same.any(axis=1)
            rows, same = rows[agrees], same[agrees]
            if not len(rows):
                return out
        out[rows] = False
        return out

    def _mutate(self, rng: np.random.Generator, parents: Array, scales: Array) -> Array:
        """Children of (m, d) parents: some coordinates moved by a bin or more, choices drawn anew."""
        m, d = parents.shape
        moved = rng.random((m, d)) < max(0.5, 1 / d)
        moved[np.arange(m), rng.integers(d, size=m)] = True
        noise = rng.standard_normal((m, d)) * np.maximum(scales, self._encoding.bin_width)
        near = np.clip(parents + noise, 0.0, 1.0)
        return np.where(moved, np.where(self._encoding.is_choice, rng.random((m, d)), near), parents)

    def _ascend(self, unit: Array, box: Box | None) -> Array:
        """``unit`` (d,) moved uphill along its continuous coordinates."""
        feature = self._features(unit[None, :])[0]
        columns = self._encoding.smooth_features()
        smooth = self._encoding.is_smooth

        def objective(x: Array) -> tuple[float, Array]:
            at = feature.copy()
            at[columns] = x
            value, gradient = self._acquisition.with_gradient(at)
            return -value, -gradient[columns]

        n = len(columns)
        low, high = (np.zeros(n), np.ones(n)) if box is None else (box.low[smooth], box.high[smooth])
        x, _ = minimize_in_box(
            objective, feature[columns], low, high, max_iterations=20, max_step=0.1, value_tolerance=1e-4
        )
        out = unit.copy()
        out[smooth] = x
        return out


def _best(pool: Array, values: Array) -> tuple[Array, Array]:
    order = np.argsort(-values, kind="stable")[: 2 * _N_REFINED]
    return pool[order], values[order]
