"""What a predictor waits for: the replies to the queries of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from rafiki.messages import Reply
from rafiki.scheduling.member_planner import Plan

if TYPE_CHECKING:
    from rafiki.predictor.tracing import RequestTrace


class Answers:
    """What has come back for the queries of one request: a row a query, a column a member (None = nothing yet)."""

    __slots__ = ("done", "ended_s", "missing", "plans", "rows", "shed", "trace", "until_ms")

    def __init__(
        self, n_queries: int, n_members: int, until_ms: int, done: asyncio.Future[None], shed: int,
        plans: Sequence[Plan | None],
    ) -> None:  # fmt: skip
        """
        Args:
            until_ms: when nobody waits for it any more, by this host's monotonic clock.
            shed: the members that were not asked because they would not answer in time, as a mask.
            plans: when each member was expected to answer.
        """
        self.shed = shed
        self.trace: RequestTrace | None = None
        self.plans = plans
        self.ended_s = 0.0
        """When the last reply was there, or nobody waited for more."""
        self.rows: list[list[Reply | None]] = [[None] * n_members for _ in range(n_queries)]
        self.missing = 0
        self.until_ms = until_ms
        self.done = done

    def finish(self) -> None:
        """Nobody waits any longer: all is there, or it is time."""
        if not self.done.done():
            self.ended_s = monotonic()
            self.done.set_result(None)


class Waiting:
    """One query at one member: where its reply belongs."""

    __slots__ = ("answers", "column", "query_id", "raw", "row", "trace")

    def __init__(self, answers: Answers, row: int, column: int, query_id: int, raw: bytes) -> None:
        self.answers, self.row, self.column, self.query_id, self.raw = answers, row, column, query_id, raw
        self.trace = b""
        """What the query carries."""
