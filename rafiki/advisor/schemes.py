"""The registered search schemes, and which one a knob configuration gets.

A new scheme is one file with a subclass of :class:`~rafiki.advisor.base.Advisor` and its
:class:`~rafiki.advisor.scheme.Scheme`, and one line in :mod:`rafiki.registries`. Nothing here loads numpy or a search:
the admin checks jobs by these entries.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping

from rafiki import registries
from rafiki.advisor.base import Advisor, SchemeOptions, SearchSetup, TrialRecord
from rafiki.advisor.given_options import read_options
from rafiki.advisor.scheme import Scheme
from rafiki.budget import TrainBudget
from rafiki.distribution import install_command
from rafiki.errors import InvalidTrainJobError
from rafiki.knob_specs import Knobs
from rafiki.model.knobs import KnobConfig
from rafiki.registry import Registry
from rafiki.search_setting import AUTO

SCHEMES = Registry(registries.SCHEMES, Scheme)
"""By name. ``auto`` is none of them: see :func:`choose_scheme`."""


def choose_scheme(knob_config: KnobConfig) -> str:
    """The scheme that fits the knobs: one trial; Bayesian optimisation, with shared parameters where the model
    declares them; architecture search where the model has all it takes; else random search.
    """
    for name in registries.SCHEMES.builtin:
        scheme = SCHEMES.get(name)
        if scheme.is_automatic and scheme.refuse(knob_config) is None:
            return name
    return "random"


def get_scheme(name: str) -> Scheme:
    """One entry.

    Raises:
        InvalidTrainJobError: when there is none of that name, with the nearest one; or its package is not installed.
    """
    scheme = SCHEMES.find(name)
    if scheme is None:
        raise InvalidTrainJobError(SCHEMES.why_unknown(name, AUTO))
    if scheme.requires is not None and importlib.util.find_spec(scheme.requires) is None:
        raise InvalidTrainJobError(
            f"The search scheme {name!r} needs a package that is not installed beside the admin: "
            f"{install_command(scheme.extra)}."
        )
    return scheme


def check_scheme(knob_config: KnobConfig, name: str = AUTO) -> Scheme:
    """The scheme to use when a job asks for ``name``.

    Raises:
        InvalidTrainJobError: for an unknown scheme, one whose package is missing, or one that these knobs rule out.
    """
    if name == AUTO:
        return SCHEMES.get(choose_scheme(knob_config))
    scheme = get_scheme(name)
    if (refusal := scheme.refuse(knob_config)) is not None:
        raise InvalidTrainJobError(f"The search scheme {name!r} does not fit these knobs: {refusal}. Use auto.")
    return scheme


def parse_options(scheme: Scheme, given: Mapping[str, object]) -> SchemeOptions:
    """A scheme's options.

    Raises:
        InvalidTrainJobError: naming the option that it does not have, or whose value is wrong.
    """
    return read_options(f"search scheme {scheme.name!r}", scheme.options, given)


def load_advisor(scheme: Scheme, setup: SearchSetup) -> Advisor:
    """A fresh advisor of a scheme."""
    if not isinstance(scheme.advisor, str):
        return scheme.advisor(setup)
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
    options: Mapping[str, object] | None = None,
    constraints: tuple[str, ...] = (),
    first_knobs: tuple[Knobs, ...] = (),
    history: tuple[TrialRecord, ...] = (),
    n_workers: int | None = None,
) -> Advisor:
    """A fresh advisor for one model.

    Args:
        knob_config: the model's search space.
        budget: how many trials, and how many workers.
        seed: any integer; the same seed and the same scores give the same proposals.
        scheme: ``auto`` chooses by the knobs.
        options: of the scheme, as a job gives them.
        constraints, first_knobs, history: as :class:`~rafiki.advisor.base.SearchSetup` has them.
        n_workers: those of the budget, if None.

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
            n_workers=budget.cpu_worker_count if n_workers is None else n_workers, constraints=constraints,
            first_knobs=first_knobs, history=history,
        ),
    )  # fmt: skip
