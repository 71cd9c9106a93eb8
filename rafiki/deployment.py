"""How an inference job serves."""

from __future__ import annotations

from typing import Annotated

import msgspec

LATE_TARGET = 0.01
"""The share of answers that may be late where nobody says another."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """How an inference job serves. None = as the stack's settings say."""

    latency_budget_ms: Annotated[float, msgspec.Meta(gt=0, le=3_600_000)] | None = None
    """A query is answered, or refused with a reason, within this time (predictor.deadline_s)."""
    late_target: Annotated[float, msgspec.Meta(gt=0, le=0.5)] | None = None
    """The share of answers that may be late, or lack a member that was asked (0.01): what is kept in reserve is learned
    so that it holds."""
    require_key: bool | None = None
    """Whether its predictor takes queries with a key of the app only (``Authorization: Bearer KEY``)."""
    replace_damaged: bool | None = None
    """Whether the next best trials take the place of members that cannot be loaded, as their parameters are damaged or
    gone or their model fails to load. None = no: the others go on without them."""
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    """The most queries that an inference worker takes at once (predictor.batch_size)."""
    cache: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    """So many predictions are kept by the predictor, by the content of their queries. None or 0 = none."""
