"""The stream of an inference job: who serves, and how much."""

from __future__ import annotations

import time
from collections import Counter

from rafiki.admin.context import AdminContext
from rafiki.admin.events import RELOOK_S, EventHub, Source, encode_event
from rafiki.admin.operation import bind_stream
from rafiki.admin.ops.inference_jobs import inference_job_view, running_job
from rafiki.cache.changes import Change
from rafiki.constants import ServiceStatus, ServiceType
from rafiki.contract.inference_jobs import (
    WATCH_INFERENCE_JOB,
    InferenceFigures,
    InferenceJobChanged,
    InferenceJobEnded,
    InferenceJobRequest,
    InferenceJobSnapshot,
    InferenceJobView,
    MemberFigures,
    MemberView,
)
from rafiki.entities import Service, Trial, User
from rafiki.messages import PredictorReport
from rafiki.states import INFERENCE_JOB_TRANSITIONS, SERVICE_TRANSITIONS, is_final
from rafiki.utils.histogram import quantile_s

_RELOOK_S = 2.0
"""A predictor that has died tells no more; so it is asked for."""


class InferenceJobSource(Source):
    """One stream of an inference job."""

    relook_s = _RELOOK_S

    def __init__(self, context: AdminContext, job_id: str) -> None:
        self.topic = job_id
        self._context = context
        self._trials: dict[str, Trial] = {}
        self._predictor_ids: list[str] = []
        self._looked_at = 0.0
        self._told_numbers: list[int] = []
        self._told: tuple[InferenceJobView, list[MemberView]] | None = None

    async def read(self, hub: EventHub, changes: frozenset[Change]) -> list[bytes]:
        events = []
        # The predictor wakes us every second: that is no look at all of it.
        if Change.JOB in changes or time.monotonic() - self._looked_at > RELOOK_S:
            self._looked_at = time.monotonic()
            job, members, self._predictor_ids = await hub.in_thread(self._look)
            if self._told is None:
                events.append(encode_event(InferenceJobSnapshot(job=job, members=members)))
            elif self._told != (job, members):
                events.append(encode_event(InferenceJobChanged(job=job, members=members)))
            self._told = job, members
            if is_final(INFERENCE_JOB_TRANSITIONS, job.status):
                self.is_over = True
                return [*events, encode_event(InferenceJobEnded(job=job))]
        if Change.FIGURES in changes:
            reports = await hub.read_predictor_reports(self.topic, self._predictor_ids)
            numbers = [r.no for r in reports]
            if numbers != self._told_numbers or not numbers:
                self._told_numbers = numbers
                events.append(encode_event(sum_up(reports)))
        return events

    def _look(self) -> tuple[InferenceJobView, list[MemberView], list[str]]:
        store = self._context.store
        record = store.inference_jobs.get_inference_job(self.topic)
        job = inference_job_view(self._context, record)
        services = store.services.list_services(self.topic)
        if record.front != record.id:
            # Its predictor has served another one before.
            services += [s for s in store.services.list_services(record.front) if s.service_type is ServiceType.PREDICT]
        members = [
            _member(self._trial(trial_id), weight, [s for s in services if s.unit_id == trial_id])
            for trial_id, weight in zip(job.trial_ids, job.weights, strict=True)
        ]
        predictors = [
            s.id
            for s in services
            if s.service_type is ServiceType.PREDICT and not is_final(SERVICE_TRANSITIONS, s.status)
        ]
        return job, members, predictors

    def _trial(self, trial_id: str) -> Trial:
        """A served trial; others may take the places of those of before."""
        if trial_id not in self._trials:
            self._trials[trial_id] = self._context.store.trials.get_trial(trial_id)
        return self._trials[trial_id]


def _member(trial: Trial, weight: float, services: list[Service]) -> MemberView:
    running = [s for s in services if s.status is ServiceStatus.RUNNING]
    starting = [s for s in services if s.status in (ServiceStatus.STARTED, ServiceStatus.DEPLOYING)]
    state = ServiceStatus.RUNNING if running else ServiceStatus.STARTED if starting else ServiceStatus.STOPPED
    ended = [s for s in services if s.datetime_stopped is not None]
    error = None if running or not ended else max(ended, key=lambda s: s.datetime_stopped or s.datetime_started).error
    return MemberView(
        trial_id=trial.id, model_name=trial.model_name, model_version=trial.model_version, no=trial.no,
        score=trial.score, weight=weight, state=state, workers=len(running), error=error,
    )  # fmt: skip


def sum_up(reports: list[PredictorReport]) -> InferenceFigures:
    """The figures of all predictors of a job together."""
    latencies: Counter[int] = Counter()
    waiting: Counter[str] = Counter()
    shed: Counter[str] = Counter()
    workers: dict[str, int] = {}
    for report in reports:
        latencies.update(report.latencies)
        for member in report.members:
            waiting[member.trial_id] += member.waiting
            shed[member.trial_id] += member.shed
            # All predictors see the same workers.
            workers[member.trial_id] = max(workers.get(member.trial_id, 0), member.workers)
    return InferenceFigures(
        predictors=len(reports),
        requests_per_s=sum(r.requests_per_s for r in reports),
        errors_per_s=sum(r.errors_per_s for r in reports),
        p50_ms=_ms(quantile_s(latencies, 0.5)),
        p95_ms=_ms(quantile_s(latencies, 0.95)),
        requests=sum(r.requests for r in reports),
        errors=sum(r.errors for r in reports),
        waiting=sum(waiting.values()),
        members=[MemberFigures(trial_id=t, workers=n, waiting=waiting[t], shed=shed[t]) for t, n in workers.items()],
        cache_hits=sum(r.cache_hits for r in reports),
        cache_misses=sum(r.cache_misses for r in reports),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)


def watch_inference_job(context: AdminContext, actor: User, request: InferenceJobRequest) -> InferenceJobSource:
    job = running_job(context, actor, request)
    return InferenceJobSource(context, job.id)


OPERATIONS = [
    bind_stream(WATCH_INFERENCE_JOB, watch_inference_job),
]
