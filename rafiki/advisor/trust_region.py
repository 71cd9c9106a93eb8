"""A region around the best point that grows with success and shrinks with failure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rafiki.advisor.maximiser import Box

_FIRST, _LONGEST, _SHORTEST = 0.8, 1.6, 0.5**7
_N_SUCCESSES = 3
_LEAST_FAILURES = 4
_LEAST_GAIN = 1e-3
"""A success betters the best score by so much of its size."""


class TrustRegion:
    """Eriksson, Pearce, Gardner, Turner and Poloczek, "Scalable global optimization via local Bayesian optimization"
    (TuRBO), 2019, section 2 and supplement D: side lengths follow the surrogate's length scales, the region doubles
    after 3 successes in a row, halves after as many failures as there are dimensions (4 at least), and begins anew once
    it has shrunk to nothing.
    """

    def __init__(self, n_dimensions: int) -> None:
        self._n_failures = max(_LEAST_FAILURES, n_dimensions)
        self._best: float | None = None
        self._begin()

    def _begin(self) -> None:
        self.length = _FIRST
        self._successes = self._failures = 0

    @property
    def is_narrowed(self) -> bool:
        """Whether it has shrunk since it began: the search is stuck."""
        return self.length < _FIRST

    def observe(self, score: float | None) -> None:
        """A score that is no success or failure of the search: that of a space-filling trial. None when it failed."""
        if score is not None and (self._best is None or score > self._best):
            self._best = score

    def learn(self, score: float | None) -> None:
        """The result of one more trial of the search; None when it failed."""
        if score is not None and (self._best is None or score > self._best + _LEAST_GAIN * abs(self._best)):
            self._successes, self._failures = self._successes + 1, 0
        else:
            self._successes, self._failures = 0, self._failures + 1
        self.observe(score)
        if self._successes == _N_SUCCESSES:
            self.length, self._successes = min(2 * self.length, _LONGEST), 0
        elif self._failures == self._n_failures:
            self.length, self._failures = self.length / 2, 0
        if self.length < _SHORTEST:
            self._begin()

    def box(self, centre: NDArray[np.float64], lengths: NDArray[np.float64]) -> Box:
        """The region around ``centre`` (d,), its sides in the proportions of the length scales (d,).

        Sides are scaled to a geometric mean of :attr:`length`.
        """
        weights = np.exp(np.log(lengths) - np.log(lengths).mean())
        half = 0.5 * self.length * np.clip(weights, 0.1, 10.0)
        return Box(centre, np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0))
