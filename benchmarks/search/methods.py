"""The schemes that are compared, each asked for one proposal at a time and told its score."""

from __future__ import annotations

import importlib.util
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from rafiki.advisor.base import Advisor, SearchSetup
from rafiki.model.knobs import CategoricalKnob, FloatKnob, IntegerKnob, KnobConfig

_FAILED = -1e6
"""Told, as a score, to libraries that know no failed trials."""


class Method(ABC):
    """One search of one problem."""

    @abstractmethod
    def ask(self) -> dict[str, Any]:
        """Knobs to try next."""

    @abstractmethod
    def tell(self, score: float | None) -> None:
        """The score of the knobs asked for last; None when the trial failed."""


class Rafiki(Method):
    """One of our schemes, used as a worker uses it."""

    def __init__(self, make: Callable[[SearchSetup], Advisor], knobs: KnobConfig, seed: int, n_trials: int) -> None:
        self._advisor = make(SearchSetup(knob_config=knobs, seed=seed, trial_limit=n_trials))
        self._no = 0

    def ask(self) -> dict[str, Any]:
        self._no += 1
        return self._advisor.propose(self._no).knobs

    def tell(self, score: float | None) -> None:
        self._advisor.feedback(self._no, score)


class Optuna(Method):
    """A study with one of Optuna's samplers, at its defaults."""

    def __init__(self, sampler: str, knobs: KnobConfig, seed: int) -> None:
        import optuna

        if sampler == "GPSampler":
            import torch

            torch.set_num_threads(1)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self._failed = optuna.trial.TrialState.FAIL
        self._space = {name: self._distribution(knob) for name, knob in knobs.items()}
        self._study = optuna.create_study(direction="maximize", sampler=getattr(optuna.samplers, sampler)(seed=seed))

    @staticmethod
    def _distribution(knob: Any) -> Any:
        from optuna import distributions

        match knob:
            case FloatKnob():
                return distributions.FloatDistribution(knob.value_min, knob.value_max, log=knob.is_exp)
            case IntegerKnob():
                return distributions.IntDistribution(knob.value_min, knob.value_max, log=knob.is_exp)
            case CategoricalKnob():
                return distributions.CategoricalDistribution([v.value for v in knob.values])
        raise ValueError(f"a {type(knob).__name__} is not searched here")

    def ask(self) -> dict[str, Any]:
        self._trial = self._study.ask(self._space)
        return dict(self._trial.params)

    def tell(self, score: float | None) -> None:
        if score is None:
            self._study.tell(self._trial, state=self._failed)
        else:
            self._study.tell(self._trial, score)


class Skopt(Method):
    """scikit-optimize's Gaussian process at its defaults, told the worst score so far for a failed trial."""

    def __init__(self, knobs: KnobConfig, seed: int) -> None:
        from skopt import Optimizer

        warnings.simplefilter("ignore")
        self._names = list(knobs)
        self._optimizer = Optimizer([self._dimension(knob) for knob in knobs.values()], random_state=seed)
        self._worst: float | None = None

    @staticmethod
    def _dimension(knob: Any) -> Any:
        from skopt.space import Categorical, Integer, Real

        match knob:
            case FloatKnob():
                return Real(knob.value_min, knob.value_max, prior="log-uniform" if knob.is_exp else "uniform")
            case IntegerKnob():
                return Integer(knob.value_min, knob.value_max, prior="log-uniform" if knob.is_exp else "uniform")
            case CategoricalKnob():
                return Categorical([v.value for v in knob.values])
        raise ValueError(f"a {type(knob).__name__} is not searched here")

    def ask(self) -> dict[str, Any]:
        self._point = self._optimizer.ask()
        # It answers with numpy scalars.
        values = [v.item() if hasattr(v, "item") else v for v in self._point]
        return dict(zip(self._names, values, strict=True))

    def tell(self, score: float | None) -> None:
        if score is None:
            score = _FAILED if self._worst is None else self._worst
        self._worst = score if self._worst is None else min(self._worst, score)
        self._optimizer.tell(self._point, -score)


def _bayes(knobs: KnobConfig, seed: int, n_trials: int) -> Method:
    from rafiki.advisor.bayes import BayesAdvisor

    return Rafiki(BayesAdvisor, knobs, seed, n_trials)


def _random(knobs: KnobConfig, seed: int, n_trials: int) -> Method:
    from rafiki.advisor.random import RandomAdvisor

    return Rafiki(RandomAdvisor, knobs, seed, n_trials)


OURS = "rafiki bayes"
RANDOM = "rafiki random"
METHODS: dict[str, Callable[[KnobConfig, int, int], Method]] = {
    OURS: _bayes,
    RANDOM: _random,
    "optuna tpe": lambda knobs, seed, n_trials: Optuna("TPESampler", knobs, seed),
    "optuna gp": lambda knobs, seed, n_trials: Optuna("GPSampler", knobs, seed),
    "scikit-optimize": lambda knobs, seed, n_trials: Skopt(knobs, seed),
}
"""Knobs, seed and number of trials to a fresh search."""

NEEDS = {"optuna tpe": ("optuna",), "optuna gp": ("optuna", "torch"), "scikit-optimize": ("skopt",)}


def missing_packages(method: str) -> list[str]:
    """What has to be installed before this method can be run."""
    return [name for name in NEEDS.get(method, ()) if importlib.util.find_spec(name) is None]
