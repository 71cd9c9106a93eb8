"""The thread with which a service reports that it runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Literal

from rafiki.cache.reports import RedisReports
from rafiki.errors import CacheUnavailableError
from rafiki.messages import CacheAddress
from rafiki.utils.own_usage import UsageMeter

_LIFETIME_BEATS = 4
"""A service counts as alive for this many intervals after a beat."""


class Heartbeat:
    """Beats every ``interval_s`` from a daemon thread; a cache that is away is no error, the next beat tries again."""

    def __init__(self, address: CacheAddress, service_id: str, interval_s: float) -> None:
        self._reports = RedisReports(address)
        self._address = address
        self._service_id = service_id
        self._serves_trial: str | None = None
        self._interval_s = interval_s
        self._lifetime_s = interval_s * _LIFETIME_BEATS
        self._state: Literal["preparing", "starting", "running"] = "starting"
        self._stopped = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """Beat meanwhile, as a service that waits for what it works on: its time to start does not count."""
        self._be("preparing")
        try:
            yield
        finally:
            self._be("starting")

    def start(self, *, serves_trial: str | None = None) -> None:
        """Announce the service, which wakes the admin, and go on beating.

        Args:
            serves_trial: the trial whose queries it answers: each beat announces it to the predictor.
        """
        self._serves_trial = serves_trial
        self._be("running")

    def _be(self, state: Literal["preparing", "starting", "running"]) -> None:
        self._state = state
        self._due.set()
        if self._thread.ident is None:
            self._thread.start()

    def _run(self) -> None:
        meter = UsageMeter()
        announced: str | None = None
        while not self._stopped.is_set():
            self._due.clear()
            state = self._state
            try:
                if self._serves_trial is not None:
                    self._reports.serve(self._serves_trial, self._service_id, self._lifetime_s)
                memory_bytes, cores = meter.read()
                self._reports.beat(
                    self._service_id, self._lifetime_s, state=state, memory_bytes=memory_bytes, cores=cores
                )
                if announced != state:
                    self._reports.wake_admin(self._service_id)
                    announced = state
            except (CacheUnavailableError, OSError):
                # A restarted cache has forgotten us: announce again. Nor does a full disk end the beats.
                announced = None
            self._due.wait(self._interval_s if announced is not None else min(0.5, self._interval_s))

    def stop(self) -> None:
        """End the beats, and take back that the trial is served. One that never began is no error."""
        self._end_thread()
        if self._serves_trial is not None:
            reports = RedisReports(self._address)
            try:
                reports.unserve(self._serves_trial, self._service_id)
            except CacheUnavailableError:
                return
            finally:
                reports.close()

    def fail(self, reason: str, *, is_permanent: bool = False) -> None:
        """End the beats and leave the reason for which the service ends."""
        self._end_thread()
        reports = RedisReports(self._address)
        try:
            reports.fail(self._service_id, reason, is_permanent=is_permanent)
        except CacheUnavailableError:
            # The log holds the reason too.
            return
        finally:
            reports.close()

    def _end_thread(self) -> None:
        self._stopped.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
