"""What a series of scores came to. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from rafiki.constants import TrialStatus

Trial = TypeVar("Trial", bound=Mapping[str, Any])
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


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The completed trial with the highest score."""
    scored = [t for t in trials if t["status"] == TrialStatus.COMPLETED and t["score"] is not None]
    return max(scored, key=lambda t: t["score"], default=None)
