"""The admin's hand on the cache: keeps the private server running, and every live job's credential in it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

import redis

from rafiki.cache.changes import read_predictor_reports
from rafiki.cache.connection import connect
from rafiki.cache.credentials import Credentials
from rafiki.cache.pulse import Pulse
from rafiki.cache.rehearsal import rehearse
from rafiki.cache.reports import REPORTS_CHANNEL_PATTERN, RedisReportReader, RedisReports
from rafiki.cache.server import CacheServer
from rafiki.cache.train import RedisTrainCache
from rafiki.errors import CacheUnavailableError, RafikiError
from rafiki.messages import CacheAddress, PredictorReport, ServiceReport, TrainEvent
from rafiki.utils.ids import derive_secret
from rafiki.utils.process import Backoff

_logger = logging.getLogger(__name__)


class CacheKeeper:
    """Used by the supervisor's thread; :meth:`on_report` starts one of its own."""

    def __init__(self, address: CacheAddress, server: CacheServer | None, job_key: str) -> None:
        self.address = address
        self._server = server
        self._reader = RedisReportReader(address)
        self._lock = threading.Lock()
        self._granted: set[str] = set()
        self._run_id: str | None = None
        self._closed = threading.Event()
        self._is_doubtful = threading.Event()
        self.credentials = Credentials(address, job_key)
        self._pulse = Pulse(address, self.credentials, derive_secret(job_key, "stack")[:12])

    def ensure(self, live_job_ids: Iterable[str]) -> None:
        """Start the private server again if it died; give and take back credentials as jobs come and go.

        Raises:
            CacheUnavailableError, StackError: when there is no cache.
            CacheUnfitError: when a job could not work with it.
        """
        if self._server is not None and not self._server.is_alive():
            if self._run_id is not None:
                _logger.warning("cache: the server has ended; starting it again")
            self._server.ensure()
        run_id = self._reader.run_id()
        if run_id != self._run_id or self._is_doubtful.is_set():
            self._is_doubtful.clear()
            self.rehearse()
            # A new server knows none of the jobs' users.
            self._granted.clear()
            self._run_id = run_id
        if new := set(live_job_ids) - self._granted:
            self.credentials.grant_all(new)
            self._granted |= new

    def rehearse(self) -> None:
        """Do at the cache, with a credential of a job, what the services of jobs do.

        Raises:
            CacheUnavailableError: when the cache cannot be reached, or does not work now.
            CacheUnfitError: when a job never could work with it.
        """
        facts = rehearse(self.address, self.credentials)
        self._pulse.begin()
        self._run_id = facts.run_id
        _logger.info("cache: %s %s at %s:%s", facts.name, facts.version, self.address.host, self.address.port)
        if facts.warning is not None:
            _logger.warning("cache: %s", facts.warning)

    def check(self) -> None:
        """Whether the cache works now. From any thread.

        Raises:
            CacheUnavailableError: when it does not, with the reason.
        """
        try:
            self._pulse.take()
        except CacheUnavailableError as e:
            if isinstance(e.__cause__, redis.AuthenticationError):
                # Somebody may have made it forget its users: make them again.
                self._is_doubtful.set()
            raise

    def grant(self, job_id: str) -> None:
        """Make the job's credential known to the server."""
        if job_id not in self._granted:
            self.credentials.grant(job_id)
            self._granted.add(job_id)

    def revoke_all_but(self, live_job_ids: Iterable[str]) -> None:
        """Take back the credentials of jobs that have ended, with all their keys."""
        if ended := self._granted - set(live_job_ids):
            self.credentials.revoke_all(ended)
            self._granted -= ended

    def read_reports(self, services: Iterable[tuple[str, str]]) -> dict[str, ServiceReport]:
        """Reports by service id, for (job id, service id) pairs."""
        return self._reader.read(services)

    def read_predictor_reports(self, services: Iterable[tuple[str, str]]) -> dict[str, PredictorReport]:
        """What predictors told last, by service id, for (job id, service id) pairs."""
        return read_predictor_reports(self.address, services)

    def read_version_reports(self, services: Iterable[tuple[str, str]]) -> list[PredictorReport | None]:
        """What predictors told last of single inference jobs, for (job id, service id) pairs. For the supervisor's
        thread."""
        return self._reader.read_versions(services)

    def read_memory_bytes(self) -> int:
        """What the server holds in memory.

        Raises:
            CacheUnavailableError: when it cannot be asked.
        """
        return self._reader.memory_bytes()

    def send_train_event(self, job_id: str, sub_train_job_id: str, *events: TrainEvent) -> None:
        """Tell an advisor something."""
        cache = RedisTrainCache(self.credentials.address_of(job_id), sub_train_job_id)
        try:
            for event in events:
                cache.send_event(event)
        finally:
            cache.close()

    def unserve(self, job_id: str, trial_id: str, service_id: str) -> None:
        """Say in the place of an inference worker that is gone that it serves no more."""
        reports = RedisReports(self.credentials.address_of(job_id))
        try:
            reports.unserve(trial_id, service_id)
        finally:
            reports.close()

    def on_report(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` from a thread whenever a service reports for the first time, or fails."""
        threading.Thread(target=self._listen, args=(callback,), name="reports", daemon=True).start()

    def _listen(self, callback: Callable[[], None]) -> None:
        backoff = Backoff()
        while not self._closed.is_set():
            # Health checks notice a server that is gone; the wait itself has no end.
            client = connect(self.address, socket_timeout_s=30.0)
            try:
                with client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                    channel.psubscribe(REPORTS_CHANNEL_PATTERN)
                    backoff.reset()
                    # What was reported before we listened.
                    callback()
                    while not self._closed.is_set():
                        if channel.get_message(timeout=20.0) is not None:
                            callback()
            except (redis.RedisError, OSError, RafikiError):
                callback()
                self._closed.wait(backoff.next_s())
            finally:
                client.close()

    def let_go(self) -> None:
        """Leave the server, and all that is in it, to the next admin."""
        self._closed.set()

    def shut_down(self) -> None:
        """End the private server; a server of somebody else's goes on, without our keys."""
        self._closed.set()
        if self._server is not None:
            self._server.stop()
            return
        try:
            self.revoke_all_but([])
            self._pulse.end()
        except CacheUnavailableError as e:
            _logger.warning("cache: keys of this stack may be left: %s", e.message)
