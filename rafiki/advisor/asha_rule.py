"""Asynchronous successive halving as a rule: at each rung the best go on."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Annotated

from msgspec import Meta

from rafiki.advisor.stopping import Rule, RuleOptions, StoppingRule


class AshaRuleOptions(RuleOptions, frozen=True, kw_only=True):
    eta: Annotated[float, Meta(gt=1.0)] = 3.0
    """One trial in so many goes on at each rung."""
    min_step: Annotated[float, Meta(gt=0.0)] = 1.0
    """The step of the first rung; no trial is judged before it."""


class AshaRule(StoppingRule):
    """Asynchronous successive halving: at each rung only the best of those that reached it go on.

    Rungs lie at ``min_step * eta^k``. A trial that comes to a rung ends there unless its score is among the best ``1
    / eta`` of all scores seen at that rung so far; so no worker ever waits for others. Li et al., "A system for
    massively parallel hyperparameter tuning", 2020, algorithm 2, in the form without pausing (a trial that would be
    promoted later ends).

    Args:
        eta: the reduction factor, above 1.
        min_step: the first rung.
    """

    name = "asha"

    def __init__(self, *, eta: float = 3.0, min_step: float = 1.0) -> None:
        super().__init__()
        self._eta = eta
        self._min_step = min_step
        self._rungs: dict[int, dict[int, float]] = defaultdict(dict)

    def forget(self, no: int) -> None:
        super().forget(no)
        for scores in self._rungs.values():
            scores.pop(no, None)

    def _decide(self, no: int, step: float, score: float) -> str | None:
        if step < self._min_step:
            return None
        # The rung below or at this step; a trial that reports rarely is judged at the highest rung it has passed.
        rung = math.floor((math.log(step) - math.log(self._min_step)) / math.log(self._eta) + 1e-9)
        scores = self._rungs[rung]
        if no in scores:
            return None
        scores[no] = score
        if len(scores) < self._eta:
            return None
        n_kept = max(1, math.floor(len(scores) / self._eta))
        bar = sorted(scores.values(), reverse=True)[n_kept - 1]
        if score >= bar:
            return None
        return (
            f"asha: at step {step:g} its score was {score:.4g}; the best {n_kept} of {len(scores)} trials there had "
            f"{bar:.4g} or more"
        )


RULE = Rule(name="asha", summary="not among the best one in eta at a rung", make=AshaRule, options=AshaRuleOptions)
