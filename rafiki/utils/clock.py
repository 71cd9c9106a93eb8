"""The one clock. Datetimes are aware and in UTC everywhere in Rafiki."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


class Deadline:
    """A point in monotonic time that a wait must not pass."""

    __slots__ = ("_end_s", "duration_s")

    def __init__(self, duration_s: float) -> None:
        self.duration_s = duration_s
        self._end_s = time.monotonic() + duration_s

    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end_s - time.monotonic())

    def is_over(self) -> bool:
        return time.monotonic() >= self._end_s
