"""Autoscalers of the live deployments that have them: fed at each look, and told of by whoever asks."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from rafiki.admin.actions import Plan
from rafiki.admin.autoscaler import Autoscaler, Change, LoadMeter
from rafiki.admin.observed import ObservedInferenceJob, ObservedService
from rafiki.constants import InferenceJobStatus, ServiceType, ServingRole
from rafiki.deployment import LATE_TARGET, Replicas
from rafiki.entities import InferenceJob
from rafiki.messages import MemberReport, PredictorReport
from rafiki.utils.timing import SYSTEM, Timing

_logger = logging.getLogger(__name__)

MOST_CHANGES = 20
"""Of one deployment that are kept to be told."""


class ScalingChange(msgspec.Struct, frozen=True, kw_only=True):
    """Another number of workers was wanted."""

    at: datetime
    trial_id: str
    label: str
    """``wine#4``"""
    change: Change


class ScaledMember(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of one member now."""

    trial_id: str
    label: str
    wanted: int
    reason: str
    start_s: float | None
    """How long a start of its workers takes; None = none was seen yet."""


class ScaledJob(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment, as it was last decided."""

    members: list[ScaledMember]
    changes: list[ScalingChange]
    """The last ones, oldest first."""


class _Member:
    """One member of a deployment."""

    def __init__(self, scaler: Autoscaler, label: str) -> None:
        self.scaler, self.label = scaler, label
        self.meter = LoadMeter()
        self.starting: set[str] = set()
        """Its workers that were seen before they began to answer."""

    def note_starts(self, workers: Iterable[ObservedService], now: datetime) -> tuple[int, int]:
        """How many answer, and how many are about to; starts that have ended are learned from."""
        running, starting = 0, set()
        for seen in workers:
            if seen.report is None or seen.report.state != "running":
                starting.add(seen.service.id)
                continue
            running += 1
            if seen.service.id in self.starting:
                self.scaler.note_start((now - seen.service.datetime_started).total_seconds())
        self.starting = starting
        return running, len(starting)


class Scaling:
    """Written by the supervisor's thread alone; each look puts new tables in the place of the old ones."""

    def __init__(
        self, *, deadline_s: float, note_job: Callable[[str], None], timing: Timing = SYSTEM
    ) -> None:  # fmt: skip
        """
        Args:
            deadline_s: of queries to a deployment without a latency budget.
            note_job: called with the id of a job for which something was decided.
        """
        self._deadline_s = deadline_s
        self._note_job = note_job
        self._timing = timing
        self._members: dict[tuple[str, str], _Member] = {}
        self._changes: dict[str, deque[ScalingChange]] = {}
        self._told: dict[str, ScaledJob] = {}

    # ---- from any thread

    def find(self, job_id: str) -> ScaledJob | None:
        """What was decided for a job; None when nothing is, or not yet."""
        return self._told.get(job_id)

    # ---- the supervisor's

    def look(
        self,
        jobs: Sequence[ObservedInferenceJob],
        services: Sequence[ObservedService],
    ) -> list[ObservedInferenceJob]:
        """The jobs, with how many workers each of their members should have.

        Args:
            jobs: those of which the load decides with what their predictors report.
            services: the live ones of all jobs.
        """
        scaled = [(seen, limits) for seen in jobs if (limits := _limits_of(seen.job)) is not None]
        if not scaled:
            self._forget_all_but({})
            return list(jobs)
        live = [s for s in services if s.exit is None]
        predictors = {s.service.job_id: s.service.id for s in live if s.service.service_type is ServiceType.PREDICT}
        workers: dict[tuple[str, str], list[ObservedService]] = {}
        for s in live:
            if s.service.service_type is ServiceType.INFERENCE:
                workers.setdefault((s.service.job_id, s.service.unit_id), []).append(s)
        wanted: dict[str, dict[str, int]] = {}
        for seen, limits in scaled:
            of_job = wanted[seen.job.id] = {}
            told = _told_by(predictors.get(seen.job.front, ""), seen.report)
            for trial_id in seen.trial_ids:
                found = workers.get((seen.job.id, trial_id), [])
                of_job[trial_id] = self._decide(seen, limits, trial_id, found, told.get(trial_id, []))
        self._forget_all_but({seen.job.id: set(seen.trial_ids) for seen, _ in scaled})
        self._tell(seen.job.id for seen, _ in scaled)
        return [msgspec.structs.replace(seen, wanted=wanted.get(seen.job.id, {})) for seen in jobs]

    def note_plan(self, plan: Plan) -> None:
        """Workers that cannot be placed, or that do not begin, are not asked for again at once."""
        if not self._members:
            return
        missing = [(w.job_id, w.unit_id, w.of - w.count, w.reason) for w in plan.waits]
        missing += [(m.job_id, m.trial_id, m.of - m.count, m.reason) for m in plan.lost]
        for job_id, trial_id, there, reason in missing:
            if (member := self._members.get((job_id, trial_id))) is not None:
                change = member.scaler.note_obstacle(there, reason, self._timing.monotonic_s())
                self._note(job_id, trial_id, member, change)

    def _decide(
        self,
        seen: ObservedInferenceJob,
        limits: Replicas,
        trial_id: str,
        workers: Sequence[ObservedService],
        reports: Sequence[tuple[str, float, MemberReport]],
    ) -> int:
        now_s, job = self._timing.monotonic_s(), seen.job
        member = self._members.get((job.id, trial_id))
        if member is None:
            budget_ms = job.deployment.latency_budget_ms
            budget_s = budget_ms / 1000 if budget_ms else self._deadline_s
            late = job.deployment.late_target or LATE_TARGET
            scaler = Autoscaler(limits, budget_s, _first_number(job, limits, len(workers)), now_s, late)
            member = self._members[job.id, trial_id] = _Member(scaler, seen.labels.get(trial_id, trial_id))
        self._note(job.id, trial_id, member, member.scaler.set_limits(limits, now_s))
        running, starting = member.note_starts(workers, self._timing.now())
        load = member.meter.read(reports)
        # It is seen to work first; and stays as it is when it goes.
        if job.status is InferenceJobStatus.RUNNING and job.role is not ServingRole.LEAVING:
            self._note(job.id, trial_id, member, member.scaler.decide(now_s, load, running, starting))
        return member.scaler.wanted

    def _note(self, job_id: str, trial_id: str, member: _Member, change: Change | None) -> None:
        if change is None:
            return
        _logger.info(
            "replicas of %s: %s -> %s: %s", member.label, change.before, change.after, change.reason,
            extra={"job": job_id},
        )  # fmt: skip
        noted = ScalingChange(at=self._timing.now(), trial_id=trial_id, label=member.label, change=change)
        self._changes.setdefault(job_id, deque(maxlen=MOST_CHANGES)).append(noted)
        self._note_job(job_id)

    def _tell(self, job_ids: Iterable[str]) -> None:
        members: dict[str, list[ScaledMember]] = {job_id: [] for job_id in job_ids}
        for (job_id, trial_id), member in self._members.items():
            scaler = member.scaler
            members[job_id].append(
                ScaledMember(
                    trial_id=trial_id, label=member.label, wanted=scaler.wanted, reason=scaler.reason,
                    start_s=scaler.start_s,
                )
            )  # fmt: skip
        self._told = {
            job_id: ScaledJob(members=of_job, changes=list(self._changes.get(job_id, ())))
            for job_id, of_job in members.items()
        }

    def _forget_all_but(self, trial_ids: Mapping[str, set[str]]) -> None:
        """What is known of members is kept as long as they serve, by job."""
        if any(trial_id not in trial_ids.get(job_id, ()) for job_id, trial_id in self._members):
            self._members = {k: m for k, m in self._members.items() if k[1] in trial_ids.get(k[0], ())}
            self._changes = {job_id: changes for job_id, changes in self._changes.items() if job_id in trial_ids}
            self._told = {job_id: told for job_id, told in self._told.items() if job_id in trial_ids}


def _limits_of(job: InferenceJob) -> Replicas | None:
    """Those between which the load decides; None = it does not."""
    limits = job.deployment.replicas
    if limits is None or job.role is not ServingRole.CANDIDATE:
        return limits
    # Nobody would wake a version that is only tried: it is given no requests while it has no worker.
    return msgspec.structs.replace(limits, min=limits.floor)


def _told_by(predictor_id: str, report: PredictorReport | None) -> dict[str, list[tuple[str, float, MemberReport]]]:
    """What a predictor counts of each member."""
    if report is None:
        return {}
    return {member.trial_id: [(predictor_id, report.uptime_s, member)] for member in report.members}


def _first_number(job: InferenceJob, limits: Replicas, there: int) -> int:
    """How many workers are wanted at first: as many as there are, after a restart of the admin; none, if it slept."""
    if job.status is InferenceJobStatus.STARTED:
        return limits.floor
    low = limits.floor if there else limits.min
    return max(low, min(there, limits.max))
