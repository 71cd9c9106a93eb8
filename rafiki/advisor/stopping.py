"""When a trial is to end early: rules over the intermediate scores that models report while they train.

Pure, like the advisors: told reports in the order in which they come, a rule answers whether the trial should end,
and why.
"""

from __future__ import annotations

import bisect
import math
import statistics
from abc import ABC, abstractmethod
from array import array
from collections import defaultdict
from typing import ClassVar

_MOST_KEPT = 1024
"""Scores of one trial that are remembered; of more, every second, every fourth ..."""


class StoppingRule(ABC):
    """Decides on running trials by their intermediate scores. Higher is better; steps are numbers that grow."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._ended: set[int] = set()
        self._last_step: dict[int, float] = {}

    def report(self, no: int, step: float, score: float) -> str | None:
        """Take in the score of trial ``no`` at ``step``; the reason for which it should end now, or None.

        A step that does not lie beyond the trial's last one is ignored (a message may come twice), and so is a step or
        a score that is not finite. A trial that was told to end is not judged again.
        """
        if no in self._ended or not (math.isfinite(score) and math.isfinite(step)):
            return None
        if step <= self._last_step.get(no, -math.inf):
            return None
        self._last_step[no] = step
        reason = self._judge(no, step, score)
        if reason is not None:
            self._ended.add(no)
        return reason

    def forget(self, no: int) -> None:
        """The trial starts anew (its worker was lost): its reports come again from the first step."""
        self._last_step.pop(no, None)
        self._ended.discard(no)

    def finish(self, no: int) -> None:  # noqa: B027 - not every rule looks at finished trials
        """The trial has finished, in whatever way."""

    @abstractmethod
    def _judge(self, no: int, step: float, score: float) -> str | None:
        """:meth:`report` for a new step of a trial that goes on."""


class NoRule(StoppingRule):
    """Every trial goes on to its end."""

    name = "none"

    def _judge(self, no: int, step: float, score: float) -> str | None:
        return None


class MedianRule(StoppingRule):
    """Ends a trial whose best score so far lies below the median of what finished trials had reached, on average, by
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

    def _judge(self, no: int, step: float, score: float) -> str | None:
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

    def _judge(self, no: int, step: float, score: float) -> str | None:
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
