"""Ensembles: how the trials that an inference job serves are to be chosen, and how they were."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rafiki.constants import EnsembleMethod


class EnsembleSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to choose the trials that are served."""

    method: EnsembleMethod = EnsembleMethod.MEAN
    """How the members are chosen."""
    size: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    """Trials at most; None = by the method."""


class EnsembleSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How the served trials were chosen. Scores are on the validation examples that all of them were asked."""

    method: EnsembleMethod = EnsembleMethod.MEAN
    """How the members were chosen."""
    size: int | None = None
    """Trials at most; None = one of each model."""
    metric: str | None = None
    """``accuracy`` or ``R2``; None where nothing was scored."""
    validation_score: float | None = None
    """Of the ensemble."""
    best_single_score: float | None = None
    """Of the best of all trials that could have been chosen, alone."""
    member_scores: list[float] = []
    """Of each served trial alone, in the order of ``trial_ids``; empty where nothing was scored."""
    n_examples: int = 0
    """How many examples the scores are of."""
    note: str | None = None
    """Why the best trial is served alone though more were asked for."""
