"""When a trial is to end early: rules over the intermediate scores that models report while they train.

Pure, like the advisors: told reports in the order in which they come, a rule answers whether the trial should end,
and why.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import msgspec


class RuleOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a rule, as a job's ``early_ending`` gives them. A rule with options has a subclass of its own, and
    takes each as an argument of its name.
    """


class StoppingRule(ABC):
    """Decides on running trials by their intermediate scores. Higher is better; steps are numbers that grow."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._ended: set[int] = set()
        self._last_step: dict[int, float] = {}

    def report(self, no: int, step: float, score: float) -> str | None:
        """Take in the score of trial ``no`` at ``step``; the reason for which it should end now, or None.

        A step that is not beyond the trial's last one is ignored (a message may come twice), and so is a step or
        a score that is not finite. A trial that was told to end is not judged again.
        """
        if no in self._ended or not (math.isfinite(score) and math.isfinite(step)):
            return None
        if step <= self._last_step.get(no, -math.inf):
            return None
        self._last_step[no] = step
        reason = self._decide(no, step, score)
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
    def _decide(self, no: int, step: float, score: float) -> str | None:
        """:meth:`report` for a new step of a trial that goes on."""


class NoRule(StoppingRule):
    """Every trial goes on to its end."""

    name = "none"

    def _decide(self, no: int, step: float, score: float) -> str | None:
        return None


class Rule(msgspec.Struct, frozen=True, kw_only=True):  # type: ignore[explicit-any]  # of make
    """One stopping rule, as it is registered."""

    name: str
    summary: str
    """When it ends a trial, in a few words, for people."""
    make: Callable[..., StoppingRule]  # type: ignore[explicit-any]
    """Its class."""
    options: type[RuleOptions] = RuleOptions


RULE = Rule(name="none", summary="every trial goes on to its end", make=NoRule)
