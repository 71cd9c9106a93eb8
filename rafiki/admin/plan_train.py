"""What is to be done for one train job. Pure."""

from __future__ import annotations

from rafiki.admin.actions import Action, FailSearch, SetTrainJobStatus, SlotKey, StopService, Wait
from rafiki.admin.gpus import share_gpus
from rafiki.admin.observed import Observed, ObservedTrainJob
from rafiki.admin.placement import NoPlace, Placement, Worker
from rafiki.admin.slots import JobServices, Slots
from rafiki.budget import seats_of_gpu
from rafiki.constants import ServiceType, TrainJobStatus
from rafiki.entities import SubTrainJob
from rafiki.states import TRAIN_JOB_TRANSITIONS, derive_train_job_status, is_final


def plan_train_job(
    observed: Observed, seen: ObservedTrainJob, services: JobServices, placement: Placement, waits: list[Wait]
) -> list[Action]:
    """The actions; what has to wait is added to ``waits``."""
    job = seen.job
    actions: list[Action] = []
    slots = Slots(observed, services, seen.ended, seen.environments, placement.starts)
    budget = job.budget
    shares = share_gpus(budget.gpu_seats, len(seen.subs))
    for sub, n_seats in zip(seen.subs, shares, strict=True):
        if is_final(TRAIN_JOB_TRANSITIONS, sub.status):
            actions += [StopService(service=s.service) for k, s in slots.live.items() if k[1] == sub.id and not s.exit]
            continue
        if (check := seen.checks.get(sub.id)) is not None:
            # Nothing starts before the knobs are known. Whoever stops the job waits for no check.
            if not check.is_checking or job.datetime_stop_requested is not None:
                actions.append(FailSearch(sub=sub, error=f"The model does not load: {check.reason}"))
            continue
        advisor: SlotKey = (ServiceType.ADVISOR, sub.id, 0)
        workers: list[SlotKey] = [(ServiceType.TRAIN, sub.id, i) for i in range(n_seats or budget.cpu_worker_count)]
        if slots.is_dead(advisor):
            actions.append(FailSearch(sub=sub, error=f"The advisor cannot go on: {slots.last_error(advisor)}"))
            continue
        if all(slots.is_dead(w) for w in workers):
            actions.append(FailSearch(sub=sub, error=_no_worker(slots, workers)))
            continue
        if slots.may_start(advisor) and not placement.starts.is_none_left:
            actions.append(slots.start(advisor, job.id))
        # A job that is to stop needs its advisor, which closes the trials, and nobody who begins new ones.
        if job.datetime_stop_requested is None:
            actions += _start_workers(seen, sub, slots, workers, n_seats > 0, placement, waits)
    status = derive_train_job_status(s.status for s in seen.subs)
    if status is not job.status:
        error = None
        if status is TrainJobStatus.ERRORED:
            error = "; ".join(f"{s.model_ref}: {s.error}" for s in seen.subs if s.error)
        actions.append(SetTrainJobStatus(job=job, status=status, error=error))
    return actions


def _start_workers(
    seen: ObservedTrainJob,
    sub: SubTrainJob,
    slots: Slots,
    workers: list[SlotKey],
    needs_gpu: bool,
    placement: Placement,
    waits: list[Wait],
) -> list[Action]:
    actions: list[Action] = []
    budget = seen.job.budget
    worker = Worker(
        service_type=ServiceType.TRAIN, job_id=seen.job.id, unit_id=sub.id, image=seen.images.get(sub.id),
        needs_gpu=needs_gpu, gpu_count=budget.gpu_count, workers_per_gpu=seats_of_gpu(budget.workers_per_gpu),
    )  # fmt: skip
    reasons = []
    for key in workers:
        if not slots.may_start(key):
            continue
        place = placement.find_obstacle(worker) if placement.starts.is_none_left else placement.find(worker)
        if isinstance(place, NoPlace):
            reasons.append(place.reason)
        elif place is not None:
            actions.append(slots.start(key, seen.job.id, place))
    if reasons:
        waits.append(
            Wait(
                service_type=ServiceType.TRAIN, job_id=seen.job.id, unit_id=sub.id, count=len(reasons),
                of=len(workers), reason=reasons[0],
            )
        )  # fmt: skip
    return actions


def _no_worker(slots: Slots, workers: list[SlotKey]) -> str:
    last = slots.last_error(workers[0])
    if slots.cannot_run(workers[0]):
        return last
    return f"Its train worker ended {slots.failures(workers[0])} times in a row; the last time: {last}"
