"""What a search scheme says of itself, and which knobs it refuses.

A scheme's entry is looked at wherever a job is checked, so its module loads no numpy: a scheme that needs it, or an
optional package, has its entry in a file beside its own.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rafiki.advisor.base import Advisor, SchemeOptions
from rafiki.advisor.stopping import RuleOptions
from rafiki.model.knobs import (
    CategoricalKnob,
    FixedKnob,
    FloatKnob,
    IntegerKnob,
    KnobConfig,
    PolicyKnob,
)

_CONSTANT = (FixedKnob, PolicyKnob)
_NUMERIC_OR_CHOICE = (FloatKnob, IntegerKnob, CategoricalKnob)


def refuse_nothing(knob_config: KnobConfig) -> str | None:
    """For a scheme that searches whatever knobs there are."""
    return None


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """One search scheme, as it is registered."""

    name: str
    summary: str
    """In a few words, for people."""
    advisor: type[Advisor] | str
    """Its class; or where that is, ``module:Class``, to load it no sooner than it is needed."""
    refuse: Callable[[KnobConfig], str | None] = refuse_nothing
    """Why it cannot search these knobs, for people; None when it can."""
    options: type[SchemeOptions] = SchemeOptions
    rule: str = "none"
    """The stopping rule of its trials, unless the job names one."""
    rule_options: Callable[[SchemeOptions], RuleOptions] | None = None
    """The options of :attr:`rule` that follow from the scheme's own; None = the job gives them."""
    is_automatic: bool = False
    """Whether ``auto`` may choose it. Only a scheme that comes with Rafiki is chosen so."""
    is_light: bool = False
    """Whether it is built to check a job by: its options may ask for what the knobs do not allow."""
    requires: str | None = None
    """A module of an optional package."""
    extra: str | None = None
    """The extra of Rafiki that brings it."""


def free_knobs(knob_config: KnobConfig) -> list[str]:
    """The names of the knobs that leave something to search."""
    return [name for name, knob in knob_config.items() if not isinstance(knob, _CONSTANT)]


def has_policy(knob_config: KnobConfig, policy: str) -> bool:
    """Whether the model declares a policy knob."""
    return any(isinstance(knob, PolicyKnob) and knob.policy == policy for knob in knob_config.values())


def refuse_fixed(knob_config: KnobConfig) -> str | None:
    """For a scheme that needs something to search."""
    return None if free_knobs(knob_config) else "there is nothing to search: all knobs are fixed"


def refuse_arch(knob_config: KnobConfig) -> str | None:
    """For a scheme that searches numbers and choices, but no architectures."""
    if (refusal := refuse_fixed(knob_config)) is not None:
        return refusal
    if other := [n for n in free_knobs(knob_config) if not isinstance(knob_config[n], _NUMERIC_OR_CHOICE)]:
        return f"it searches float, integer and categorical knobs, not the knob(s) {', '.join(other)}"
    return None


def refuse_unshared(knob_config: KnobConfig) -> str | None:
    """As :func:`refuse_arch`, for a scheme whose trials go on from the parameters of others."""
    if (refusal := refuse_arch(knob_config)) is not None:
        return refusal
    if not has_policy(knob_config, "SHARE_PARAMS"):
        return "the model has no PolicyKnob('SHARE_PARAMS')"
    return None
