"""The search schemes by name, and which one a knob configuration gets.

A new scheme is one file with a subclass of :class:`~rafiki.advisor.base.Advisor`, and one entry in :data:`SCHEMES`.
Nothing here loads numpy or a scheme: the admin checks jobs by these entries.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from rafiki.advisor.base import Advisor, SchemeOptions, SearchSetup
from rafiki.advisor.options import AshaOptions, CmaesOptions, EnasOptions, GridOptions, PbtOptions
from rafiki.budget import TrainBudget
from rafiki.errors import InvalidTrainJobError
from rafiki.model.knobs import (
    POLICIES,
    ArchKnob,
    CategoricalKnob,
    FixedKnob,
    FloatKnob,
    IntegerKnob,
    KnobConfig,
    PolicyKnob,
)
from rafiki.search_setting import AUTO
from rafiki.utils.mismatch import explain_mismatch
from rafiki.utils.nearest import ROUGHLY_ALIKE, did_you_mean

_CONSTANT = (FixedKnob, PolicyKnob)
_NUMERIC_OR_CHOICE = (FloatKnob, IntegerKnob, CategoricalKnob)
RuleName = Literal["none", "median", "asha"]


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the registry."""

    name: str
    summary: str
    advisor: str
    """Where its class is: ``module:Class``."""
    refuse: Callable[[KnobConfig], str | None]
    """Why it cannot search these knobs, for people; None when it can."""
    options: type[SchemeOptions] = SchemeOptions
    rule: RuleName = "none"
    """When its trials end early, unless the job says otherwise."""
    is_light: bool = False
    """Whether it is built to check a job by: its options may ask for what the knobs do not allow."""
    requires: str | None = None
    """A module of an optional package."""
    extra: str | None = None
    """The extra that brings it."""


# ---- which knobs a scheme refuses ----------------------------------------------------------------------------------


def _free(knob_config: KnobConfig) -> list[str]:
    return [name for name, knob in knob_config.items() if not isinstance(knob, _CONSTANT)]


def _has_policy(knob_config: KnobConfig, policy: str) -> bool:
    return any(isinstance(knob, PolicyKnob) and knob.policy == policy for knob in knob_config.values())


def _refuse_choice(knob_config: KnobConfig) -> str | None:
    if free := _free(knob_config):
        return f"it tries one point, but the knob(s) {', '.join(free)} leave a choice"
    return None


def _refuse_nothing(knob_config: KnobConfig) -> str | None:
    return None


def _refuse_fixed(knob_config: KnobConfig) -> str | None:
    return None if _free(knob_config) else "there is nothing to search: all knobs are fixed"


def _refuse_arch(knob_config: KnobConfig) -> str | None:
    if (refusal := _refuse_fixed(knob_config)) is not None:
        return refusal
    if other := [n for n in _free(knob_config) if not isinstance(knob_config[n], _NUMERIC_OR_CHOICE)]:
        return f"it searches float, integer and categorical knobs, not the knob(s) {', '.join(other)}"
    return None


def _refuse_unshared(knob_config: KnobConfig) -> str | None:
    if (refusal := _refuse_arch(knob_config)) is not None:
        return refusal
    if not _has_policy(knob_config, "SHARE_PARAMS"):
        return "the model has no PolicyKnob('SHARE_PARAMS')"
    return None


def _refuse_no_arch(knob_config: KnobConfig) -> str | None:
    if other := [n for n in _free(knob_config) if not isinstance(knob_config[n], ArchKnob)]:
        return f"it searches architectures (ArchKnob), not the knob(s) {', '.join(other)}"
    if not _free(knob_config):
        return "there is no ArchKnob"
    if lacking := [p for p in POLICIES if not _has_policy(knob_config, p)]:
        return f"the model lacks the policy knob(s) {', '.join(lacking)}"
    return None


# ---- the registry --------------------------------------------------------------------------------------------------

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            name="fixed", summary="one trial", advisor="rafiki.advisor.fixed:FixedAdvisor", refuse=_refuse_choice
        ),
        Scheme(
            name="random", summary="independent draws", advisor="rafiki.advisor.random:RandomAdvisor",
            refuse=_refuse_nothing, rule="median",
        ),
        Scheme(
            name="bayes", summary="Bayesian optimisation", advisor="rafiki.advisor.bayes:BayesAdvisor",
            refuse=_refuse_arch, rule="median",
        ),
        Scheme(
            name="sharing", summary="Bayesian optimisation with shared parameters",
            advisor="rafiki.advisor.sharing:SharingAdvisor", refuse=_refuse_unshared,
        ),
        Scheme(
            name="grid", summary="all combinations", advisor="rafiki.advisor.grid:GridAdvisor", refuse=_refuse_fixed,
            options=GridOptions, is_light=True,
        ),
        Scheme(
            name="tpe", summary="tree-structured Parzen estimator (Optuna)", advisor="rafiki.advisor.tpe:TpeAdvisor",
            refuse=_refuse_fixed, rule="median", requires="optuna", extra="search",
        ),
        Scheme(
            name="cmaes", summary="covariance matrix adaptation", advisor="rafiki.advisor.cmaes:CmaesAdvisor",
            refuse=_refuse_fixed, options=CmaesOptions, rule="median", requires="cmaes", extra="search",
        ),
        Scheme(
            name="asha", summary="asynchronous successive halving", advisor="rafiki.advisor.asha:AshaAdvisor",
            refuse=_refuse_fixed, options=AshaOptions, rule="asha",
        ),
        Scheme(
            name="pbt", summary="population based training", advisor="rafiki.advisor.pbt:PbtAdvisor",
            refuse=_refuse_unshared, options=PbtOptions,
        ),
        Scheme(
            name="enas", summary="efficient architecture search", advisor="rafiki.advisor.enas:EnasAdvisor",
            refuse=_refuse_no_arch, options=EnasOptions,
        ),
    )
}  # fmt: skip
"""By name. ``auto`` is none of them: see :func:`choose_scheme`."""


def choose_scheme(knob_config: KnobConfig) -> str:
    """The scheme that fits the knobs: one trial; Bayesian optimisation, with shared parameters where the model
    declares them; architecture search where the model has all it takes; else random search.
    """
    for name in ("fixed", "sharing", "bayes", "enas"):
        if name in SCHEMES and SCHEMES[name].refuse(knob_config) is None:
            return name
    return "random"


def get_scheme(name: str) -> Scheme:
    """One entry.

    Raises:
        InvalidTrainJobError: when there is none of that name, with the nearest one; or its package is not installed.
    """
    scheme = SCHEMES.get(name)
    if scheme is None:
        names = [AUTO, *SCHEMES]
        there_are = f"There are: {', '.join(names)}."
        hint = did_you_mean(name, names, least=ROUGHLY_ALIKE)
        raise InvalidTrainJobError(f"Unknown search scheme {name!r}. {f'{hint} ' if hint else ''}{there_are}")
    if scheme.requires is not None and importlib.util.find_spec(scheme.requires) is None:
        raise InvalidTrainJobError(
            f"The search scheme {name!r} needs a package that is not installed beside the admin: pip install "
            f"'rafiki[{scheme.extra}]'."
        )
    return scheme


def check_scheme(knob_config: KnobConfig, name: str = AUTO) -> Scheme:
    """The scheme to use when a job asks for ``name``.

    Raises:
        InvalidTrainJobError: for an unknown scheme, one whose package is missing, or one that these knobs rule out.
    """
    if name == AUTO:
        return SCHEMES[choose_scheme(knob_config)]
    scheme = get_scheme(name)
    if (refusal := scheme.refuse(knob_config)) is not None:
        raise InvalidTrainJobError(f"The search scheme {name!r} does not fit these knobs: {refusal}. Use auto.")
    return scheme


def parse_options(scheme: Scheme, given: Mapping[str, Any]) -> SchemeOptions:
    """A scheme's options.

    Raises:
        InvalidTrainJobError: naming the option that it does not have, or whose value is wrong.
    """
    known = {f.name for f in msgspec.structs.fields(scheme.options)}
    if unknown := sorted(given.keys() - known):
        hint = did_you_mean(unknown[0], known, f"It has {', '.join(sorted(known)) or 'none'}.", ROUGHLY_ALIKE)
        raise InvalidTrainJobError(f"The search scheme {scheme.name!r} has no option {unknown[0]!r}. {hint}")
    try:
        return msgspec.convert(given, scheme.options)
    except msgspec.ValidationError as e:
        reason = explain_mismatch(given, scheme.options, e)
        raise InvalidTrainJobError(f"The options of the search scheme {scheme.name!r}: {reason}.") from e


def load_advisor(scheme: Scheme, setup: SearchSetup) -> Advisor:
    """A fresh advisor of a scheme."""
    # Imported on demand: only some schemes are worth loading numpy for.
    module, _, name = scheme.advisor.partition(":")
    advisor: Advisor = getattr(importlib.import_module(module), name)(setup)
    return advisor


def make_advisor(
    knob_config: KnobConfig,
    budget: TrainBudget,
    seed: int,
    scheme: str = AUTO,
    *,
    options: dict[str, Any] | None = None,
    **setup: Any,
) -> Advisor:
    """A fresh advisor for one model.

    Args:
        knob_config: the model's search space.
        budget: how many trials, and how many workers.
        seed: any integer; the same seed and the same scores give the same proposals.
        scheme: ``auto`` chooses by the knobs.
        options: of the scheme, as a job gives them.
        **setup: further fields of :class:`~rafiki.advisor.base.SearchSetup`.

    Raises:
        InvalidTrainJobError: when these knobs rule out the scheme, or its options are wrong.
        ModelError: when the knobs or constraints leave nothing to search.
    """
    found = check_scheme(knob_config, scheme)
    parsed = parse_options(found, options or {})
    return load_advisor(
        found,
        SearchSetup(
            knob_config=knob_config, seed=seed, trial_limit=budget.trial_limit, options=parsed,
            **{"n_workers": budget.cpu_worker_count, **setup},
        ),
    )  # fmt: skip
