"""What is to be done for one inference job. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import msgspec

from rafiki.admin.actions import (
    Action,
    LostMember,
    ReplaceMembers,
    SetInferenceJobStatus,
    SlotKey,
    StopService,
    Wait,
)
from rafiki.admin.gpus import share_gpus
from rafiki.admin.observed import Observed, ObservedInferenceJob
from rafiki.admin.placement import Placement, Worker
from rafiki.admin.replicas import Replica, choose_replicas
from rafiki.admin.slots import JobServices, Slots
from rafiki.budget import seats_of_gpu
from rafiki.constants import InferenceJobStatus, ServiceType, ServingRole
from rafiki.messages import drain_s

_DRAIN_MARGIN_S = 5.0
"""A predictor reports once a second that it has nothing in hand any more; after this one that does not is not asked."""


def plan_inference_job(
    observed: Observed,
    seen: ObservedInferenceJob,
    services: JobServices,
    placement: Placement,
    waits: list[Wait],
    lost: list[LostMember],
    unready: set[str],
) -> list[Action]:
    """The actions.

    Args:
        services: those of the job, and the predictor behind its address.
        waits, lost: what has to wait, and members that do not serve any more, are added.
        unready: the job is added while its new members are not ready to take the places of those of before.
    """
    job = seen.job
    actions: list[Action] = []
    slots = Slots(observed, services, seen.ended, seen.environments, placement.starts)
    if job.datetime_stop_requested is not None:
        if job.role is ServingRole.CANDIDATE and any(r.rollout.to_job_id == job.id for r in observed.rollouts):
            # Its update ends first: then it leaves, and answers what it has in hand.
            return []
        if _is_draining(observed, seen):
            return []
        # Its services end at the next look, the predictor first.
        return [SetInferenceJobStatus(job=job, status=InferenceJobStatus.STOPPED)]
    budget = job.budget
    predictor: SlotKey = (ServiceType.PREDICT, job.front, 0)
    shares = share_gpus(budget.gpu_seats, len(seen.trial_ids))
    chosen = [choose_replicas(seen, slots, placement, trial_id) for trial_id in seen.trial_ids]
    members = [c.kept for c in chosen]
    damaged = _find_damaged(seen, members)
    may_replace = _may_replace(seen, damaged)
    found = _find_lost(seen, members, damaged if may_replace else {})
    lost += found
    is_candidate = job.role is ServingRole.CANDIDATE
    error = None
    if slots.is_dead(predictor) and not is_candidate:
        error = f"The predictor cannot run: {slots.last_error(predictor)}"
    elif all(r.is_dead for replicas in members for r in replicas) and not may_replace:
        error = f"No inference worker can run: {_tell_lost(seen, found)}"
    elif is_candidate and not may_replace and any(all(r.is_dead for r in replicas) for replicas in members):
        # What answers is whole: it is not given up for less.
        error = f"A member of the new version cannot run: {_tell_lost(seen, found)}"
    if error is not None:
        return [SetInferenceJobStatus(job=job, status=InferenceJobStatus.ERRORED, error=error)]
    # Workers first: they take longer to be ready than the predictor.
    for trial_id, member, n_seats in zip(seen.trial_ids, chosen, shares, strict=True):
        worker = Worker(
            service_type=ServiceType.INFERENCE, job_id=job.id, unit_id=trial_id, image=seen.images.get(trial_id),
            gpu_count=budget.gpu_count, workers_per_gpu=seats_of_gpu(budget.workers_per_gpu),
        )  # fmt: skip
        reasons: list[str] = []
        for i, replica in enumerate(member.wanted):
            of_replica = msgspec.structs.replace(worker, needs_gpu=i < n_seats, is_extra=i >= member.floor)
            actions += replica.plan(of_replica, reasons)
        for replica in member.surplus:
            actions += replica.end()
        if reasons:
            waits.append(
                Wait(
                    service_type=ServiceType.INFERENCE, job_id=job.id, unit_id=trial_id, count=len(reasons),
                    of=len(member.wanted), reason=reasons[0],
                )
            )  # fmt: skip
    if may_replace and not seen.is_choosing:
        actions.append(ReplaceMembers(job=job, lost=damaged))
    if not is_candidate and slots.may_start(predictor) and not placement.starts.is_none_left:
        actions.append(slots.start(predictor, job.front))
    able = [c for c in chosen if not all(r.is_dead for r in c.kept)]
    # A member that sleeps is as it should be.
    are_running = bool(able) and all(not c.wanted or any(r.is_running for r in c.kept) for c in able)
    is_seen = not is_candidate or _sees_all(seen)
    if job.status is InferenceJobStatus.STARTED and slots.is_running(predictor) and are_running and is_seen:
        actions.append(SetInferenceJobStatus(job=job, status=InferenceJobStatus.RUNNING))
    if job.ensemble.replaced and not are_running:
        unready.add(job.id)
    return [*actions, *_replace_predictor(observed, seen, slots, predictor), *_leave_former_members(seen, slots)]


def _is_draining(observed: Observed, seen: ObservedInferenceJob) -> bool:
    """Whether an inference job that leaves may have requests in hand, while another one answers at its address."""
    job, report = seen.job, seen.report
    if job.role is not ServingRole.LEAVING or job.status is InferenceJobStatus.STARTED:
        return False
    is_answered = any(
        o.job.front == job.front and o.job.role is ServingRole.PRIMARY and o.job.datetime_stop_requested is None
        for o in observed.inference_jobs
    )
    if not is_answered or job.datetime_stop_requested is None:
        return False
    if report is not None and report.is_leaving and not report.in_hand and not report.former:
        return False
    budget_ms = job.deployment.latency_budget_ms
    limit_s = drain_s(budget_ms / 1000 if budget_ms else observed.deadline_s) + _DRAIN_MARGIN_S
    return observed.now < job.datetime_stop_requested + timedelta(seconds=limit_s)


def _sees_all(seen: ObservedInferenceJob) -> bool:
    """Whether the predictor sees a worker of each member."""
    report = seen.report
    return report is not None and {m.trial_id for m in report.members if m.workers} >= set(seen.trial_ids)


def _replace_predictor(
    observed: Observed, seen: ObservedInferenceJob, slots: Slots, predictor: SlotKey
) -> list[Action]:
    """A predictor of an earlier Rafiki cannot be told of other versions or members: one of this version takes its
    place."""
    serving = slots.live.get(predictor)
    if predictor in slots.stopping or serving is None or serving.exit is not None or serving.report is None:
        return []
    is_told = seen.job.role is ServingRole.CANDIDATE or bool(seen.job.ensemble.replaced)
    if not is_told or serving.report.version == observed.version:
        return []
    return [StopService(service=serving.service, is_replaced=True)]


def _leave_former_members(seen: ObservedInferenceJob, slots: Slots) -> list[Action]:
    """Members that were replaced go once the predictor asks those that took their places, and waits for no former one
    any more: until then, they serve."""
    report = seen.report
    if not seen.job.ensemble.replaced or report is None or report.former:
        return []
    if [m.trial_id for m in report.members] != seen.trial_ids:
        return []
    return [
        StopService(service=s.service)
        for (kind, unit_id, _), s in slots.live.items()
        if kind is ServiceType.INFERENCE and unit_id not in seen.trial_ids and s.exit is None
    ]


def _find_lost(
    seen: ObservedInferenceJob, members: list[list[Replica]], being_replaced: Collection[str]
) -> list[LostMember]:
    found = []
    for trial_id, replicas in zip(seen.trial_ids, members, strict=True):
        if dead := [r for r in replicas if r.is_dead]:
            found.append(
                LostMember(
                    job_id=seen.job.id, trial_id=trial_id, count=len(dead), of=len(replicas),
                    reason=dead[0].last_error, is_being_replaced=trial_id in being_replaced,
                )
            )  # fmt: skip
    return found


def _tell_lost(seen: ObservedInferenceJob, lost: list[LostMember]) -> str:
    """``wine#4, wine#7: the model does not load; svm#1: ...``: each reason once."""
    labels: dict[str, list[str]] = {}
    for member in lost:
        labels.setdefault(member.reason, []).append(seen.labels.get(member.trial_id, member.trial_id))
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in labels.items()) or "it has no members"


def _find_damaged(seen: ObservedInferenceJob, members: list[list[Replica]]) -> dict[str, str]:
    """The members that no worker can load, wherever it runs, and why."""
    return {
        trial_id: replicas[0].last_error
        for trial_id, replicas in zip(seen.trial_ids, members, strict=True)
        if all(r.is_dead and r.cannot_load for r in replicas)
    }


def _may_replace(seen: ObservedInferenceJob, damaged: dict[str, str]) -> bool:
    """Whether other trials may take the places of those that cannot be loaded."""
    return bool(seen.job.deployment.replace_damaged) and bool(damaged.keys() - seen.irreplaceable)
