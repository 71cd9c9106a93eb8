"""What trials and a series of their scores came to. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rafiki.constants import TrialStatus

if TYPE_CHECKING:
    from rafiki.contract.train_jobs import TrialView

Values = Sequence[float | None]


def best_so_far(values: Values) -> list[float | None]:
    """At each place the highest number up to there; None before the first."""
    best: float | None = None
    found: list[float | None] = []
    for value in values:
        if value is not None and math.isfinite(value) and (best is None or value > best):
            best = value
        found.append(best)
    return found


def best_trial(trials: Iterable[TrialView]) -> TrialView | None:
    """The completed trial with the highest score."""
    best: TrialView | None = None
    best_score = -math.inf
    for trial in trials:
        if trial.status == TrialStatus.COMPLETED and trial.score is not None and trial.score > best_score:
            best, best_score = trial, trial.score
    return best
