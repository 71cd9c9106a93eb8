"""Whether a job's :class:`~rafiki.search_setting.AdvisorSetting` fits a model's knobs, and what follows from it."""

from __future__ import annotations

import random

import msgspec

from rafiki.advisor.base import SearchSetup
from rafiki.advisor.rules import get_rule, parse_rule_options
from rafiki.advisor.scheme import Scheme
from rafiki.advisor.schemes import check_scheme, load_advisor, parse_options
from rafiki.advisor.space import SearchSpace
from rafiki.advisor.stopping import Rule, RuleOptions, StoppingRule
from rafiki.errors import InvalidTrainJobError, ModelError
from rafiki.model.knobs import KnobConfig
from rafiki.search_setting import AUTO, AdvisorSetting


def check_setting(setting: AdvisorSetting, knob_config: KnobConfig, constraints: list[str]) -> None:
    """Whether a model's knobs can be searched so.

    Raises:
        InvalidTrainJobError: naming what does not fit.
    """
    scheme = check_scheme(knob_config, setting.scheme)
    options = parse_options(scheme, setting.options)
    _rule_of(setting, scheme)
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
    rule, options = _rule_of(setting, check_scheme(knob_config, setting.scheme))
    return rule.make(**msgspec.structs.asdict(options))


def _rule_of(setting: AdvisorSetting, scheme: Scheme) -> tuple[Rule, RuleOptions]:
    ending = setting.early_ending
    rule = get_rule(scheme.rule if ending.rule == AUTO else ending.rule)
    if scheme.rule_options is not None and rule.name == scheme.rule:
        if ending.options:
            raise InvalidTrainJobError(f"The rule of the search scheme {scheme.name!r} takes the scheme's options.")
        return rule, scheme.rule_options(parse_options(scheme, setting.options))
    known = [f.name for f in msgspec.structs.fields(rule.options)]
    return rule, parse_rule_options(rule, ending.options_of(known))
