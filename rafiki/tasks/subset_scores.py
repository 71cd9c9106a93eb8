"""What each useful subset of an ensemble's members scores, as far as the validation examples can tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from rafiki.scheduling.subset_scores import useful_subsets
from rafiki.tasks.model_library import Floats, ModelLibrary

_LEAST_SHRUNK = 4
"""Fewer scores of a size are kept as they are: no estimate of that kind is better than they."""


class _Size:
    """The subsets of one size."""

    def __init__(self) -> None:
        self.scores: dict[int, float] = {}
        self.gains: Floats | float = 0.0
        self.squares: Floats | float = 0.0

    def add(self, mask: int, score: float, gains: Floats) -> None:
        self.scores[mask] = score
        self.gains = self.gains + gains
        self.squares = self.squares + gains**2

    def shrunk(self) -> dict[int, float]:
        m = len(self.scores)
        if m < _LEAST_SHRUNK:
            return self.scores
        scores = np.array(list(self.scores.values()))
        off = scores - scores.mean()
        spread = float((off**2).sum()) / (m - 1)
        if spread == 0:
            return self.scores
        # Of what an example says for or against a subset, compared with the others on the same example.
        of_examples = np.mean(self.squares / m - (self.gains / m) ** 2) - np.mean(off**2)
        noise = float(of_examples) / np.size(self.gains) * m / (m - 1)
        kept = max(0.0, 1 - (m - 3) / (m - 1) * max(noise, 0.0) / spread)
        return {mask: float(scores.mean() + kept * o) for mask, o in zip(self.scores, off, strict=True)}


def subset_scores(library: ModelLibrary, weights: Mapping[int, float]) -> dict[int, float]:
    """Subset -> score, shrunk to the mean of the subsets of its size. Bit ``m`` of a subset is the ``m``-th member.

    Of 255 subsets of 8 members the best on a few hundred examples is mostly one that was lucky with them. Each score is
    moved towards the mean by the share of the spread between subsets that the choice of the examples explains: the
    empirical Bayes estimate of many means (Efron and Morris, "Data analysis using Stein's estimator and its
    generalizations", Journal of the American Statistical Association 70, 1975, section 2). The noise is estimated from
    the differences between subsets on each example, because all are scored on the same ones: what is hard for all
    counts for nothing.

    Args:
        weights: of each member, by its number in the library, as they count in the ensemble.
    """
    members = sorted(weights)
    sizes: dict[int, _Size] = defaultdict(_Size)
    for mask in useful_subsets(len(members)):
        of_subset = {i: weights[i] for m, i in enumerate(members) if mask >> m & 1}
        total = library.sum_of(of_subset)
        weight = sum(of_subset.values())
        sizes[mask.bit_count()].add(mask, library.score(total, weight).score, library.gains(total, weight))
    return {mask: score for size in sizes.values() for mask, score in size.shrunk().items()}
