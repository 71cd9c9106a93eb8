"""Covariance matrix adaptation, with the ``cmaes`` package."""

from __future__ import annotations

import math
import random
from typing import TypeAlias, TypeGuard

import numpy as np
from cmaes import CMAwM
from numpy.typing import NDArray

from rafiki.advisor.base import Advisor, Ask, SearchSetup, TrialRecord
from rafiki.advisor.cmaes_scheme import CmaesOptions
from rafiki.advisor.history import usable_history
from rafiki.advisor.space import ChoiceDimension, Dimension, IntegerDimension, Key, draw_unseen
from rafiki.knob_specs import Scalar
from rafiki.proposals import Proposal

Array: TypeAlias = NDArray[np.float64]

_TRIES = 64
"""Samples before a random unseen point takes the place of one that was seen or is not allowed."""
_MOST_STEPS = 1000
"""An integer range of more values is as good as continuous."""
_CONVERGED = 1e-3
"""A generation within this share of every range has converged."""
_LARGEST_POPULATION = 8
"""Times the first one; where restarts stop to double it."""
_CHOICE_RATE = 0.2


class CmaesAdvisor(Advisor):
    """Draws from a normal distribution that moves, stretches and turns towards the better trials.

    Hansen, "The CMA evolution strategy: a tutorial", 2016, appendix A, over the unit cube of the number knobs; integers
    keep a least probability of leaving their present value (Hamano, Saito, Nomura and Shirakawa, "CMA-ES with margin",
    2022). Generations are as many trials as finished one after the other, whichever they are, so that no worker waits
    for others. Each choice is drawn on its own from probabilities that move towards those of a generation's better
    half, by :data:`_CHOICE_RATE` (Baluja, "Population-based incremental learning", 1994, figure 2).

    Once a generation has drawn together, or finds nothing but points that were seen, the distribution starts anew at a
    random place with twice the population (Auger and Hansen, "A restart CMA evolution strategy with increasing
    population size", 2005, section 2).

    The first distribution is centred on the best trial of the history, on the first of the knobs given, or on the
    middle. Scores count by their ranks: a trial that ended early ranks behind those that did not, a failed one last.
    Points do not repeat while a finite space holds unseen ones. Policies are off.
    """

    scheme = "cmaes"

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        options = setup.options
        assert isinstance(options, CmaesOptions)
        self._numbers = [i for i, d in enumerate(self.space.dimensions) if not isinstance(d, ChoiceDimension)]
        self._choices = [i for i, d in enumerate(self.space.dimensions) if isinstance(d, ChoiceDimension)]
        self._steps = np.array([_step(self.space.dimensions[i]) for i in self._numbers])
        self._sigma = options.sigma
        d = max(1, len(self.space.dimensions))
        self._first_population = self._population = options.population or 4 + math.floor(3 * math.log(d))
        self._waiting: list[TrialRecord] = []
        """Finished trials that the distribution has not seen."""
        self._n_astray = 0
        """How many of the latest trials were random ones, for want of unseen points from the distribution."""
        self._restarts = 0
        self._probabilities = {i: self._even(i) for i in self._choices}
        self._optimiser = self._start(self._first_mean())

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        rng = self._rng(no)
        seen = self._seen()
        self._reseed(rng)
        for _ in range(_TRIES if self.space.dimensions else 0):
            key, raw = self._sample(rng)
            if key not in seen and self.space.allows_key(key):
                return self._proposal(self.space.knobs(key), "search", raw=[*raw])
        return self._proposal(self.space.knobs(draw_unseen(self.space, rng, seen)), "random")

    def _learn(self, trial: TrialRecord) -> None:
        # Others were not drawn from the distribution; it would be stretched to reach them.
        if trial.proposal.phase != "search":
            self._n_astray += trial.proposal.phase == "random"
            if self._n_astray >= self._population:
                self._restart()
            return
        self._n_astray = 0
        self._waiting.append(trial)
        if len(self._waiting) == self._population:
            generation, self._waiting = self._waiting, []
            self._tell(generation)

    # ---- the distribution

    def _first_mean(self) -> Array:
        past = usable_history(self.setup)
        keys = [self.space.key(max(past, key=lambda t: (not t.is_ended_early, t.score or 0.0)).knobs)] if past else []
        if not keys and self.setup.first_knobs:
            keys = [self.space.key(self._first(1).knobs)]
        if not keys:
            return np.full(len(self._numbers), 0.5)
        return np.array([_to_unit(self.space.dimensions[i], keys[0][i]) for i in self._numbers])

    def _start(self, mean: Array) -> CMAwM | None:  # type: ignore[no-any-unimported]  # cmaes has no types
        """None where there is no number to search."""
        if not self._numbers:
            return None
        bounds = np.tile([0.0, 1.0], (len(mean), 1))
        return CMAwM(mean, self._sigma, bounds, self._steps, population_size=self._population)

    def _reseed(self, rng: random.Random) -> None:
        if self._optimiser is not None:
            self._optimiser.reseed_rng(rng.getrandbits(32))

    def _sample(self, rng: random.Random) -> tuple[Key, list[float]]:
        """A point, and the coordinates before integers were rounded, which is what the distribution learns from."""
        values: dict[int, Scalar] = {}
        raw: list[float] = []
        if self._optimiser is not None:
            with np.errstate(all="ignore"):
                rounded, drawn = self._optimiser.ask()
            raw = [float(u) for u in drawn]
            for i, u in zip(self._numbers, rounded, strict=True):
                values[i] = _from_unit(self.space.dimensions[i], min(max(float(u), 0.0), 1.0))
        for i in self._choices:
            probabilities = self._probabilities[i]
            index = rng.choices(range(len(probabilities)), probabilities)[0]
            dimension = self.space.dimensions[i]
            assert isinstance(dimension, ChoiceDimension)
            values[i] = dimension.choices[index]
        return tuple(values[i] for i in range(len(values))), raw

    def _tell(self, generation: list[TrialRecord]) -> None:
        ranks = _ranks(generation)
        self._move_probabilities([t for t, rank in zip(generation, ranks, strict=True) if rank < len(ranks) // 2])
        if self._optimiser is None:
            return
        points = [np.array(t.proposal.scheme_state["raw"], dtype=np.float64) for t in generation]
        is_over = False
        try:
            with np.errstate(all="ignore"):
                self._optimiser.tell(list(zip(points, map(float, ranks), strict=True)))
                is_over = self._optimiser.should_stop()
        except np.linalg.LinAlgError:
            is_over = True
        spread = np.ptp(points, axis=0)[self._steps == 0]
        has_converged = spread.size > 0 and spread.max() < _CONVERGED
        if is_over or has_converged or not np.isfinite(self._optimiser.mean).all():
            self._restart()

    def _restart(self) -> None:
        self._restarts += 1
        self._n_astray = 0
        self._population = min(2 * self._population, _LARGEST_POPULATION * self._first_population)
        rng = self._rng(f"restart/{self._restarts}")
        self._probabilities = {i: self._even(i) for i in self._choices}
        self._optimiser = self._start(np.array([rng.random() for _ in self._numbers]))

    # ---- choices

    def _even(self, i: int) -> list[float]:
        count = self.space.dimensions[i].count
        assert count is not None
        return [1 / count] * count

    def _move_probabilities(self, better: list[TrialRecord]) -> None:
        keys = [self.space.key(t.knobs) for t in better]
        for i, probabilities in self._probabilities.items():
            dimension = self.space.dimensions[i]
            assert isinstance(dimension, ChoiceDimension)
            # What no draw can reach any more could never come back.
            least = 0.1 / dimension.count
            for k, choice in enumerate(dimension.choices):
                share = sum(key[i] == choice for key in keys) / max(1, len(keys))
                probabilities[k] = max(least, (1 - _CHOICE_RATE) * probabilities[k] + _CHOICE_RATE * share)


def _ranks(generation: list[TrialRecord]) -> list[int]:
    """0 for the best. Equals share a rank."""
    values = [(t.score is None, t.is_ended_early, -(t.score or 0.0)) for t in generation]
    return [sum(other < value for other in values) for value in values]


def _step(dimension: Dimension) -> float:
    """The step of integers that are evenly spaced and not too many; 0 for what is treated as continuous."""
    return 1 / (dimension.high - dimension.low) if _is_stepped(dimension) else 0.0


def _is_stepped(dimension: Dimension) -> TypeGuard[IntegerDimension]:
    return isinstance(dimension, IntegerDimension) and not dimension.is_exp and dimension.count <= _MOST_STEPS


def _to_unit(dimension: Dimension, value: Scalar) -> float:
    if _is_stepped(dimension):
        return (int(value) - dimension.low) / (dimension.high - dimension.low)
    return dimension.to_unit(value)


def _from_unit(dimension: Dimension, u: float) -> Scalar:
    if _is_stepped(dimension):
        return dimension.low + round(u * (dimension.high - dimension.low))
    return dimension.from_unit(u)
