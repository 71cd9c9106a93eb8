"""Whether a job's :class:`~rafiki.search_setting.AdvisorSetting` fits a model's knobs, and what follows from it."""

from __future__ import annotations

import random

from rafiki.advisor.base import SearchSetup
from rafiki.advisor.options import AshaOptions
from rafiki.advisor.schemes import check_scheme, load_advisor, parse_options
from rafiki.advisor.space import SearchSpace
from rafiki.advisor.stopping import AshaRule, MedianRule, NoRule, StoppingRule
from rafiki.errors import InvalidTrainJobError, ModelError
from rafiki.model.knobs import KnobConfig
from rafiki.search_setting import AdvisorSetting


def check_setting(setting: AdvisorSetting, knob_config: KnobConfig, constraints: list[str]) -> None:
    """Whether a model's knobs can be searched so.

    Raises:
        InvalidTrainJobError: naming what does not fit.
    """
    scheme = check_scheme(knob_config, setting.scheme)
    options = parse_options(scheme, setting.options)
    try:
        space = SearchSpace(knob_config, constraints)
        rng = random.Random(0)
        for no, knobs in enumerate(setting.first_knobs, 1):
            try:
                space.complete(knobs, rng)
            except ModelError as e:
                raise InvalidTrainJobError(f"first_knobs, entry {no}: {e.message}") from e
        if scheme.is_light:
            setup = SearchSetup(knob_config=knob_config, seed=0, options=options, constraints=tuple(constraints))
            load_advisor(scheme, setup)
    except ModelError as e:
        raise InvalidTrainJobError(e.message) from e


def make_rule(setting: AdvisorSetting, knob_config: KnobConfig) -> StoppingRule:
    """A fresh rule that ends trials early."""
    scheme = check_scheme(knob_config, setting.scheme)
    ending = setting.early_ending
    match scheme.rule if ending.rule == "auto" else ending.rule:
        case "median":
            return MedianRule(min_trials=ending.min_trials, min_step=ending.min_step)
        case "asha":
            options = parse_options(scheme, setting.options)
            if isinstance(options, AshaOptions):
                return AshaRule(eta=options.eta, min_step=options.min_step)
            return AshaRule(eta=ending.eta, min_step=ending.min_step)
        case _:
            return NoRule()
