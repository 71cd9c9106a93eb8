"""What the admin counts of itself since its start, for whoever watches it. Safe to share between threads."""

from __future__ import annotations

import threading
from collections import Counter

from rafiki.constants import ServiceType
from rafiki.utils.bounded_histogram import SECONDS, BoundedHistogram

OTHER = "other"
"""Requests that are for none of the calls."""


class AdminCounters:
    """Keys have few values: names of calls and of errors, HTTP statuses, types of services."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations: dict[str, BoundedHistogram] = {}
        self._logins: Counter[str] = Counter()
        self._starts: Counter[ServiceType] = Counter()
        self._restarts: Counter[ServiceType] = Counter()
        self._looks = {result: BoundedHistogram(SECONDS) for result in ("ok", "failed")}
        self._last_look_s: float | None = None

    def add_request(self, call: str, status: int, took_s: float | None) -> None:
        """
        Args:
            call: the name of its endpoint, or :data:`OTHER`.
            took_s: None = its length says nothing.
        """
        with self._lock:
            self._requests[call, status] += 1
            if took_s is not None:
                self._durations.setdefault(call, BoundedHistogram(SECONDS)).add(took_s)

    def add_login(self, result: str) -> None:
        """
        Args:
            result: ``ok``, or the code of the error that refused it.
        """
        with self._lock:
            self._logins[result] += 1

    def add_start(self, service_type: ServiceType, *, is_again: bool) -> None:
        with self._lock:
            self._starts[service_type] += 1
            self._restarts[service_type] += is_again

    def add_look(self, took_s: float, now_s: float, *, has_failed: bool) -> None:
        """
        Args:
            now_s: when it ended, in Unix time.
        """
        with self._lock:
            self._looks["failed" if has_failed else "ok"].add(took_s)
            self._last_look_s = now_s

    # ---- for whoever exports them

    def requests(self) -> list[tuple[tuple[str, int], int]]:
        with self._lock:
            return sorted(self._requests.items())

    def durations(self) -> list[tuple[str, BoundedHistogram]]:
        with self._lock:
            return sorted(self._durations.items())

    def logins(self) -> dict[str, int]:
        with self._lock:
            return {"ok": 0, **self._logins}

    def starts(self) -> dict[ServiceType, int]:
        with self._lock:
            return {kind: self._starts[kind] for kind in ServiceType}

    def restarts(self) -> dict[ServiceType, int]:
        with self._lock:
            return {kind: self._restarts[kind] for kind in ServiceType}

    def looks(self) -> dict[str, BoundedHistogram]:
        return self._looks

    def last_look_s(self) -> float | None:
        return self._last_look_s
