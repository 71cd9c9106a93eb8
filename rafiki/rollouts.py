"""How an app goes over from one inference job to another: what jobs, contract and admin share."""

from __future__ import annotations

from typing import Annotated

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class RollbackRules(msgspec.Struct, frozen=True, kw_only=True):
    """When an update is taken back by itself. A rule that is None is not applied."""

    errors: Share | None = None
    """Its share of requests without a prediction exceeds that of the version before by more than this."""
    latency_ms: Annotated[float, msgspec.Meta(gt=0, le=3_600_000)] | None = None
    """Its 99th percentile of latencies exceeds that of the version before by more than this."""
    score: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Its validation score is lower than that of the version before by more than this: it does not begin."""
    disagreement: Share | None = None
    """The share of compared answers of a shadow that say something else exceeds this."""
    min_requests: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 50
    """So many requests of its own, before errors, latencies and answers are judged."""


class SideFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How one version has done since the new one answers."""

    requests: int = 0
    """That it was asked."""
    errors: int = 0
    """Requests without a prediction."""
    p50_ms: float | None = None
    """Half of its answers took no longer; None without an answer."""
    p99_ms: float | None = None
    """99 of 100 of its answers took no longer."""

    @property
    def error_share(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How the two versions of an update have done beside each other."""

    before: SideFigures = SideFigures()
    """The version before."""
    after: SideFigures = SideFigures()
    """The new one."""
    compared: int = 0
    """Answers of a shadow that were compared."""
    agreed: int = 0
    """Those that said the same."""
    skipped: int = 0
    """Requests that a shadow was not asked, as it had too many in hand."""
