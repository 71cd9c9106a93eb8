"""Which knobs mattered: PED-ANOVA, with how sure that is. Pure, with numpy.

S. Watanabe, A. Bansal, F. Hutter: "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
Subspaces", IJCAI 2023 (https://arxiv.org/abs/2304.10255). A knob mattered where its values among the best trials are
spread otherwise than among all trials. With the quantile q of best trials, the densities p_top of a knob's values among
these and p_all among all, the importance is (the local one there, with the trials that were run as the space):

    v = q^2 * sum over x of p_all(x) * (p_top(x) / p_all(x) - 1)^2

that is q^2 times the Pearson divergence of p_top from p_all. Densities are kernel estimates on a grid (Scott's
rule for ordered values, smoothed frequencies for choices). Since both densities come from the same trials, a
search that looked at some values more often than at others does not make a knob important. Importances are told as
shares of their sum. It is a marginal importance: what two knobs do only together is not seen.

The paper gives no measure of certainty; here every share comes with two:

- an interval from the bootstrap: the trials drawn again with replacement, and everything computed anew (B. Efron,
  "Bootstrap methods: another look at the jackknife", 1979; percentile intervals);
- the probability of so large an importance by chance alone: the scores shuffled over the trials (a permutation test
  with the add-one estimate, B. Phipson and G. Smyth, "Permutation p-values should never be zero", 2010).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rafiki.analysis.dimensions import Dimension

LEAST_TRIALS = 10
"""With fewer scored trials nothing is said: the best quarter would be two."""
CHANCE_LEVEL = 0.1
"""An importance that chance alone gives more often than this is not told as an effect."""
_REPEATS = 200
_LEVEL = 0.9
_LEAST_SIGMA = 0.5 / 1.64
"""In cells: so that a kernel holds 90% of its mass in its own cell at least."""
_EPSILON = 1e-12

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Importance(NamedTuple):
    """How much one dimension mattered."""

    name: str
    share: float
    """Of all importance, 0 to 1."""
    low: float
    """The ends of the interval of the share: 90% by the bootstrap."""
    high: float
    chance: float
    """How often chance alone makes an importance as large as this, 0 to 1."""
    region: list[int]
    """The cells in which a trial is likelier than elsewhere to be among the best; see :func:`best_region`."""

    @property
    def is_clear(self) -> bool:
        return self.chance <= CHANCE_LEVEL


def importances(
    dimensions: Sequence[Dimension], scores: Sequence[float], quantile: float = 0.25, seed: int = 0
) -> list[Importance]:
    """The importance of each dimension for reaching the best scores, the most important first.

    Args:
        scores: of the trials; higher is better. At least :data:`LEAST_TRIALS`.
        quantile: the part of the trials that counts as the best, above 0 and below 1.
        seed: of the bootstrap and of the permutations; the same trials always give the same answer.
    """
    if not dimensions:
        return []
    score = np.asarray(scores, dtype=float)
    top = is_top(score, quantile)
    values = np.array([divergence(d, top) for d in dimensions])
    spread = [_density(d, d.cells[d.cells >= 0]) for d in dimensions]
    random = np.random.default_rng(seed)
    everyone = np.arange(len(score))
    drawn = np.empty((_REPEATS, len(dimensions)))
    shuffled = np.empty_like(drawn)
    for i in range(_REPEATS):
        again = random.choice(everyone, len(everyone))
        top_again = is_top(score[again], quantile)
        drawn[i] = _shares(np.array([divergence(d, top_again, again) for d in dimensions]))
        mixed = random.permutation(top)
        shuffled[i] = [divergence(d, mixed, p_all=p) for d, p in zip(dimensions, spread, strict=True)]
    shares = _shares(values)
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    chance = (1 + (shuffled >= values - _EPSILON).sum(axis=0)) / (1 + _REPEATS)
    found = [
        # The bootstrap of a share near an end can lie to one side of it; the interval always holds the share.
        Importance(d.name, float(s), float(min(lo, s)), float(max(hi, s)), float(c), best_region(d, top))
        for d, s, lo, hi, c in zip(dimensions, shares, low, high, chance, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.share, one.name))


def is_top(scores: Floats, quantile: float) -> NDArray[np.bool_]:
    """Which trials are the best: as many as the quantile says, two at least; of equal scores the earlier ones."""
    count = min(len(scores) - 1, max(2, math.ceil(quantile * len(scores))))
    top = np.zeros(len(scores), dtype=bool)
    top[np.argsort(-scores, kind="stable")[:count]] = True
    return top


def divergence(
    dimension: Dimension, top: NDArray[np.bool_], rows: Ints | None = None, p_all: Floats | None = None
) -> float:
    """The importance of a dimension, not yet as a share.

    Args:
        top: which of the trials are the best.
        rows: the trials (some perhaps several times); None = each once.
        p_all: the density of the values among all these trials, where it is known already.
    """
    cells = dimension.cells if rows is None else dimension.cells[rows]
    known = cells >= 0
    everyone, best = cells[known], cells[known & top]
    if len(best) == 0:
        return 0.0
    p_all = (_density(dimension, everyone) if p_all is None else p_all) + _EPSILON
    p_top = _density(dimension, best) + _EPSILON
    return float(top.mean() ** 2 * (p_all @ (p_top / p_all - 1) ** 2))


def best_region(dimension: Dimension, top: NDArray[np.bool_]) -> list[int]:
    """The cells in which a trial is likelier than elsewhere to be among the best (p_top > p_all).

    Of an ordered dimension the one stretch around the densest cell of the best trials.
    """
    known = dimension.cells >= 0
    best = dimension.cells[known & top]
    if len(best) == 0:
        return []
    p_all, p_top = _density(dimension, dimension.cells[known]), _density(dimension, best)
    is_better = p_top > p_all
    if not dimension.is_ordered:
        return [int(i) for i in np.argsort(-p_top, kind="stable") if is_better[i]]
    peak = int(np.argmax(np.where(is_better, p_top, 0.0)))
    first = last = peak
    while first > 0 and is_better[first - 1]:
        first -= 1
    while last < dimension.size - 1 and is_better[last + 1]:
        last += 1
    return list(range(first, last + 1))


def _shares(values: Floats) -> Floats:
    total = values.sum()
    return values / total if total > 0 else np.full(len(values), 1.0 / len(values))


def _density(dimension: Dimension, cells: Ints) -> Floats:
    """How likely each cell is, estimated from the values there are; the prior counts as one more value."""
    counts = np.bincount(cells, minlength=dimension.size).astype(float)
    size, n = dimension.size, len(cells)
    if not dimension.is_ordered:
        return (counts + 1.0 / size) / (n + 1.0)
    tried = np.flatnonzero(counts)
    found = counts[tried] @ _kernels(size, tried, _scott(counts))
    return np.asarray((found + _prior(size)) / (n + 1.0))


@functools.cache
def _prior(size: int) -> Floats:
    """A kernel as wide as the grid, at its middle."""
    mass = np.diff(_normal_cdf(np.linspace(-0.5, 0.5, size + 1)))
    return np.asarray(mass / mass.sum())


def _scott(counts: Floats) -> float:
    """The width of the kernels, in cells, by Scott's rule (D. W. Scott, "Multivariate Density Estimation", 1992)."""
    n = counts.sum()
    if n < 2:
        return _LEAST_SIGMA
    cells = np.arange(len(counts))
    mean = counts @ cells / n
    deviation = math.sqrt(counts @ (cells - mean) ** 2 / (n - 1))
    q1, q3 = np.searchsorted(np.cumsum(counts), [0.25 * n, 0.75 * n])
    return max(_LEAST_SIGMA, 1.059 * min(deviation, float(q3 - q1) / 1.34) / math.pow(n, 0.2))


def _kernels(size: int, tried: Ints, sigma: float) -> Floats:
    """For each of the tried cells the mass that its kernel has in each cell, cut off at the ends of the grid."""
    # What a kernel has up to an edge depends on the distance alone, so few normal distributions are computed.
    cdf = _normal_cdf(np.linspace(0.5 - size, size + 0.5, 2 * size + 1) / sigma)
    mass = np.diff(cdf[np.arange(size + 1)[None, :] - tried[:, None] + size - 1], axis=1)
    return np.asarray(mass / mass.sum(axis=1, keepdims=True))


# Read from a table: exact to 1e-6, and a bootstrap asks for very many.
_CDF_AT = np.linspace(-6.0, 6.0, 2401)
_CDF = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in _CDF_AT.tolist()])


def _normal_cdf(x: Floats) -> Floats:
    return np.asarray(np.interp(x, _CDF_AT, _CDF))
