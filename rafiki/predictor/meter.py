"""A predictor measures itself: counts that cost a request well under a microsecond, reported once a second."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

from rafiki.errors import CacheUnavailableError
from rafiki.messages import MemberReport, PredictorReport
from rafiki.utils.bounded_histogram import SECONDS, BoundedHistogram
from rafiki.utils.histogram import N_BUCKETS, bucket_of

INTERVAL_S = 1.0
_ANSWERED = 200
_WINDOW = 10
"""Seconds over which latencies are reported: one second of a quiet app holds too few."""


class Meter:
    """Requests of one version. For the predictor's event loop: no locks."""

    __slots__ = (
        "_all", "_began_at", "_counts", "_no", "_past", "_read_at", "_seen", "by_status", "durations", "errors",
        "requests",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.by_status: Counter[int] = Counter()
        """Requests by HTTP status."""
        self.durations = BoundedHistogram(SECONDS)
        """Of those with a prediction."""
        self._counts = [0] * N_BUCKETS
        self._past: deque[dict[int, int]] = deque(maxlen=_WINDOW)
        self._all: Counter[int] = Counter()
        self._no = 0
        self._seen = (0, 0)
        self._began_at = self._read_at = time.monotonic()

    def add(self, status: int, took_s: float) -> None:
        """Count a request, by its HTTP status; the time of one without a prediction would say nothing about those with
        one."""
        self.requests += 1
        self.by_status[status] += 1
        if status == _ANSWERED:
            self._counts[bucket_of(took_s)] += 1
            self.durations.add(took_s)
        else:
            self.errors += 1

    def read(self, members: list[MemberReport]) -> PredictorReport:
        """What happened since the last call, and before."""
        now = time.monotonic()
        passed_s = max(1e-3, now - self._read_at)
        requests, errors = self._seen
        self._seen, self._read_at = (self.requests, self.errors), now
        latest = {bucket: n for bucket, n in enumerate(self._counts) if n}
        self._past.append(latest)
        self._all.update(latest)
        self._counts = [0] * N_BUCKETS
        latencies: Counter[int] = Counter()
        for counts in self._past:
            latencies.update(counts)
        self._no += 1
        return PredictorReport(
            no=self._no,
            requests_per_s=(self.requests - requests) / passed_s, errors_per_s=(self.errors - errors) / passed_s,
            requests=self.requests, errors=self.errors, latencies=dict(latencies), members=members,
            all_latencies=dict(self._all), uptime_s=now - self._began_at,
        )  # fmt: skip


async def report_every_second(
    report: Callable[[], Awaitable[None]], stopped: asyncio.Event, called: asyncio.Event
) -> None:
    """Have ``report`` called once a second, until ``stopped``. A cache that is away misses a report.

    Args:
        called: when it is set, the admin is to know at once; again after a second, where it is set again.
    """
    has_called = False
    while not stopped.is_set():
        await _wait_for_any([stopped] if has_called else [stopped, called], INTERVAL_S)
        if not stopped.is_set():
            has_called = called.is_set()
            called.clear()
            try:
                await report()
            except CacheUnavailableError:
                continue


async def _wait_for_any(events: Sequence[asyncio.Event], timeout_s: float) -> None:
    """Until one of them is set, or the timeout passes."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
