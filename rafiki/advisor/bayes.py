"""Bayesian optimisation: a Gaussian process over the unit cube and log expected improvement."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rafiki.advisor.acquisition import LogExpectedImprovement
from rafiki.advisor.base import Advisor, Ask, SearchSetup, TrialRecord
from rafiki.advisor.encoding import Encoding
from rafiki.advisor.halton import scrambled_halton
from rafiki.advisor.history import usable_history
from rafiki.advisor.maximiser import Maximiser
from rafiki.advisor.scores import with_bounds_of_ended
from rafiki.advisor.space import Key, draw_unseen
from rafiki.advisor.surrogate import Surrogate
from rafiki.advisor.trust_region import TrustRegion
from rafiki.knob_specs import Knobs
from rafiki.proposals import Proposal

Array: TypeAlias = NDArray[np.float64]

_ENUMERATED = 2000
"""A space of at most so many points is searched whole instead of by sampling."""
_FINAL = "final"
"""The phase in which the best knobs are trained in full."""
_FINAL_FROM = 0.9
"""The share of the budget after which the best knobs are trained in full."""
_N_INCUMBENTS = 5
_N_DRAWN = 200
"""Candidates that are drawn from the space itself, where constraints may rule out most of the cube."""
_MANY_DIMENSIONS = 8
"""From so many on, every other trial stays within a trust region once the search is stuck."""


def final_trial_count(trial_limit: int | None) -> int:
    """How many of the last trials retrain the best knobs in full: a tenth, at least one of five or more."""
    if trial_limit is None or trial_limit < 5:
        return 0
    return max(1, trial_limit // 10)


class BayesAdvisor(Advisor):
    """Space-filling trials, then those of highest expected improvement, then full trainings of the best.

    Pending trials count as observed where the model expects them; failed ones at the lower quartile of the scores, so
    that the search turns away from them; those that a stopping rule ended as among the lowest quarter. Completed
    trials of earlier searches on the same data join the surrogate's data as a task of their own, and take the place
    of the space-filling trials. Points do not repeat while a finite space holds unseen ones.

    The policy ``EARLY_STOP`` is on while searching. The last tenth of the trials, or of the time, trains the best
    distinct knobs again with it off, at most one for every ten trials; the surrogate never sees those scores, because
    an early-stopped and a full training of the same knobs are two functions.
    """

    scheme = "bayes"
    _trains_finals: ClassVar[bool] = True

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        self._encoding = Encoding(self.space)
        self._early_stop = self.space.policy_knobs("EARLY_STOP")
        finals = final_trial_count(setup.trial_limit) if self._early_stop and self._trains_finals else 0
        self._first_final = None if setup.trial_limit is None or not finals else setup.trial_limit - finals + 1
        d = self._encoding.n_dimensions
        history = usable_history(setup)
        self._n_initial = max(4, min(10, 2 * d))
        if setup.trial_limit is not None:
            # A short search keeps two thirds of its trials for what it learnt.
            self._n_initial = min(self._n_initial, max(2, (setup.trial_limit - finals) // 3))
        self._n_initial = max(0, self._n_initial - len(history))
        self._keys: dict[int, Key] = {}
        self._rows: dict[int, Array] = {}
        self._region = TrustRegion(d)
        bounded = with_bounds_of_ended([t.score for t in history], [t.is_ended_early for t in history])
        self._surrogate = Surrogate(self._encoding, self._n_initial, self._coordinates(history), bounded)

    # ---- phases --------------------------------------------------------------------------------------------

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        if self._is_final(no, ask) and (best := self._best_to_retrain()) is not None:
            return self._proposal(self._with_policies(best, is_search=False), _FINAL)
        key, phase = self._search(no)
        # The last trial of a search in which none succeeded is a full training too.
        is_last = self._first_final is not None and no >= self._first_final
        return self._proposal(self._with_policies(key, is_search=not is_last), phase)

    def may_end_early(self, proposal: Proposal) -> bool:
        return proposal.phase != _FINAL

    def _is_final(self, no: int, ask: Ask) -> bool:
        if not (self._early_stop and self._trains_finals):
            return False
        is_near_end = ask.budget_used >= _FINAL_FROM or (self._first_final is not None and no >= self._first_final)
        return is_near_end and sum(t.proposal.phase == _FINAL for t in self._trials.values()) < max(1, no // 10)

    def _with_policies(self, key: Key, is_search: bool) -> Knobs:
        """Knobs at ``key`` with the policies of this phase."""
        return self.space.knobs(key) | dict.fromkeys(self._early_stop, is_search)

    def _first_policies(self) -> Knobs:
        # Else the user's own knobs would pass for full trainings, which the surrogate does not see.
        return dict.fromkeys(self._early_stop, True)

    def _is_retraining(self, trial: TrialRecord) -> bool:
        return bool(self._early_stop) and not any(trial.knobs[name] for name in self._early_stop)

    def _best_to_retrain(self) -> Key | None:
        """The best-scored point that no final training has taken yet; those that ran to their end go first."""
        taken = {self._key(t) for t in self._trials.values() if self._is_retraining(t)}
        ranked = sorted(
            (t.is_ended_early, -t.score, t.no)
            for t in self._trials.values()
            if t.score is not None and not self._is_retraining(t)
        )
        return next((key for *_, no in ranked if (key := self._key(self._trials[no])) not in taken), None)

    def _search(self, no: int) -> tuple[Key, str]:
        n_first = len(self.setup.first_knobs)
        seen = {self._key(trial) for trial in self._trials.values()}
        if no <= n_first + self._n_initial:
            key = self._design[no - n_first - 1]
            return (draw_unseen(self.space, self._rng(no), seen) if key in seen else key), "initial"
        found = self._most_promising(no) if self.space.dimensions else None
        if found is None:
            return draw_unseen(self.space, self._rng(no), seen), "random"
        return self.space.from_unit([float(u) for u in found]), "search"

    # ---- initial design ------------------------------------------------------------------------------------

    @cached_property
    def _design(self) -> list[Key]:
        """Quasi-random points that satisfy the constraints, drawn ones where those leave too few."""
        n, rng = self._n_initial, self._rng("design")
        many = n * 32 if self.space.is_constrained else n
        points = scrambled_halton(many, self._encoding.n_dimensions, self._numpy_rng("design"))
        keys = (self.space.from_unit([float(u) for u in row]) for row in points)
        allowed = [key for key in keys if self.space.allows_key(key)][:n]
        return allowed + [self.space.draw(rng) for _ in range(n - len(allowed))]

    def _numpy_rng(self, purpose: int | str) -> np.random.Generator:
        return np.random.default_rng(self._rng(purpose).getrandbits(128))

    # ---- search --------------------------------------------------------------------------------------------

    def _learn(self, trial: TrialRecord) -> None:
        if self._is_retraining(trial):
            return
        if trial.no > len(self.setup.first_knobs) + self._n_initial:
            self._region.learn(trial.score)
        else:
            self._region.observe(trial.score)

    def _most_promising(self, no: int) -> Array | None:
        """Coordinates (d,) of the unseen point with the highest acquisition value, None without one."""
        trials = self._surrogate_trials()
        finished = [self._trials[n] for n in self._finished if n in trials]
        pending = self._unit([t for t in trials.values() if t.state == "pending"])
        unit = self._unit(finished)
        scores = with_bounds_of_ended([t.score for t in finished], [t.is_ended_early for t in finished])
        self._surrogate.fit(unit, scores)
        posterior, rows, y = self._surrogate.condition(unit, scores, pending)
        # The best posterior mean rather than the best score, which may owe its rank to noise.
        best = float(posterior.mean_at_data.max()) if len(y) else 0.0
        acquisition = LogExpectedImprovement(posterior, best)
        features = self._surrogate.features
        allows = self._allows if self.space.is_constrained else None

        def maximiser(seen: Array) -> Maximiser:
            return Maximiser(self._encoding, acquisition, features, seen, allows)

        everything = maximiser(self._unit(list(self._trials.values())))
        if self._every_point is not None:
            found = everything.best_of(self._every_point)
            return found if found is not None else maximiser(pending).best_of(self._every_point)
        incumbents = rows[np.argsort(-y, kind="stable")[:_N_INCUMBENTS]]
        box = None
        if self._encoding.n_dimensions >= _MANY_DIMENSIONS and self._region.is_narrowed and no % 2 and len(rows):
            box = self._region.box(rows[int(np.argmax(posterior.mean_at_data))], self._surrogate.lengths)
        rng = self._numpy_rng(no)
        found = everything.search(rng, incumbents, self._drawn(no), box)
        return everything.search(rng, incumbents, self._drawn(no)) if found is None and box is not None else found

    def _allows(self, unit: Array) -> bool:
        return self.space.allows_key(self.space.from_unit([float(u) for u in unit]))

    def _drawn(self, no: int) -> Array | None:
        if not self.space.is_constrained:
            return None
        rng = self._rng(f"drawn/{no}")
        return self._snapped([self.space.draw(rng) for _ in range(_N_DRAWN)])

    @cached_property
    def _every_point(self) -> Array | None:
        """All allowed points (m, d) of a small space."""
        if self.space.size is None or self.space.size > _ENUMERATED:
            return None
        return self._snapped(list(self.space.points()))

    def _surrogate_trials(self) -> dict[int, TrialRecord]:
        """The trials that the surrogate is about: all but full trainings of points searched before."""
        if not self._early_stop:
            return self._trials
        searched = {self._key(t) for t in self._trials.values() if not self._is_retraining(t)}
        return {n: t for n, t in self._trials.items() if not (self._is_retraining(t) and self._key(t) in searched)}

    # ---- coordinates ---------------------------------------------------------------------------------------

    def _key(self, trial: TrialRecord) -> Key:
        """The trial's point, worked out once: a long search asks for thousands each time."""
        if trial.no not in self._keys:
            self._keys[trial.no] = self.space.key(trial.knobs)
        return self._keys[trial.no]

    def _unit(self, trials: list[TrialRecord]) -> Array:
        """Snapped coordinates (n, d) of this search's trials."""
        for trial in trials:
            if trial.no not in self._rows:
                self._rows[trial.no] = self._snapped([self._key(trial)])[0]
        return np.array([self._rows[t.no] for t in trials]).reshape(len(trials), self._encoding.n_dimensions)

    def _coordinates(self, trials: list[TrialRecord]) -> Array:
        """Snapped coordinates (n, d) of other searches' trials."""
        return self._snapped([self.space.key(t.knobs) for t in trials])

    def _snapped(self, keys: list[Key]) -> Array:
        rows = [self.space.to_unit(key) for key in keys]
        return self._encoding.snap(np.array(rows, dtype=np.float64).reshape(len(rows), self._encoding.n_dimensions))
