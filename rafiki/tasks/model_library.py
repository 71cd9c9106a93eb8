"""Validation predictions of several trials, and what a weighted combination of them scores.

A combination is kept as a running sum, so that one more member costs one addition.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from rafiki.utils.values import Array

Floats: TypeAlias = npt.NDArray[np.float64]
Packed: TypeAlias = Mapping[str, "Array"]

_LEAST_PROBABILITY = 1e-7
_CLEARLY_BETTER = 0.1
_MOST_VOTES = 50_000_000


class Score(NamedTuple):
    """Compared as a tuple: equal scores are ordered by the tie-breaker."""

    score: float
    """The task's metric."""
    tie_breaker: float


class ModelLibrary(ABC):
    """What M trials predicted for the same n examples, the best trial first."""

    n_models: int
    n_examples: int
    cost: int
    """How many numbers a combination has: what one addition, or one score, takes."""

    @abstractmethod
    def empty(self) -> Floats:
        """The sum of no members."""

    @abstractmethod
    def added(self, total: Floats, model: int, weight: float, *, is_new: bool = True) -> Floats:
        """``total`` with so much more weight on ``model``, which ``is_new`` or a member already; a new array."""

    @abstractmethod
    def score(self, total: Floats, weight: float) -> Score:
        """Of the combination ``total``, whose weights sum up to ``weight``."""

    @abstractmethod
    def gains(self, total: Floats, weight: float) -> Floats:
        """What each example, or each of its parts, adds to the score of a combination, which is their mean."""

    def sum_of(self, weights: Mapping[int, float]) -> Floats:
        """The combination of the members ``weights``."""
        total = self.empty()
        for model in sorted(weights):
            total = self.added(total, model, weights[model])
        return total

    def score_of(self, weights: Mapping[int, float]) -> Score:
        """Of the members ``weights``; whole numbers, or equal ones, keep ties exact."""
        return self.score(self.sum_of(weights), sum(weights.values()))

    def find_misfits(self) -> set[int]:
        """Models whose predictions do not mean what those of the others mean."""
        return set()


def _same_labels(packed: Sequence[Packed], *names: str) -> None:
    for name in names:
        if not all(np.array_equal(p[name], packed[0][name]) for p in packed[1:]):
            raise ValueError("the trials were not asked the same examples")


def _check_finite(predictions: npt.NDArray[np.float32 | np.float64]) -> None:
    if not np.isfinite(predictions).all():
        raise ValueError("a prediction is no finite number")


class ProbabilityLibrary(ModelLibrary):
    """k probabilities an example. Scored by accuracy; the tie-breaker is the mean log-likelihood of the labels.

    Args:
        packed: ``labels`` (n), -1 where the label is none of the classes; ``predictions`` (n x k).
    """

    def __init__(self, packed: Sequence[Packed]) -> None:
        _same_labels(packed, "labels")
        self._labels = np.asarray(packed[0]["labels"], np.int64)
        self._predictions = np.stack([np.asarray(p["predictions"], np.float32) for p in packed])
        if self._predictions.ndim != 3 or self._predictions.shape[1] != len(self._labels):
            raise ValueError("the probabilities are not of one shape")
        _check_finite(self._predictions)
        self.n_models, self.n_examples, self._k = self._predictions.shape
        self.cost = self.n_examples * self._k
        self._rows = np.flatnonzero((self._labels >= 0) & (self._labels < self._k))
        self._known = self._labels[self._rows]

    def empty(self) -> Floats:
        return np.zeros(self._predictions.shape[1:])

    def added(self, total: Floats, model: int, weight: float, *, is_new: bool = True) -> Floats:
        # As float64: products of float32 would round ties apart.
        more: Floats = np.multiply(self._predictions[model], weight, dtype=np.float64)
        return np.add(total, more, out=more)

    def score(self, total: Floats, weight: float) -> Score:
        accuracy = float(np.mean(self.gains(total, weight)))
        likely = total[self._rows, self._known] / np.maximum(total.sum(axis=1)[self._rows], _LEAST_PROBABILITY)
        log_likelihood = np.log(np.clip(likely, _LEAST_PROBABILITY, 1.0)).sum() / max(1, self.n_examples)
        return Score(accuracy, float(log_likelihood))

    def gains(self, total: Floats, weight: float) -> Floats:
        hits: Floats = (total.argmax(axis=1) == self._labels).astype(np.float64)
        return hits

    def find_misfits(self) -> set[int]:
        """Models that would hit clearly more labels if their classes stood in another order: they order classes in a
        way of their own, and their probabilities mean nothing beside those of the others."""
        misfits = set()
        for model in range(self.n_models):
            found = self._predictions[model][self._rows].argmax(axis=1)
            hits = np.bincount(self._known * self._k + found, minlength=self._k**2).reshape(self._k, self._k)
            enough = int(np.trace(hits)) + _CLEARLY_BETTER * self.n_examples
            # No order hits more than the best class of each row, or of each column: mostly that is answer enough.
            if min(hits.max(axis=0).sum(), hits.max(axis=1).sum()) > enough and _most_hits(hits) > enough:
                misfits.add(model)
        return misfits


def _most_hits(hits: npt.NDArray[np.int64]) -> int:
    """What the order of classes with the most hits hits."""
    from scipy.optimize import linear_sum_assignment

    return int(hits[linear_sum_assignment(hits, maximize=True)].sum())


class NumberLibrary(ModelLibrary):
    """One number an example. Scored by R2, the share of the labels' variance that is explained.

    Args:
        packed: ``labels`` (n) and ``predictions`` (n).
    """

    def __init__(self, packed: Sequence[Packed]) -> None:
        _same_labels(packed, "labels")
        self._labels = np.asarray(packed[0]["labels"], np.float64)
        self._predictions = np.stack([np.asarray(p["predictions"], np.float64) for p in packed])
        if self._predictions.shape != (len(packed), len(self._labels)):
            raise ValueError("the numbers are not of one shape")
        _check_finite(self._predictions)
        self.n_models, self.n_examples = self._predictions.shape
        self.cost = self.n_examples
        self._variance = max(float(self._labels.var()), 1e-300)

    def empty(self) -> Floats:
        return np.zeros(self.n_examples)

    def added(self, total: Floats, model: int, weight: float, *, is_new: bool = True) -> Floats:
        more: Floats = weight * self._predictions[model]
        return total + more

    def score(self, total: Floats, weight: float) -> Score:
        return Score(1.0 - float(np.mean((total / weight - self._labels) ** 2)) / self._variance, 0.0)

    def gains(self, total: Floats, weight: float) -> Floats:
        gains: Floats = 1.0 - (total / weight - self._labels) ** 2 / self._variance
        return gains


class VoteLibrary(ModelLibrary):
    """One tag a token. Scored by the accuracy per token of the weighted vote; the tie-breaker is the mean share of
    votes for the label.

    Args:
        packed: ``labels`` (tokens), ``lengths`` (sentences) and ``predictions`` (tokens), -1 where there is none.
    """

    def __init__(self, packed: Sequence[Packed]) -> None:
        _same_labels(packed, "labels", "lengths")
        labels = np.asarray(packed[0]["labels"], np.int64)
        predictions = np.stack([np.asarray(p["predictions"], np.int64) for p in packed])
        if predictions.shape != (len(packed), len(labels)):
            raise ValueError("the tags are not of one shape")
        tags = np.unique(np.append(labels, predictions))
        self._labels = np.searchsorted(tags, labels)
        self._predictions = np.searchsorted(tags, predictions)
        # A sentence without an answer has the tag -1, which wins no vote.
        self._none = int(np.searchsorted(tags, -1)) if tags[0] == -1 else None
        self.n_models = len(packed)
        self.n_examples = len(packed[0]["lengths"])
        self.cost = len(labels) * len(tags)
        if self.cost > _MOST_VOTES:
            raise ValueError("there are too many tags")
        self._tokens = np.arange(len(labels))
        self._shape = (len(labels), len(tags))

    def empty(self) -> Floats:
        return np.zeros(self._shape)

    def added(self, total: Floats, model: int, weight: float, *, is_new: bool = True) -> Floats:
        total = total.copy()
        # Among equals the best member's tag wins: it counts a trace more, and more than all those after it together.
        total[self._tokens, self._predictions[model]] += weight + (2.0 ** -(4 + model) if is_new else 0.0)
        return total

    def score(self, total: Floats, weight: float) -> Score:
        total = self._without_none(total)
        votes = total[self._tokens, self._labels]
        return Score(float(np.mean(self._hits(total))), float(votes.mean() / weight))

    def gains(self, total: Floats, weight: float) -> Floats:
        return self._hits(self._without_none(total)).astype(np.float64)

    def _without_none(self, total: Floats) -> Floats:
        if self._none is not None:
            total = total.copy()
            total[:, self._none] = -1.0
        return total

    def _hits(self, total: Floats) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = (total.argmax(axis=1) == self._labels) & (total[self._tokens, self._labels] > 0)
        return found
