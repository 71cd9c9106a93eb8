"""Normalised scores, ranks and their confidence intervals.

Every interval is a percentile bootstrap that draws seeds anew within each problem, the same seeds for all methods: it
says how far the figures would move with other seeds on these problems, not on others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.runs import Run

Array: TypeAlias = NDArray[np.float64]

_N_RESAMPLES = 2000


class Estimate(NamedTuple):
    """A mean with the ends of its 95% confidence interval."""

    value: float
    low: float
    high: float


def of_complete_seeds(runs: Sequence[Run]) -> list[Run]:
    """Of an interrupted comparison, the runs of those seeds with which every method has searched every problem."""
    wanted = {(r.method, r.problem) for r in runs}
    done = Counter(r.seed for r in runs)
    return [r for r in runs if done[r.seed] == len(wanted)]


class Comparison:
    """The runs of several methods on the same problems and seeds.

    Raises:
        ValueError: when a method lacks a problem or seed that another has.
    """

    def __init__(self, runs: Sequence[Run], random_method: str) -> None:
        self.methods = list(dict.fromkeys(r.method for r in runs))
        self.problems = list(dict.fromkeys(r.problem for r in runs))
        self.seeds = sorted({r.seed for r in runs})
        self.n_trials = min(len(r.scores) for r in runs)
        by_cell = {(r.method, r.problem, r.seed): r for r in runs}
        try:
            cells = [[[by_cell[m, p, s] for s in self.seeds] for p in self.problems] for m in self.methods]
        except KeyError as e:
            raise ValueError(f"no run of {e.args[0]}: methods are compared on the same problems and seeds") from e
        raw = np.array(
            [
                [[[-np.inf if v is None else v for v in run.scores[: self.n_trials]] for run in row] for row in m]
                for m in cells
            ]
        )
        self._seconds = np.array([[[run.seconds[: self.n_trials] for run in row] for row in m] for m in cells])
        drawn = raw[self.methods.index(random_method)]
        low = np.array([float(np.median(scores[np.isfinite(scores)])) for scores in drawn])[None, :, None, None]
        high = raw.max(axis=(0, 2, 3))[None, :, None, None]
        best = np.maximum.accumulate(raw, axis=-1)
        # A search is never counted as worse than having tried one median point.
        self._normalised = np.maximum((best - low) / (high - low), 0.0)
        """(methods, problems, seeds, trials): 0 = the median of random draws, 1 = the best of all runs."""
        self._ranks = _ranks(best)
        rng = np.random.default_rng(0)
        self._draws = rng.integers(len(self.seeds), size=(_N_RESAMPLES, len(self.problems), len(self.seeds)))

    def score(self, method: str, trial: int, problems: Sequence[str] | None = None) -> Estimate:
        """The mean normalised best score after ``trial`` trials."""
        return self._estimate(self._normalised[self.methods.index(method), :, :, trial - 1], problems)

    def rank(self, method: str, trial: int, problems: Sequence[str] | None = None) -> Estimate:
        """The mean rank of the best score after ``trial`` trials among all methods on the same seed; 1 is best."""
        return self._estimate(self._ranks[self.methods.index(method), :, :, trial - 1], problems)

    def gain(self, method: str, other: str, trial: int, problems: Sequence[str] | None = None) -> Estimate:
        """The mean difference of normalised scores, paired by problem and seed."""
        a, b = (self._normalised[self.methods.index(m), :, :, trial - 1] for m in (method, other))
        return self._estimate(a - b, problems)

    def wins(self, method: str, other: str, trial: int) -> tuple[int, int, int]:
        """How many searches end above, level with and below those of the other method with the same seed."""
        a, b = (self._normalised[self.methods.index(m), :, :, trial - 1] for m in (method, other))
        return int((a > b).sum()), int((a == b).sum()), int((a < b).sum())

    def seconds(self, method: str) -> tuple[float, float]:
        """Median processor seconds a proposal: over all trials, and at the last five."""
        seconds = self._seconds[self.methods.index(method)]
        return float(np.median(seconds)), float(np.median(seconds[..., -5:]))

    def _estimate(self, cells: Array, problems: Sequence[str] | None) -> Estimate:
        """Of (problems, seeds) cells."""
        rows = [i for i, p in enumerate(self.problems) if problems is None or p in problems]
        drawn = np.stack([cells[i][self._draws[:, i]].mean(axis=1) for i in rows]).mean(axis=0)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Estimate(float(cells[rows].mean()), float(low), float(high))


def _ranks(best: Array) -> Array:
    """Ranks along the first axis, the highest 1; equal values share the mean of their places."""
    above = (best[None] > best[:, None]).sum(axis=1)
    level = (best[None] == best[:, None]).sum(axis=1)
    return np.asarray(1 + above + (level - 1) / 2)
