"""Notes that something of a job has changed. They say where to look: what has changed is in the meta store.

Whoever writes something publishes a note after it; the admin listens while somebody watches, and reads. So a note that
is lost, comes twice or comes from model code does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, cast

import msgspec

from rafiki.cache.connection import SOCKET_TIMEOUT_S, cache_errors, connect, connect_async
from rafiki.cache.credentials import ROOT_PREFIX, job_prefix
from rafiki.messages import CacheAddress, PredictorReport
from rafiki.utils.histogram import N_BUCKETS

CHANGES_CHANNEL_PATTERN = f"{ROOT_PREFIX}*:changes"
_MOST_WAIT_S = 20.0


class Change(StrEnum):
    """What of a job has changed."""

    JOB = "job"
    TRIALS = "trials"
    LOGS = "logs"
    FIGURES = "figures"


def changes_channel(prefix: str) -> str:
    """Where notes about one job are published."""
    return f"{prefix}changes"


def predictor_report_key(prefix: str, service_id: str) -> str:
    """Where a predictor reports how much it serves."""
    return f"{prefix}figures:{service_id}"


class RedisChanges:
    """The notes about all jobs, seen from the admin's event loop.

    Methods raise CacheUnavailableError when the cache cannot be reached.
    """

    def __init__(self, admin: CacheAddress) -> None:
        self._address = admin
        self._client = connect_async(admin, socket_timeout_s=_MOST_WAIT_S + SOCKET_TIMEOUT_S)
        self._channel: Any = None

    async def open(self) -> None:
        """Begin to listen: notes from now on arrive."""
        await self.close_channel()
        with cache_errors(self._address):
            self._channel = self._client.pubsub(ignore_subscribe_messages=True)
            await self._channel.psubscribe(CHANGES_CHANNEL_PATTERN)

    async def take(self, timeout_s: float) -> tuple[str, Change] | None:
        """The next note, as the job's id and what of it has changed; None when the timeout passes."""
        with cache_errors(self._address):
            message = await self._channel.get_message(timeout=min(timeout_s, _MOST_WAIT_S))
        if message is None:
            return None
        try:
            job_id = message["channel"].decode().removeprefix(ROOT_PREFIX).rpartition(":")[0]
            return job_id, Change(message["data"].decode())
        except ValueError:
            # Model code can write here.
            return None

    async def read_predictor_reports(self, job_id: str, service_ids: Iterable[str]) -> list[PredictorReport]:
        """The last reports of a job's predictors, without those that are too old."""
        keys = [predictor_report_key(job_prefix(job_id), i) for i in service_ids]
        if not keys:
            return []
        with cache_errors(self._address):
            return decode_reports(await cast(Any, self._client.mget(keys)))

    async def close_channel(self) -> None:
        if self._channel is not None:
            await self._channel.aclose()
            self._channel = None

    async def close(self) -> None:
        await self.close_channel()
        await self._client.aclose()


def read_predictor_reports(admin: CacheAddress, services: Iterable[tuple[str, str]]) -> dict[str, PredictorReport]:
    """The last reports of predictors, by service id, for (job id, service id) pairs.

    Raises:
        CacheUnavailableError: when the cache cannot be reached.
    """
    wanted = list(services)
    found = zip(wanted, read_version_reports(admin, wanted), strict=True)
    return {service_id: report for (_, service_id), report in found if report is not None}


def read_version_reports(admin: CacheAddress, services: Iterable[tuple[str, str]]) -> list[PredictorReport | None]:
    """What predictors reported last of single inference jobs, for (job id, service id) pairs; None = nothing.

    Raises:
        CacheUnavailableError: when the cache cannot be reached.
    """
    keys = [predictor_report_key(job_prefix(job_id), service_id) for job_id, service_id in services]
    if not keys:
        return []
    with cache_errors(admin), connect(admin) as client:
        found = cast("list[bytes | None]", client.mget(keys))
    return [next(iter(decode_reports([data])), None) for data in found]


def decode_reports(found: Iterable[bytes | None]) -> list[PredictorReport]:
    """Those that are there and can be read: model code can write here too."""
    reports = []
    for data in found:
        try:
            report = msgspec.json.decode(data, type=PredictorReport) if data else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if report is not None and _can_be(report):
            reports.append(report)
    return reports


_MOST = 1e12


def _can_be(report: PredictorReport) -> bool:
    """Whether the numbers of a report are such that others can be added to them."""
    in_range = all(0 <= n <= _MOST for n in _numbers(msgspec.to_builtins(report)))
    return in_range and all(0 <= b < N_BUCKETS for b in report.latencies)


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, (int, float)):
        yield value
