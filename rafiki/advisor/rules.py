"""The registered stopping rules.

A new rule is one file with a subclass of :class:`~rafiki.advisor.stopping.StoppingRule` and its
:class:`~rafiki.advisor.stopping.Rule`, and one line in :mod:`rafiki.registries`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rafiki import registries
from rafiki.advisor.stopping import Rule, RuleOptions
from rafiki.errors import InvalidTrainJobError
from rafiki.registry import Registry
from rafiki.search_setting import AUTO
from rafiki.utils.mismatch import explain_mismatch
from rafiki.utils.nearest import ROUGHLY_ALIKE, did_you_mean

RULES = Registry(registries.RULES, Rule)


def get_rule(name: str) -> Rule:
    """One entry.

    Raises:
        InvalidTrainJobError: when there is none of that name, with the nearest one; or it cannot be used.
    """
    rule = RULES.find(name)
    if rule is None:
        raise InvalidTrainJobError(RULES.why_unknown(name, AUTO))
    return rule


def parse_rule_options(rule: Rule, given: Mapping[str, Any]) -> RuleOptions:
    """A rule's options.

    Raises:
        InvalidTrainJobError: naming the option that it does not have, or whose value is wrong.
    """
    known = {f.name for f in msgspec.structs.fields(rule.options)}
    if unknown := sorted(given.keys() - known):
        hint = did_you_mean(unknown[0], known, f"It has {', '.join(sorted(known)) or 'none'}.", ROUGHLY_ALIKE)
        raise InvalidTrainJobError(f"The stopping rule {rule.name!r} has no option {unknown[0]!r}. {hint}")
    try:
        return msgspec.convert(given, rule.options)
    except msgspec.ValidationError as e:
        reason = explain_mismatch(given, rule.options, e)
        raise InvalidTrainJobError(f"The options of the stopping rule {rule.name!r}: {reason}.") from e
