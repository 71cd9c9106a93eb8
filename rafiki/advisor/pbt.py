"""Population based training: lines of descent that go on from the parameters of the better ones."""

from __future__ import annotations

import math
import random
from typing import Annotated

import msgspec
from msgspec import Meta

from rafiki.advisor.base import Advisor, Ask, SchemeOptions, SearchSetup, TrialRecord
from rafiki.advisor.scheme import Scheme, refuse_unshared
from rafiki.advisor.space import ChoiceDimension, Dimension, FloatDimension, IntegerDimension, draw_unseen
from rafiki.knob_specs import Knobs, Scalar
from rafiki.proposals import Proposal

_FACTORS = (0.8, 1.2)
_LEAST_MOVE = 0.02
"""Of a linear range; multiplying moves nothing at 0."""
_TRIES = 64
"""Perturbations before knobs are taken over as they are, for want of others that the constraints allow."""


class PbtOptions(SchemeOptions, frozen=True, kw_only=True):
    population: Annotated[int, Meta(ge=2)] = 8
    """How many lines of descent; each goes on from its own parameters or from a better one's."""
    quantile: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.25
    """A line in the lowest such share takes over the parameters and knobs of one in the highest."""
    resample: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.25
    """How often a knob is drawn anew rather than perturbed."""


class _Line(msgspec.Struct):
    """One member of the population."""

    latest: int
    """Its last trial."""
    generation: int
    standing: int | None = None
    """Its last completed trial."""


class PbtAdvisor(Advisor):
    """For models that declare ``SHARE_PARAMS``. Each trial is one generation of a line of descent.

    The first trials open the lines, each with knobs of its own. Then the line that is furthest behind goes on: from
    the parameters and with the knobs of its last trial; or, when that one's score is among the lowest share
    ``quantile`` of all lines' latest scores, or when it failed, from the parameters of a line among the highest, with
    that line's knobs perturbed. Jaderberg et al., "Population based training of neural networks", 2017, algorithm 1,
    with truncation selection and both ways to explore of section 4.1.1: a number is multiplied by 0.8 or 1.2, and any
    knob is drawn anew with probability ``resample``. No line waits for another: it is compared with the latest score
    of each.

    The policy ``SHARE_PARAMS`` is on, and so is ``EARLY_STOP`` where the model has it, because the parameters carry
    over to the next generation. With more workers than lines, as many lines are opened as there are workers.
    """

    scheme = "pbt"
    continues_trials = True

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        options = setup.options
        assert isinstance(options, PbtOptions)
        self._options = options
        self._population = max(options.population, setup.n_workers, len(setup.first_knobs))
        self._on = [*self.space.policy_knobs("SHARE_PARAMS"), *self.space.policy_knobs("EARLY_STOP")]
        self._lines: dict[int, _Line] = {}
        self._line_of: dict[int, int] = {}

    # ---- proposals

    def _first(self, no: int) -> Proposal:
        return self._generation(super()._first(no).knobs, "first", line=no - 1, generation=0, parent=None)

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        rng = self._rng(no)
        free = [i for i, line in self._lines.items() if self._trials[line.latest].state != "pending"]
        if len(self._lines) < self._population or not free:
            return self._generation(self._unseen(rng), "open", line=self._next_line(), generation=0, parent=None)
        i = min(free, key=lambda i: (self._lines[i].generation, i))
        generation = self._lines[i].generation + 1
        latest = self._trials[self._lines[i].latest]
        better = self._better_than(i)
        if latest.state == "completed" and not better:
            return self._generation(latest.knobs, "go on", line=i, generation=generation, parent=latest.no)
        if not better:
            return self._generation(self._unseen(rng), "anew", line=i, generation=generation, parent=None)
        donor = rng.choice(better)
        return self._generation(self._explore(donor, rng), "take over", line=i, generation=generation, parent=donor.no)

    def _better_than(self, i: int) -> list[TrialRecord]:
        """The trials of which line ``i`` is to take over one; none when it goes on by itself, or has to begin anew."""
        standing = [self._trials[line.standing] for line in self._lines.values() if line.standing is not None]
        ranked = sorted(standing, key=lambda t: (-_score(t), t.no))
        n_exchanged = min(len(ranked) // 2, max(1, int(len(ranked) * self._options.quantile)))
        latest = self._trials[self._lines[i].latest]
        if latest.state == "failed":
            return ranked[: max(1, n_exchanged)]
        # While few lines have a score, the lowest of them need not be low.
        if 2 * len(ranked) < self._population or latest.no not in {t.no for t in ranked[len(ranked) - n_exchanged :]}:
            return []
        return [t for t in ranked[:n_exchanged] if _score(t) > _score(latest)]

    def _explore(self, donor: TrialRecord, rng: random.Random) -> Knobs:
        key = self.space.key(donor.knobs)
        for _ in range(_TRIES):
            moved = tuple(self._moved(d, v, rng) for d, v in zip(self.space.dimensions, key, strict=True))
            if self.space.allows_key(moved):
                return self.space.knobs(moved)
        return donor.knobs

    def _moved(self, dimension: Dimension, value: Scalar, rng: random.Random) -> Scalar:
        if rng.random() < self._options.resample:
            return dimension.from_unit(rng.random())
        return perturb(dimension, value, rng)

    def _unseen(self, rng: random.Random) -> Knobs:
        return self.space.knobs(draw_unseen(self.space, rng, self._seen()))

    def _generation(self, knobs: Knobs, phase: str, *, line: int, generation: int, parent: int | None) -> Proposal:
        proposal = self._proposal(knobs | dict.fromkeys(self._on, True), phase, line=line, generation=generation)
        return msgspec.structs.replace(proposal, start_from_trial=parent)

    # ---- lines

    def _next_line(self) -> int:
        return max(self._lines, default=-1) + 1

    def _add(self, no: int, proposal: Proposal, worker_id: str | None) -> None:
        super()._add(no, proposal, worker_id)
        number, generation = proposal.scheme_state.get("line"), proposal.scheme_state.get("generation")
        i = self._line_of[no] = number if isinstance(number, int) else self._next_line()
        line = self._lines.setdefault(i, _Line(latest=no, generation=0))
        line.latest, line.generation = no, generation if isinstance(generation, int) else 0

    def _learn(self, trial: TrialRecord) -> None:
        if trial.state == "completed":
            line = self._lines[self._line_of[trial.no]]
            line.standing = max(trial.no, line.standing or 0)


def _score(trial: TrialRecord) -> float:
    return -math.inf if trial.score is None else trial.score


def perturb(dimension: Dimension, value: Scalar, rng: random.Random) -> Scalar:
    """A number times 0.8 or 1.2, moved by one at least when it is an integer and by a fiftieth of its range when that
    is linear, and kept within its range; a choice as it is.
    """
    if isinstance(dimension, ChoiceDimension):
        return value
    assert isinstance(dimension, (FloatDimension, IntegerDimension))
    number, factor = float(value), rng.choice(_FACTORS)
    moved = number * factor
    least = 0.0 if dimension.is_exp else _LEAST_MOVE * (dimension.high - dimension.low)
    if isinstance(dimension, IntegerDimension):
        least = max(least, 1.0)
    if abs(moved - number) < least:
        moved = number + math.copysign(least, factor - 1)
    moved = min(max(moved, dimension.low), dimension.high)
    return round(moved) if isinstance(dimension, IntegerDimension) else moved


SCHEME = Scheme(
    name="pbt",
    summary="population based training",
    advisor=PbtAdvisor,
    refuse=refuse_unshared,
    options=PbtOptions,
)
