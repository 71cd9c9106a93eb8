"""The median rule: a trial ends that stays behind what others had reached by then."""

from __future__ import annotations

import bisect
import math
import statistics
from array import array
from typing import Annotated

from msgspec import Meta

from rafiki.advisor.stopping import Rule, RuleOptions, StoppingRule

_MOST_KEPT = 1024
"""Scores of one trial that are remembered; of more, every second, every fourth ..."""


class MedianOptions(RuleOptions, frozen=True, kw_only=True):
    min_trials: Annotated[int, Meta(ge=1)] = 5
    """How many trials must have finished before any is judged."""
    min_step: Annotated[float, Meta(gt=0.0)] = 1.0
    """No trial is judged before this step."""


class MedianRule(StoppingRule):
    """Ends a trial whose best score so far is below the median of what finished trials had reached, on average, by
    the same step.

    Golovin et al., "Google Vizier: A service for black-box optimization", 2017, section 3.2.1 (performance curve
    stopping, median rule).

    Args:
        min_trials: how many trials must have finished before any is judged.
        min_step: before this step no trial is judged.
    """

    name = "median"

    def __init__(self, *, min_trials: int = 5, min_step: float = 1.0) -> None:
        super().__init__()
        self._min_trials = min_trials
        self._min_step = min_step
        self._curves: dict[int, _Curve] = {}
        self._finished: set[int] = set()

    def forget(self, no: int) -> None:
        super().forget(no)
        self._curves.pop(no, None)
        self._finished.discard(no)

    def finish(self, no: int) -> None:
        if no in self._curves:
            self._finished.add(no)

    def _decide(self, no: int, step: float, score: float) -> str | None:
        curve = self._curves.setdefault(no, _Curve())
        curve.add(step, score)
        if step < self._min_step:
            return None
        averages = [a for other in self._finished if (a := self._curves[other].average_until(step)) is not None]
        if len(averages) < self._min_trials:
            return None
        median = statistics.median(averages)
        if curve.best >= median:
            return None
        return f"median rule: its best score by step {step:g} was {curve.best:.4g}, below the median of {median:.4g}"


class _Curve:
    """The scores of one trial, so that its average by any step is found without adding them up again."""

    def __init__(self) -> None:
        self.best = -math.inf
        self._count = 0
        self._stride = 1
        self._steps = array("d")
        """Of every so many-th score, and of the latest."""
        self._averages = array("d")

    def add(self, step: float, score: float) -> None:
        self.best = max(self.best, score)
        is_latest_kept = self._count % self._stride == 0
        self._count += 1
        before = self._averages[-1] if self._averages else 0.0
        # Not the sum over the count: the sum of large scores overflows.
        average = before - before / self._count + score / self._count
        if not is_latest_kept:
            self._steps.pop()
            self._averages.pop()
        self._steps.append(step)
        self._averages.append(average)
        if len(self._steps) == _MOST_KEPT and self._count % self._stride == 0:
            self._stride *= 2
            self._steps, self._averages = self._steps[1::2], self._averages[1::2]

    def average_until(self, step: float) -> float | None:
        """The average of the scores at steps up to ``step``, None when there was none."""
        i = bisect.bisect_right(self._steps, step)
        return self._averages[i - 1] if i else None


RULE = Rule(
    name="median", summary="below the median of the others at the same step", make=MedianRule, options=MedianOptions
)
