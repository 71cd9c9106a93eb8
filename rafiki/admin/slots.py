"""The services of one job by slot, and whether a slot may be filled (again)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta

import msgspec

from rafiki.admin.actions import SlotKey, StartService
from rafiki.admin.observed import Observed, ObservedService
from rafiki.admin.placement import ANYWHERE, Place, StartsLeft
from rafiki.constants import ServiceStatus, ServiceType
from rafiki.entities import InferenceJob, Service
from rafiki.environments.state import EnvironmentState, EnvironmentStatus

_STABLE = timedelta(seconds=60)
"""A service that ran for so long starts its count of failures anew."""


class JobServices(msgspec.Struct):
    """The services of one job that have not ended."""

    live: list[ObservedService] = []
    stopping: list[Service] = []


def services_by_job(observed: Observed) -> dict[str, JobServices]:
    """Those of all jobs, in one go."""
    found: defaultdict[str, JobServices] = defaultdict(JobServices)
    for seen in observed.services:
        found[seen.service.job_id].live.append(seen)
    for service in observed.stopping:
        found[service.job_id].stopping.append(service)
    return found


def services_behind(services: Mapping[str, JobServices], job: InferenceJob) -> JobServices:
    """Those of an inference job, and the predictor at whose address it answers."""
    own = services.get(job.id, JobServices())
    if job.front == job.id:
        return own
    front = services.get(job.front, JobServices())
    return JobServices(
        live=[*own.live, *(s for s in front.live if s.service.service_type is ServiceType.PREDICT)],
        stopping=[*own.stopping, *(s for s in front.stopping if s.service_type is ServiceType.PREDICT)],
    )


class Slots:
    """The services of one job by slot: the live one, and how often its predecessors failed in a row."""

    def __init__(
        self,
        observed: Observed,
        services: JobServices,
        ended: Iterable[Service],
        environments: Mapping[str, EnvironmentState],
        starts: StartsLeft,
    ) -> None:
        self._observed = observed
        self.starts = starts
        self._environments = environments
        self.live = {key_of(s.service): s for s in services.live}
        self.stopping = {key_of(s) for s in services.stopping}
        self.ended: dict[SlotKey, list[Service]] = {}
        for service in ended:
            self.ended.setdefault(key_of(service), []).append(service)

    def failures(self, key: SlotKey) -> int:
        """How often in a row the slot's services ended by themselves soon after their start."""
        count = 0
        for service in reversed(self.ended.get(key, [])):
            stopped = service.datetime_stopped
            if service.status is ServiceStatus.STOPPED and service.handle is None:
                # It never ran, for a reason that was none of its own.
                continue
            if service.status is not ServiceStatus.ERRORED or stopped is None:
                break
            if stopped - service.datetime_started > _STABLE:
                break
            count += 1
        return count

    def last_error(self, key: SlotKey) -> str:
        if (reason := self._unrunnable(key)) is not None:
            return reason
        ended = self.ended.get(key)
        return (ended[-1].error if ended else None) or "it ended"

    def _unrunnable(self, key: SlotKey) -> str | None:
        """Why no service of the slot can run at all."""
        state = self._environment(key)
        failed = state is not None and state.status is EnvironmentStatus.FAILED
        return state.reason if failed and state is not None else None

    def _environment(self, key: SlotKey) -> EnvironmentState | None:
        """What model code of the slot needs installed."""
        return self._environments.get(key[1]) if key[0] in (ServiceType.TRAIN, ServiceType.INFERENCE) else None

    def cannot_run(self, key: SlotKey) -> bool:
        """Whether a restart would only repeat the failure of the slot."""
        return self._unrunnable(key) is not None or self.has_failed_for_good(key)

    def has_failed_for_good(self, key: SlotKey) -> bool:
        """Whether the slot's last service said that the next one would fail in the same way."""
        ended = self.ended.get(key)
        return ended is not None and ended[-1].is_permanent

    def is_dead(self, key: SlotKey) -> bool:
        """Whether the slot is not started any more."""
        if key in self.live or key in self.stopping:
            return False
        return self.cannot_run(key) or self.failures(key) > self._observed.max_restarts

    def may_start(self, key: SlotKey) -> bool:
        """Whether the slot is empty, alive and past its back-off delay."""
        if key in self.live or key in self.stopping or self.is_dead(key):
            return False
        if (state := self._environment(key)) is not None and state.status is EnvironmentStatus.BUILDING:
            return False
        n_failures = self.failures(key)
        stopped = self.ended[key][-1].datetime_stopped if n_failures else None
        # The first restart comes at once: most ends are single accidents.
        if n_failures <= 1 or stopped is None:
            return True
        delay_s = self._observed.restart_delay_s * 2.0 ** (n_failures - 2)
        return self._observed.now >= stopped + timedelta(seconds=delay_s)

    def start(self, key: SlotKey, job_id: str, place: Place = ANYWHERE) -> StartService:
        self.starts.take()
        attempt = max((s.attempt for s in self.ended.get(key, [])), default=0) + 1
        return StartService(
            service_type=key[0], job_id=job_id, unit_id=key[1], slot=key[2], attempt=attempt, gpus=place.gpus,
            host=place.host,
        )  # fmt: skip

    def is_running(self, key: SlotKey) -> bool:
        seen = self.live.get(key)
        return seen is not None and seen.exit is None and seen.report is not None and seen.report.state == "running"


def key_of(service: Service) -> SlotKey:
    return (service.service_type, service.unit_id, service.slot)
