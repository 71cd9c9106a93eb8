"""Ensembles: how the trials that an inference job serves are to be chosen, and how they were."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from rafiki.constants import EnsembleMethod


class EnsembleSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to choose the trials that are served."""

    method: EnsembleMethod = EnsembleMethod.MEAN
    """How the members are chosen."""
    size: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    """Trials at most; None = by the method."""


class ReplacedMember(msgspec.Struct, frozen=True, kw_only=True):
    """A trial that was served until it could not be loaded, and was left out when the members were chosen again."""

    trial_id: str
    label: str
    """``wine#4``: what the trial is called within its train job."""
    reason: str
    """Why it cannot be loaded."""
    datetime_replaced: datetime
    """When others took its place."""


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
    subset_scores: dict[int, float] = {}
    """Of subsets of the served trials, as bit masks: bit ``m`` is the ``m``-th of ``trial_ids``. By these a predictor
    chooses who answers where not all can in time, so they are moved towards the mean of the subsets of their size by as
    much as chance explains of them."""
    n_examples: int = 0
    """How many examples the scores are of."""
    note: str | None = None
    """Why the best trial is served alone though more were asked for."""
    replaced: list[ReplacedMember] = []
    """The members that could not be loaded, and in whose place others are served (``replace_damaged``); oldest
    first."""
