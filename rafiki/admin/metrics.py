"""What the admin exports for Prometheus, read when somebody asks: ``/metrics`` and ``/metrics/targets``."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

import rafiki
from rafiki.admin.context import AdminContext
from rafiki.admin.ops.stack import find_problem
from rafiki.contract import metrics
from rafiki.contract.metrics_text import Family, write_metrics
from rafiki.errors import CacheUnavailableError, MetaStoreError, StoreFullError
from rafiki.meta_store.base import StatusCounts
from rafiki.utils.disk_space import free_bytes

_COUNTS_HOLD_S = 10.0
"""Counting all trials reads all of them: however often somebody asks, once in that time."""


class TargetGroup(msgspec.Struct, frozen=True):
    """Where metrics are, as Prometheus' discovery over HTTP takes it."""

    targets: list[str]
    labels: dict[str, str]


class AdminMetrics:
    """Of one admin. Safe to share between threads; whoever asks may wait for the database."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._counts: StatusCounts | None = None
        self._counted_at = 0.0

    def write(self, accept: str) -> tuple[bytes, str]:
        """The text, and its content type.

        Args:
            accept: the header of that name.
        """
        return write_metrics(self._families(), accept)

    def targets(self) -> list[TargetGroup]:
        """The predictors of all live inference jobs.

        Raises:
            MetaStoreError: the database does not answer.
        """
        # Versions behind one address are one target.
        found: dict[str, TargetGroup] = {}
        for job in self._context.store.inference_jobs.list_live_inference_jobs():
            if job.predictor_host is None:
                continue
            address = job.predictor_host
            url = urlsplit(address if "://" in address else f"http://{address}")
            labels = {"__scheme__": url.scheme, "app": job.app}
            found[url.netloc] = TargetGroup([url.netloc], labels)
        return list(found.values())

    def _families(self) -> Iterator[Family]:
        context, counters = self._context, self._context.counters
        info = (context.stack_id, rafiki.__version__)
        yield Family(metrics.ADMIN_INFO, [(info, 1)])
        yield Family(metrics.ADMIN_READY, [((), find_problem(context) is None)])
        parts = {**context.health.states(), "supervisor": not context.supervisor.find_errors()}
        yield Family(metrics.PART_UP, [((part,), is_up) for part, is_up in parts.items()])
        yield Family(metrics.CACHE_MEMORY, list(self._cache_memory(is_up=parts["cache"])))
        requests = [((call, str(status)), n) for (call, status), n in counters.requests()]
        yield Family(metrics.CALLS, requests)
        yield Family(metrics.CALL_DURATION, [((call,), durations) for call, durations in counters.durations()])
        yield Family(metrics.LOGINS, [((result,), n) for result, n in counters.logins().items()])
        yield from self._records()
        yield Family(metrics.WAITING_WORKERS, [((), sum(w.count for w in context.supervisor.waits.list_waits()))])
        yield Family(metrics.LOST_MEMBERS, [((), len(context.supervisor.losses.list_lost()))])
        yield Family(metrics.STARTS, [((kind,), n) for kind, n in counters.starts().items()])
        yield Family(metrics.RESTARTS, [((kind,), n) for kind, n in counters.restarts().items()])
        yield Family(metrics.LOOK_DURATION, [((result,), looks) for result, looks in counters.looks().items()])
        last_s = counters.last_look_s()
        yield Family(metrics.LAST_LOOK, [] if last_s is None else [((), last_s)])
        yield Family(metrics.DISK_FREE, [((str(folder),), free_bytes(folder)) for folder in context.disk.folders])
        yield Family(metrics.DISK_LEAST, [((), context.disk.min_free_mb << 20)])

    def _cache_memory(self, *, is_up: bool) -> Iterator[tuple[tuple[str, ...], float]]:
        """A cache that is known to be away is not waited for."""
        if is_up:
            with contextlib.suppress(CacheUnavailableError):
                yield (), self._context.supervisor.read_cache_memory()

    def _records(self) -> Iterator[Family]:
        """Nothing, where the database does not answer: old figures would look like those of now."""
        with contextlib.suppress(MetaStoreError, StoreFullError):
            counts = self._count()
            jobs = [
                ((kind, status), n)
                for kind, of_kind in (("train", counts.train_jobs), ("inference", counts.inference_jobs))
                for status, n in of_kind.items()
            ]
            yield Family(metrics.JOBS, jobs)
            yield Family(metrics.TRIALS, [((status,), n) for status, n in counts.trials.items()])
            services = [((kind, status), n) for (kind, status), n in counts.live_services.items()]
            yield Family(metrics.SERVICES, services)

    def _count(self) -> StatusCounts:
        with self._lock:
            now = time.monotonic()
            if self._counts is None or now - self._counted_at > _COUNTS_HOLD_S:
                self._counts, self._counted_at = self._context.store.count_statuses(), now
            return self._counts
