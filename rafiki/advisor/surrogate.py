"""The Gaussian process of a search: its data, and its hyper-parameters as the data grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rafiki.advisor.encoding import Encoding
from rafiki.advisor.gp import Posterior, default_theta, fit_theta
from rafiki.advisor.scores import informative, standardise

Array: TypeAlias = NDArray[np.float64]

_MAX_FIT, _MAX_DATA = 150, 300
"""Trials that hyper-parameters are fitted to and that the posterior holds; both cost the cube of the number."""
_MAX_HISTORY = 100
_CHAINED = 100
"""Up to so many trials each fit begins where the one before it ended; later ones begin where the last of these did,
so that a restored search need not walk through all of them.
"""
_MIN_FIT = 3
_HISTORY_DISTANCE = 0.25
"""How far an earlier search lies from this one along the dimension in which they differ. With the prior's length
scales, scores of the same point agree with a correlation of about 0.9 before any are compared.
"""


class Surrogate:
    """A Gaussian process over the scores of one search and, where there are any, of earlier ones on the same data.

    Earlier searches differ in one more dimension with a length scale of its own, as a task of a multi-task
    process (Swersky, Snoek and Adams, "Multi-task Bayesian optimization", 2013): where their scores do not bear on this
    search, the fit makes that length scale short, and they count for nothing.

    Args:
        history: (h, d) snapped coordinates of earlier searches; history_scores: of length h.
    """

    def __init__(
        self, encoding: Encoding, n_initial: int, history: Array, history_scores: Sequence[float | None]
    ) -> None:
        self._encoding = encoding
        kept = informative(standardise(history_scores), _MAX_HISTORY)
        self._history = history[kept]
        self._history_scores = [history_scores[i] for i in kept]
        self._group = encoding.group
        if len(kept):
            self._group = np.append(encoding.group, encoding.n_dimensions)
        self._n_dimensions = encoding.n_dimensions + bool(len(kept))
        self._theta = self._chained = default_theta(self._n_dimensions)
        self._next_fit = 0 if len(kept) >= _MIN_FIT else max(_MIN_FIT, n_initial)

    @property
    def lengths(self) -> Array:
        """Length scales (d,) of the search's own dimensions."""
        return np.exp(self._theta[: self._encoding.n_dimensions])

    def features(self, unit: Array) -> Array:
        """Features (m, p) of snapped coordinates (m, d) in this search."""
        return self._features(unit, 0.0)

    def _features(self, unit: Array, task: float) -> Array:
        features = self._encoding.features(unit)
        if not len(self._history):
            return features
        return np.concatenate([features, np.full((len(unit), 1), task)], axis=1)

    def _data(self, unit: Array, scores: Sequence[float | None], limit: int) -> tuple[Array, Array, Array]:
        """Features and standardised scores of at most ``limit`` trials after those of earlier searches, and their
        coordinates.
        """
        n_earlier = len(self._history)
        y = standardise([*self._history_scores, *scores])
        kept = informative(y[n_earlier:], limit)
        features = np.concatenate([self._features(self._history, _HISTORY_DISTANCE), self.features(unit[kept])])
        return (
            features,
            np.concatenate([y[:n_earlier], y[n_earlier:][kept]]),
            np.concatenate([self._history, unit[kept]]),
        )

    def fit(self, unit: Array, scores: Sequence[float | None]) -> None:
        """Hyper-parameters for trials at ``unit`` (n, d), in the order in which they finished.

        They are found anew for each of the first trials, then ever more rarely. The sizes at which that happens are
        fixed, so a restored search walks the same chain of fits.
        """
        while self._next_fit <= len(scores):
            n = self._next_fit
            self._next_fit = n + max(1, n // 20 if n < _CHAINED else n // 8)
            if n > _CHAINED and self._next_fit <= len(scores):
                continue
            features, y, _ = self._data(unit[:n], scores[:n], _MAX_FIT)
            if np.ptp(y) > 0:
                starts = [self._chained, default_theta(self._n_dimensions)]
                self._theta = fit_theta(features, y, self._group, starts)
            if n <= _CHAINED:
                self._chained = self._theta

    def condition(self, unit: Array, scores: Sequence[float | None], pending: Array) -> tuple[Posterior, Array, Array]:
        """The posterior given finished trials and pending ones (m, d), and what it holds: (k, d), (k,)."""
        features, y, rows = self._data(unit, scores, _MAX_DATA)
        posterior = Posterior(features, y, self.features(pending), self._group, self._theta)
        return posterior, rows, y
