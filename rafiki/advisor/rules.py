"""The registered stopping rules.

A new rule is one file with a subclass of :class:`~rafiki.advisor.stopping.StoppingRule` and its
:class:`~rafiki.advisor.stopping.Rule`, and one line in :mod:`rafiki.registries`.
"""

from __future__ import annotations

from collections.abc import Mapping

from rafiki import registries
from rafiki.advisor.given_options import read_options
from rafiki.advisor.stopping import Rule, RuleOptions
from rafiki.errors import InvalidTrainJobError
from rafiki.registry import Registry
from rafiki.search_setting import AUTO

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


def parse_rule_options(rule: Rule, given: Mapping[str, object]) -> RuleOptions:
    """A rule's options.

    Raises:
        InvalidTrainJobError: naming the option that it does not have, or whose value is wrong.
    """
    return read_options(f"stopping rule {rule.name!r}", rule.options, given)
