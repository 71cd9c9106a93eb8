"""Log expected improvement, and its maximisation over a search space."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rafiki.advisor.encoding import Encoding
from rafiki.advisor.gp import Posterior
from rafiki.advisor.optimize import minimize_in_box

Array: TypeAlias = NDArray[np.float64]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_TAIL = -25.0
_erfc = np.frompyfunc(math.erfc, 1, 1)

_N_RANDOM = 1000
_N_NEAR_BEST = 300
_N_LOCAL = 120
_LOCAL_SCALES = (0.1, 0.03, 0.01)
_N_REFINED = 3
_SAME, _NEAR = 1e-9, 3e-3
"""Coordinates of integers and choices that agree, and of floats too close to learn anything by trying both."""


def log_h(z: Array) -> tuple[Array, Array]:
    """``log h(z)`` with ``h = phi + z Phi``, and its derivative ``Phi / h``; elementwise, for any finite z.

    The logarithm of expected improvement without its underflow (Ament, Daulton, Eriksson, Balandat and
    Bakshy, "Unexpected improvements to expected improvement for Bayesian optimization", 2023, section 4.1).
    Double precision carries the direct form down to z = -25; below it the asymptotic series of Mills' ratio
    takes over.
    """
    z = np.asarray(z, dtype=np.float64)
    direct = np.maximum(z, _TAIL)
    phi = np.exp(-0.5 * direct * direct - _LOG_SQRT_2PI)
    cdf = 0.5 * np.asarray(_erfc(-direct / math.sqrt(2)), dtype=np.float64)
    h = phi + direct * cdf
    tail = np.minimum(z, _TAIL)
    u = 1 / (tail * tail)
    # h = phi(z) / z^2 (1 - 3/z^2 + 15/z^4 - ...) and Phi = phi(z) / |z| (1 - 1/z^2 + 3/z^4 - ...).
    series = 1 - 3 * u + 15 * u * u - 105 * u**3
    tail_log = -0.5 * tail * tail - _LOG_SQRT_2PI + np.log(u) + np.log(series)
    tail_slope = -tail * (1 - u + 3 * u * u - 15 * u**3) / series
    is_direct = z > _TAIL
    return np.where(is_direct, np.log(h), tail_log), np.where(is_direct, cdf / h, tail_slope)


class LogExpectedImprovement:
    """Log expected improvement over ``best`` (in the units of the posterior's y; higher is better)."""

    def __init__(self, posterior: Posterior, best: float) -> None:
        self._posterior, self._best = posterior, best

    def __call__(self, features: Array) -> Array:
        """Values (m,) at features (m, p)."""
        mean, sd = self._posterior.predict(features)
        return np.asarray(np.log(sd) + log_h((mean - self._best) / sd)[0])

    def with_gradient(self, feature: Array) -> tuple[float, Array]:
        """The value and its gradient (p,) at one point (p,)."""
        mean, sd, mean_slope, sd_slope = self._posterior.predict_with_gradient(feature)
        z = (mean - self._best) / sd
        value, slope = log_h(np.array([z]))
        gradient = sd_slope / sd + slope[0] * (mean_slope - z * sd_slope) / sd
        return math.log(sd) + float(value[0]), gradient


class Maximiser:
    """Looks for the unseen point of a space with the highest acquisition value.

    Many random points and mutations of the best trials, then rounds of ever smaller mutations of the best
    few, then gradient ascent along the continuous dimensions. Integers and choices are snapped before they
    are valued, so what wins is what will be tried.

    Args:
        seen: (n, d) snapped coordinates of all trials so far, which are not to be proposed again, nor is
            any point that differs from one by less than 0.3% of the range of each continuous knob.
    """

    def __init__(self, encoding: Encoding, acquisition: LogExpectedImprovement, seen: Array) -> None:
        self._encoding, self._acquisition, self._seen = encoding, acquisition, seen
        # Expected improvement never quite vanishes at the incumbent. Without a distance to keep, a search
        # that is sure of a local maximum spends all that is left of its budget within a hair of it.
        self._tolerance = np.where(encoding.is_smooth, _NEAR, _SAME)

    def best_of(self, unit: Array) -> Array | None:
        """The best unseen row (d,) of snapped coordinates (m, d), None when all were seen."""
        unit = self._unseen(unit)
        if not len(unit):
            return None
        return np.asarray(unit[int(np.argmax(self._acquisition(self._encoding.features(unit))))])

    def search(self, rng: np.random.Generator, incumbents: Array) -> Array | None:
        """The best unseen point found (d,), None without one. Rows of ``incumbents`` (k, d) are mutated."""
        d = self._encoding.n_dimensions
        parents = incumbents[rng.integers(len(incumbents), size=_N_NEAR_BEST)] if len(incumbents) else np.empty((0, d))
        scales = 10 ** rng.uniform(-2.5, -0.5, size=(len(parents), 1))
        pool = self._unseen(np.concatenate([rng.random((_N_RANDOM, d)), self._mutate(rng, parents, scales)]))
        if not len(pool):
            return None
        values = self._acquisition(self._encoding.features(pool))
        pool, values = _top(pool, values, 2 * _N_REFINED)
        for scale in _LOCAL_SCALES:
            parents = np.repeat(pool, -(-_N_LOCAL // len(pool)), axis=0)
            children = self._unseen(self._mutate(rng, parents, np.full((len(parents), 1), scale)))
            if len(children):
                pool = np.concatenate([pool, children])
                values = np.concatenate([values, self._acquisition(self._encoding.features(children))])
                pool, values = _top(pool, values, 2 * _N_REFINED)
        if self._encoding.is_smooth.any():
            refined = self._unseen(np.array([self._ascend(row) for row in pool[:_N_REFINED]]))
            if len(refined):
                pool = np.concatenate([pool, refined])
                values = np.concatenate([values, self._acquisition(self._encoding.features(refined))])
        return np.asarray(pool[int(np.argmax(values))])

    def _unseen(self, unit: Array) -> Array:
        snapped = self._encoding.snap(unit)
        if not len(self._seen) or not len(snapped):
            return snapped
        rows = np.arange(len(snapped))
        same = np.ones((len(snapped), len(self._seen)), dtype=bool)
        # Continuous coordinates first: they rarely agree, and then few rows are left to compare.
        for j in np.argsort(~self._encoding.is_smooth, kind="stable"):
            same &= np.abs(snapped[rows, j, None] - self._seen[None, :, j]) < self._tolerance[j]
            agrees = same.any(axis=1)
            rows, same = rows[agrees], same[agrees]
            if not len(rows):
                return snapped
        return np.delete(snapped, rows, axis=0)

    def _mutate(self, rng: np.random.Generator, parents: Array, scales: Array) -> Array:
        """Children of (m, d) parents: some coordinates moved by a bin or more, choices drawn anew."""
        m, d = parents.shape
        moved = rng.random((m, d)) < max(0.5, 1 / d)
        moved[np.arange(m), rng.integers(d, size=m)] = True
        noise = rng.standard_normal((m, d)) * np.maximum(scales, self._encoding.bin_width)
        near = np.clip(parents + noise, 0.0, 1.0)
        return np.where(moved, np.where(self._encoding.is_choice, rng.random((m, d)), near), parents)

    def _ascend(self, unit: Array) -> Array:
        """``unit`` (d,) moved uphill along its continuous coordinates."""
        feature = self._encoding.features(unit[None, :])[0]
        columns = self._encoding.smooth_features()

        def objective(x: Array) -> tuple[float, Array]:
            at = feature.copy()
            at[columns] = x
            value, gradient = self._acquisition.with_gradient(at)
            return -value, -gradient[columns]

        n = len(columns)
        x, _ = minimize_in_box(
            objective,
            feature[columns],
            np.zeros(n),
            np.ones(n),
            max_iterations=20,
            max_step=0.1,
            value_tolerance=1e-4,
        )
        out = unit.copy()
        out[self._encoding.is_smooth] = x
        return out


def _top(pool: Array, values: Array, count: int) -> tuple[Array, Array]:
    order = np.argsort(-values, kind="stable")[:count]
    return pool[order], values[order]
