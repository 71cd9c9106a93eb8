"""What is asked of the members of one inference job, for whoever decides how many workers they have."""

from __future__ import annotations

import asyncio
import math
from time import monotonic

_START_S = 5.0
"""What a start takes, while none was seen."""


class Demand:
    """Counts queries, and calls for workers where there are none. For one event loop: no locks."""

    __slots__ = ("_called", "_called_s", "_has_called", "_start_s", "asked", "missed")

    def __init__(self, n_members: int, called: asyncio.Event | None = None) -> None:
        """
        Args:
            called: set when a query has come while no member has a worker: the admin is to know at once.
        """
        self.asked = 0
        """Queries that came; each concerns every member."""
        self.missed = [0] * n_members
        """Of each member: those that it did not answer in time, or was not asked for want of time."""
        self._called = called or asyncio.Event()
        self._has_called = False
        self._called_s: float | None = None
        self._start_s = _START_S

    def miss(self, column: int, n: int) -> None:
        """A member has not answered ``n`` queries, or was not asked."""
        self.missed[column] += n

    def call(self) -> None:
        """A query has come, and no member has a worker."""
        self._has_called = True
        self._called.set()
        if self._called_s is None:
            self._called_s = monotonic()

    def take_call(self) -> bool:
        """Whether it has called since the last time."""
        has_called, self._has_called = self._has_called, False
        return has_called

    def note_workers(self) -> None:
        """A member has a worker."""
        if self._called_s is not None:
            self._start_s = monotonic() - self._called_s
            self._called_s = None

    @property
    def retry_after_s(self) -> int:
        """When workers may be there that are being started now."""
        passed_s = 0.0 if self._called_s is None else monotonic() - self._called_s
        return max(1, math.ceil(self._start_s - passed_s))
