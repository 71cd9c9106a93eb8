"""Which search scheme a knob configuration gets."""

from __future__ import annotations

from typing import Literal, TypeAlias

from rafiki.advisor.base import Advisor
from rafiki.advisor.budget import TrainBudget
from rafiki.errors import InvalidTrainJobError
from rafiki.model.knobs import CategoricalKnob, FixedKnob, FloatKnob, IntegerKnob, KnobConfig, PolicyKnob

Scheme: TypeAlias = Literal["auto", "fixed", "random", "bayes", "sharing"]
SchemeName: TypeAlias = Literal["fixed", "random", "bayes", "sharing"]
SCHEMES: tuple[Scheme, ...] = ("auto", "fixed", "random", "bayes", "sharing")

_CONSTANT = (FixedKnob, PolicyKnob)
_NUMERIC_OR_CHOICE = (FloatKnob, IntegerKnob, CategoricalKnob)


def choose_scheme(knob_config: KnobConfig) -> SchemeName:
    """The scheme that fits the knobs: one trial, else Bayesian optimisation (with shared parameters where the model
    declares them), else random search.
    """
    knobs = knob_config.values()
    if all(isinstance(knob, _CONSTANT) for knob in knobs):
        return "fixed"
    if all(isinstance(knob, _CONSTANT + _NUMERIC_OR_CHOICE) for knob in knobs):
        return "sharing" if _shares(knob_config) else "bayes"
    return "random"


def _shares(knob_config: KnobConfig) -> bool:
    return any(isinstance(knob, PolicyKnob) and knob.policy == "SHARE_PARAMS" for knob in knob_config.values())


def check_scheme(knob_config: KnobConfig, scheme: str) -> SchemeName:
    """The scheme to use when a job asks for ``scheme``.

    Raises:
        InvalidTrainJobError: for an unknown scheme, or one that these knobs rule out.
    """
    suited = choose_scheme(knob_config)
    match scheme:
        case "auto":
            return suited
        case "random":
            return "random"
        case "fixed" if suited != "fixed":
            free = ", ".join(n for n, k in knob_config.items() if not isinstance(k, _CONSTANT))
            raise InvalidTrainJobError(
                f"The fixed scheme tries one point, but the knob(s) {free} leave a choice. Use auto."
            )
        case "bayes" if suited == "fixed":
            raise InvalidTrainJobError("The bayes scheme has nothing to search: all knobs are fixed. Use auto.")
        case "bayes" if suited == "random":
            other = ", ".join(n for n, k in knob_config.items() if not isinstance(k, _CONSTANT + _NUMERIC_OR_CHOICE))
            raise InvalidTrainJobError(
                "The bayes scheme searches float, integer and categorical knobs, "
                f"not the knob(s) {other}; use auto or random."
            )
        case "sharing" if not _shares(knob_config) or suited != "sharing":
            raise InvalidTrainJobError(
                "The sharing scheme needs a model with float, integer or categorical knobs and the policy SHARE_PARAMS."
            )
        case "fixed":
            return "fixed"
        case "bayes":
            return "bayes"
        case "sharing":
            return "sharing"
        case _:
            raise InvalidTrainJobError(f"Unknown search scheme {scheme!r}; the schemes are {', '.join(SCHEMES)}.")


def make_advisor(knob_config: KnobConfig, budget: TrainBudget, seed: int, scheme: Scheme = "auto") -> Advisor:
    """A fresh advisor for one model.

    Args:
        knob_config: the model's search space.
        budget: its ``model_trial_count`` decides how many trials are kept for full trainings.
        seed: any integer; the same seed and the same scores give the same proposals.
        scheme: ``auto`` chooses by the knobs.

    Raises:
        InvalidTrainJobError: when these knobs rule out the scheme that was asked for.
    """
    # Imported on demand, because only Bayesian optimisation is worth loading numpy for.
    match check_scheme(knob_config, scheme):
        case "fixed":
            from rafiki.advisor.fixed import FixedAdvisor

            return FixedAdvisor(knob_config, seed)
        case "random":
            from rafiki.advisor.random import RandomAdvisor

            return RandomAdvisor(knob_config, seed)
        case "bayes":
            from rafiki.advisor.bayes import BayesAdvisor

            return BayesAdvisor(knob_config, seed, trial_limit=budget.trial_limit)
        case "sharing":
            from rafiki.advisor.sharing import SharingAdvisor

            return SharingAdvisor(knob_config, seed, trial_limit=budget.trial_limit)
