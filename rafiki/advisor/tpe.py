"""Tree-structured Parzen estimator, as Optuna has it."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import TypeGuard

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from rafiki.advisor.base import Advisor, Ask, SearchSetup, TrialRecord
from rafiki.advisor.history import usable_history
from rafiki.advisor.space import ChoiceDimension, Dimension, IntegerDimension, Key, SearchSpace, draw_unseen
from rafiki.knob_specs import Scalar
from rafiki.proposals import Proposal

_KEPT, _CHUNK = 200, 50
"""Trials that the densities rest on, and how many more come in before they are chosen anew: at 2,000 trials Optuna
takes over 100 ms for a proposal in 20 dimensions, at 250 a third of that."""
_TRIES = 4
"""Samples before a random unseen point takes the place of one that was seen or is not allowed."""
_NAME = "search"
_WIDEST_INTEGER = 2**31
"""Wider ranges are treated as continuous: Optuna computes with integers as floats."""


class TpeAdvisor(Advisor):
    """Ten random trials, then the point at which the density of the better trials most exceeds that of the others.

    Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter optimization", 2011, section 4; multivariate
    densities as in Falkner, Klein and Hutter, "BOHB", 2018, section 4.1.

    Floats are modelled on their own scale in [0, 1], integers and choices as what they are. A pending trial counts as
    one of the worse (constant liar); a trial that ended early ranks behind those that did not, a failed one last.
    Points do not repeat while a finite space holds unseen ones. However long the history, the densities rest on the
    best 100 trials and the latest ones. Policies are off.
    """

    scheme = "tpe"

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        self._past = usable_history(setup)
        self._model: _Model | None = None
        self._n_settled = -1

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        rng = self._rng(no)
        seen = self._seen()
        if self.space.dimensions:
            for key in itertools.islice(self._up_to_date().sample(rng.getrandbits(32)), _TRIES):
                if key not in seen and self.space.allows_key(key):
                    return self._proposal(self.space.knobs(key), "search")
        return self._proposal(self.space.knobs(draw_unseen(self.space, rng, seen)), "random")

    def _up_to_date(self) -> _Model:
        """The model of what counts; made anew whenever another chunk of trials has finished."""
        n = len(self._past) + len(self._finished)
        n_settled = 0 if n < _KEPT + _CHUNK else n - (n - _KEPT) % _CHUNK
        if self._model is None or n_settled != self._n_settled:
            finished = [*self._past, *(self._trials[no] for no in self._finished)]
            kept = {id(t) for t in (*most_telling(finished[:n_settled], _KEPT), *finished[n_settled:])}
            self._model = _Model(self.space)
            for trial in self._past:
                if id(trial) in kept:
                    self._model.add(None, trial)
            for trial in self.trials:
                if trial.state == "pending" or id(trial) in kept:
                    self._model.add(trial.no, trial)
            self._n_settled = n_settled
        return self._model

    def _add(self, no: int, proposal: Proposal, worker_id: str | None) -> None:
        super()._add(no, proposal, worker_id)
        if self._model is not None:
            self._model.add(no, self._trials[no])

    def _learn(self, trial: TrialRecord) -> None:
        if self._model is not None:
            self._model.finish(trial)


def most_telling(finished: Sequence[TrialRecord], limit: int) -> list[TrialRecord]:
    """Of finished trials, in the order of their results, ``limit`` at most: half of them the best, half the latest."""
    if len(finished) <= limit:
        return list(finished)
    ranked = sorted(range(len(finished)), key=lambda i: (*_rank(finished[i]), i))
    best = set(ranked[: limit // 2])
    latest = [i for i in reversed(range(len(finished))) if i not in best][: limit - len(best)]
    return [finished[i] for i in sorted(best | set(latest))]


def _rank(trial: TrialRecord) -> tuple[bool, bool, float]:
    return trial.score is None, trial.is_ended_early, -(trial.score or 0.0)


class _Model:
    """An Optuna study in memory that holds the trials of a search."""

    def __init__(self, space: SearchSpace) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._distributions = {f"x{i}": _distribution(d) for i, d in enumerate(space.dimensions)}
        self._storage = InMemoryStorage()
        self._study_id = self._storage.create_new_study([StudyDirection.MAXIMIZE], _NAME)
        # Every sample is taken for this one, which stays without parameters: Optuna would record what it samples, and
        # the search records what it proposes.
        self._scratch = self._storage.get_trial(self._storage.create_new_trial(self._study_id))
        self._ids: dict[int, int] = {}

    def add(self, no: int | None, trial: TrialRecord) -> None:
        """Take in a trial; ``no`` is None for one of an earlier search."""
        key = self._space.key(trial.knobs)
        params = {f"x{i}": _to_param(d, v) for i, (d, v) in enumerate(zip(self._space.dimensions, key, strict=True))}
        template = create_trial(params=params, distributions=self._distributions, state=TrialState.RUNNING)
        trial_id = self._storage.create_new_trial(self._study_id, template)
        if trial.state != "pending":
            self._end(trial_id, trial)
        elif no is not None:
            self._ids[no] = trial_id

    def finish(self, trial: TrialRecord) -> None:
        self._end(self._ids.pop(trial.no), trial)

    def _end(self, trial_id: int, trial: TrialRecord) -> None:
        if trial.score is not None and not trial.is_ended_early:
            self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [trial.score])
            return
        # Optuna ranks pruned trials behind complete ones, and those that reported nothing behind those that did.
        if trial.score is not None:
            self._storage.set_trial_intermediate_value(trial_id, 1, trial.score)
        self._storage.set_trial_state_values(trial_id, TrialState.PRUNED)

    def sample(self, seed: int) -> Iterator[Key]:
        """Points without end, one after the other; none while too few trials have finished."""
        sampler = _sampler(seed)
        # A new study each time, because one that has looked at its trials does not look again.
        study = optuna.load_study(study_name=_NAME, storage=self._storage, sampler=sampler)
        while params := sampler.sample_relative(study, self._scratch, self._distributions):
            yield tuple(_to_value(d, params[f"x{i}"]) for i, d in enumerate(self._space.dimensions))


def _sampler(seed: int) -> TPESampler:
    with warnings.catch_warnings():
        # Some versions call an option experimental that others have by default.
        warnings.simplefilter("ignore")
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, ChoiceDimension):
        return CategoricalDistribution(tuple(range(dimension.count)))
    if _is_native(dimension):
        return IntDistribution(dimension.low, dimension.high, log=dimension.is_exp)
    return FloatDistribution(0.0, 1.0)


def _is_native(dimension: Dimension) -> TypeGuard[IntegerDimension]:
    return isinstance(dimension, IntegerDimension) and dimension.high - dimension.low < _WIDEST_INTEGER


def _to_param(dimension: Dimension, value: Scalar) -> Scalar:
    if isinstance(dimension, ChoiceDimension):
        return int(dimension.to_unit(value) * dimension.count)
    return value if _is_native(dimension) else dimension.to_unit(value)


def _to_value(dimension: Dimension, param: Scalar) -> Scalar:
    if isinstance(dimension, ChoiceDimension):
        return dimension.choices[int(param)]
    return int(param) if _is_native(dimension) else dimension.from_unit(float(param))
