"""How an inference job serves."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rafiki.budget import MAX_REPLICAS

LATE_TARGET = 0.01
"""The share of answers that may be late where nobody says another."""
IDLE_S = 300.0
"""After so long without a query an app that may sleep does."""


class Replicas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many inference workers each served trial may have; the load decides between the two."""

    min: Annotated[int, msgspec.Meta(ge=0, le=MAX_REPLICAS)] = 1
    """So many there are always. 0: all end when nobody has asked for ``idle_s``, and the next query starts them."""
    max: Annotated[int, msgspec.Meta(ge=1, le=MAX_REPLICAS)]
    """No more are started, whatever the load."""
    idle_s: Annotated[float, msgspec.Meta(ge=1, le=31_536_000)] = IDLE_S
    """Seconds without a query after which the workers end, where ``min`` is 0."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the numbers together; None = nothing."""
        return f"min is {self.min}, which is more than max, {self.max}." if self.min > self.max else None

    @property
    def floor(self) -> int:
        """How many there are at least while anybody asks."""
        return max(1, self.min)

    def __str__(self) -> str:
        """``1 to 4``, ``0 to 4, none when idle for 300 s``."""
        if self.min == self.max:
            return str(self.max)
        return f"{self.min} to {self.max}" + (f", none when idle for {self.idle_s:g} s" if not self.min else "")


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
    replicas: Replicas | None = None
    """How many inference workers each served trial has, between two numbers, by the load. None = the budget's
    ``REPLICA_COUNT``."""
