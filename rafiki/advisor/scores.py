"""Scores as a Gaussian process wants them: centred, of variance 1, without heavy tails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

_LOWER_KNEE, _UPPER_KNEE = 1.0, 3.0
"""Where the compression of tails begins, in standard deviations from the median."""
_FAILED_QUANTILE = 0.25
_ROUNDING, _TINY = 1e-12, 1e-200
"""Spreads of scores, as shares of the largest: that of rounding, and what nothing can be divided by."""


def with_bounds_of_ended(scores: Sequence[float | None], is_ended_early: Sequence[bool]) -> list[float | None]:
    """Scores in which those of trials that a stopping rule ended lie in the lowest quarter of the complete ones.

    Such a score is what a training had reached part way: the true one is at least as high, and the rule judged it to
    lie in the lower half, of which the lower quartile is the middle. So it is raised to the worst complete score, and
    lowered to their lower quartile. Without a complete trial to compare with, scores stay as they are.
    """
    complete = sorted(s for s, ended in zip(scores, is_ended_early, strict=True) if s is not None and not ended)
    if not complete:
        return list(scores)
    low, high = complete[0], complete[len(complete) // 4]
    return [
        s if s is None or not ended else min(max(s, low), high) for s, ended in zip(scores, is_ended_early, strict=True)
    ]


def standardise(scores: Sequence[float | None]) -> Array:
    """Scores (higher is better, None for a failure) to values of mean 0 and variance 1; zeros when all are equal.

    The scale is that of the middle half of the scores. Beyond it, tails are compressed by a logarithm, more
    so below the median: one diverged training must not flatten the differences between good ones, and ranks
    are kept. Failed trials take the lower quartile of the others: at the worst value they would be a cliff, and the
    search would stay away from good points beside it.
    """
    raw = np.array([s for s in scores if s is not None], dtype=np.float64)
    failed = np.array([s is None for s in scores], dtype=bool)
    if not len(raw):
        return np.zeros(len(scores))
    # Divided first: the squares of scores near the largest float overflow.
    raw = raw / max(float(np.abs(raw).max()), 1e-300)
    filled = np.full(len(scores), np.quantile(raw, _FAILED_QUANTILE))
    filled[~failed] = raw
    low, middle, high = np.quantile(filled, [0.25, 0.5, 0.75])
    scale = float(high - low) / 1.349 if high - low > _TINY else float(filled.std())
    # Differences in the last bits are rounding, not a landscape; then failures are all that distinguishes places.
    z = (filled - middle) / scale if np.ptp(raw) > _ROUNDING else np.where(failed, -1.0, 0.0)
    z = np.where(z < -_LOWER_KNEE, -_LOWER_KNEE - np.log1p(np.maximum(-z - _LOWER_KNEE, 0)), z)
    z = np.where(z > _UPPER_KNEE, _UPPER_KNEE + np.log1p(np.maximum(z - _UPPER_KNEE, 0)), z)
    spread = float(z.std())
    return np.asarray((z - z.mean()) / spread) if spread > 1e-12 else np.zeros(len(z))


def informative(y: Array, limit: int) -> NDArray[np.intp]:
    """Which of the values (n,) a surrogate of ``limit`` places keeps: the best half, the others spread evenly."""
    if len(y) <= limit:
        return np.arange(len(y))
    order = np.argsort(-y, kind="stable")
    others = np.sort(order[limit // 2 :])
    spread = others[np.linspace(0, len(others) - 1, limit - limit // 2).astype(np.intp)]
    return np.sort(np.concatenate([order[: limit // 2], spread]))
