"""The thread with which a service reports that it runs."""

from __future__ import annotations

import threading

from rafiki.cache.reports import RedisReports
from rafiki.errors import CacheUnavailableError
from rafiki.messages import CacheAddress

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
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self, *, serves_trial: str | None = None) -> None:
        """Announce the service, which wakes the admin, and go on beating.

        Args:
            serves_trial: the trial whose queries it answers: each beat announces it to the predictor.
        """
        self._serves_trial = serves_trial
        self._thread.start()

    def _run(self) -> None:
        announced = False
        while not self._stopped.is_set():
            try:
                if self._serves_trial is not None:
                    self._reports.serve(self._serves_trial, self._service_id, self._lifetime_s)
                if announced:
                    self._reports.beat(self._service_id, self._lifetime_s)
                else:
                    self._reports.announce(self._service_id, self._lifetime_s)
                    announced = True
            except CacheUnavailableError:
                # A restarted cache has forgotten us: announce again.
                announced = False
            self._stopped.wait(self._interval_s if announced else min(0.5, self._interval_s))

    def stop(self) -> None:
        """End the beats, and take back that the trial is served. One that never began is no error."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
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
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
        reports = RedisReports(self._address)
        try:
            reports.fail(self._service_id, reason, is_permanent=is_permanent)
        except CacheUnavailableError:
            # The log holds the reason too.
            return
        finally:
            reports.close()
