"""Heartbeats: what every service last reported, under a key that expires; and a call that wakes the admin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

import msgspec

from rafiki import __version__
from rafiki.cache.changes import decode_reports, predictor_report_key
from rafiki.cache.connection import cache_errors, connect, in_ms
from rafiki.cache.credentials import ROOT_PREFIX, job_prefix
from rafiki.messages import PROTOCOL, CacheAddress, PredictorReport, ServiceReport

REPORTS_CHANNEL_PATTERN = f"{ROOT_PREFIX}*:reports"


def reports_channel(prefix: str) -> str:
    """Where the services of one job announce themselves."""
    return f"{prefix}reports"


HAD_WORKERS = "ended"
"""In the hash of a served trial: not a worker, but that there was one."""
_FAILED_KEPT_S = 3600
_READER_TIMEOUT_S = 2.5


def _key(prefix: str, service_id: str) -> str:
    return f"{prefix}report:{service_id}"


def serving_key(prefix: str, trial_id: str) -> str:
    """A hash: id of an inference worker -> until when (Unix ms, of the cache) it counts as answering queries to
    the trial."""
    return f"{prefix}serving:{trial_id}"


class RedisReports:
    """Reports of the services of one job, seen from inside the job. One object a thread."""

    def __init__(self, address: CacheAddress) -> None:
        self._address = address
        self._client = connect(address)

    def beat(
        self,
        service_id: str,
        lifetime_s: float,
        *,
        state: Literal["preparing", "starting", "running"] = "running",
        memory_bytes: int | None = None,
        cores: float | None = None,
    ) -> None:
        """Report how the service stands, and what it uses; counts for ``lifetime_s``."""
        report = ServiceReport(
            state=state, version=__version__, protocol=PROTOCOL, memory_bytes=memory_bytes, cores=cores
        )
        data = msgspec.json.encode(report)
        with cache_errors(self._address):
            self._client.set(_key(self._address.prefix, service_id), data, px=max(1, int(lifetime_s * 1000)))

    def announce(self, service_id: str, lifetime_s: float) -> None:
        """The first beat: it also wakes the admin."""
        self.beat(service_id, lifetime_s)
        self.wake_admin(service_id)

    def wake_admin(self, service_id: str) -> None:
        """Say that the service has something new to tell."""
        with cache_errors(self._address):
            self._client.publish(reports_channel(self._address.prefix), service_id)

    def fail(self, service_id: str, reason: str, *, is_permanent: bool) -> None:
        """Leave the reason for which the service ends."""
        report = ServiceReport(
            state="failed", reason=reason, is_permanent=is_permanent, version=__version__, protocol=PROTOCOL
        )
        data = msgspec.json.encode(report)
        with cache_errors(self._address):
            self._client.set(_key(self._address.prefix, service_id), data, ex=_FAILED_KEPT_S)
            self._client.publish(reports_channel(self._address.prefix), service_id)

    def serve(self, trial_id: str, service_id: str, lifetime_s: float) -> None:
        """Report that this inference worker answers queries to a trial; counts for ``lifetime_s``."""
        key = serving_key(self._address.prefix, trial_id)
        with cache_errors(self._address):
            now = in_ms(self._client.time())
            self._client.hset(key, service_id, str(now + int(lifetime_s * 1000)))

    def unserve(self, trial_id: str, service_id: str) -> None:
        """Take :meth:`serve` back, which wakes the predictor. It then knows, too, that there was a worker: one that
        could not load its trial is not waited for."""
        key = serving_key(self._address.prefix, trial_id)
        with cache_errors(self._address):
            self._client.hdel(key, service_id)
            self._client.hset(key, HAD_WORKERS, "0")
            self._client.publish(reports_channel(self._address.prefix), service_id)

    def are_alive(self, service_ids: Iterable[str]) -> set[str]:
        """Those of the services whose last report, that they run, still counts."""
        wanted = list(service_ids)
        if not wanted:
            return set()
        with cache_errors(self._address):
            found = cast("list[bytes | None]", self._client.mget([_key(self._address.prefix, i) for i in wanted]))
        reports = {i: _decode(data) for i, data in zip(wanted, found, strict=True) if data}
        return {i for i, report in reports.items() if report is not None and report.state == "running"}

    def close(self) -> None:
        self._client.close()


def _decode(data: bytes) -> ServiceReport | None:
    try:
        return msgspec.json.decode(data, type=ServiceReport)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Model code can write here: it may silence its own service, and nobody else's.
        return None


class RedisReportReader:
    """The admin's view of the reports of all jobs."""

    def __init__(self, admin: CacheAddress) -> None:
        self._address = admin
        # The supervisor must not be held up for long by a cache that hangs.
        self._client = connect(admin, socket_timeout_s=_READER_TIMEOUT_S)

    def read(self, services: Iterable[tuple[str, str]]) -> dict[str, ServiceReport]:
        """Reports by service id, for (job id, service id) pairs; those that have none are left out."""
        wanted = list(services)
        if not wanted:
            return {}
        keys = [_key(job_prefix(job_id), service_id) for job_id, service_id in wanted]
        with cache_errors(self._address):
            found = cast("list[bytes | None]", self._client.mget(keys))
        return {
            service_id: report
            for (_, service_id), data in zip(wanted, found, strict=True)
            if data and (report := _decode(data)) is not None
        }

    def read_versions(self, services: Iterable[tuple[str, str]]) -> list[PredictorReport | None]:
        """What predictors told last of single inference jobs, for (job id, service id) pairs; None = nothing."""
        keys = [predictor_report_key(job_prefix(job_id), service_id) for job_id, service_id in services]
        if not keys:
            return []
        with cache_errors(self._address):
            found = cast("list[bytes | None]", self._client.mget(keys))
        return [next(iter(decode_reports([data])), None) for data in found]

    def run_id(self) -> str:
        """Changes when the server was restarted (and so lost its users and data)."""
        with cache_errors(self._address):
            return str(self._client.info("server")["run_id"])

    def memory_bytes(self) -> int:
        """What the server holds in memory."""
        with cache_errors(self._address):
            return int(self._client.info("memory")["used_memory"])

    def close(self) -> None:
        self._client.close()
