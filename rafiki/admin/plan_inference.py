"""What is to be done for one inference job. Pure."""

from __future__ import annotations

import msgspec

from rafiki.admin.actions import Action, SetInferenceJobStatus, SlotKey, StopService, Wait
from rafiki.admin.gpus import share_gpus
from rafiki.admin.observed import Observed, ObservedInferenceJob
from rafiki.admin.placement import NoPlace, Placement, Worker
from rafiki.admin.slots import JobServices, Slots
from rafiki.budget import seats_of_gpu
from rafiki.constants import InferenceJobStatus, ServiceType


def plan_inference_job(
    observed: Observed, seen: ObservedInferenceJob, services: JobServices, placement: Placement, waits: list[Wait]
) -> list[Action]:
    """The actions; what has to wait is added to ``waits``."""
    job = seen.job
    actions: list[Action] = []
    slots = Slots(observed, services, seen.ended, seen.environments, placement.starts)
    if job.datetime_stop_requested is not None:
        # Its services end at the next look, the predictor first.
        return [SetInferenceJobStatus(job=job, status=InferenceJobStatus.STOPPED)]
    budget = job.budget
    predictor: SlotKey = (ServiceType.PREDICT, job.id, 0)
    shares = share_gpus(budget.gpu_seats, len(seen.trial_ids))
    members = [
        [_Replica(slots, placement, trial_id, i, budget.replica_count) for i in range(budget.replica_count)]
        for trial_id in seen.trial_ids
    ]
    error = None
    if slots.is_dead(predictor):
        error = f"The predictor cannot run: {slots.last_error(predictor)}"
    elif all(r.is_dead for replicas in members for r in replicas):
        error = f"No inference worker can run: {slots.last_error(members[0][0].slot)}"
    if error is not None:
        return [SetInferenceJobStatus(job=job, status=InferenceJobStatus.ERRORED, error=error)]
    # Workers first: they take longer to be ready than the predictor.
    for trial_id, replicas, n_seats in zip(seen.trial_ids, members, shares, strict=True):
        worker = Worker(
            service_type=ServiceType.INFERENCE, job_id=job.id, unit_id=trial_id, image=seen.images.get(trial_id),
            gpu_count=budget.gpu_count, workers_per_gpu=seats_of_gpu(budget.workers_per_gpu),
        )  # fmt: skip
        reasons: list[str] = []
        for i, replica in enumerate(replicas):
            actions += replica.plan(msgspec.structs.replace(worker, needs_gpu=i < n_seats), reasons)
        if reasons:
            waits.append(
                Wait(
                    service_type=ServiceType.INFERENCE, job_id=job.id, unit_id=trial_id, count=len(reasons),
                    of=len(replicas), reason=reasons[0],
                )
            )  # fmt: skip
    if slots.may_start(predictor) and not placement.starts.is_none_left:
        actions.append(slots.start(predictor, job.id))
    if job.status is InferenceJobStatus.STARTED and slots.is_running(predictor):
        able = [replicas for replicas in members if not all(r.is_dead for r in replicas)]
        if all(any(r.is_running for r in replicas) for replicas in able):
            actions.append(SetInferenceJobStatus(job=job, status=InferenceJobStatus.RUNNING))
    return actions


class _Replica:
    """One inference worker of a member. It has two slots, of which one is in use; both while it moves from a draining
    host to another."""

    def __init__(self, slots: Slots, placement: Placement, trial_id: str, i: int, n_replicas: int) -> None:
        self._slots = slots
        self.slot: SlotKey = (ServiceType.INFERENCE, trial_id, i)
        self._both: list[SlotKey] = [self.slot, (ServiceType.INFERENCE, trial_id, i + n_replicas)]
        at_work = [key for key in self._both if (seen := slots.live.get(key)) is not None and seen.exit is None]
        self._leaving = [key for key in at_work if placement.is_draining(slots.live[key].service)]
        self._staying = [key for key in at_work if key not in self._leaving]
        self._placement = placement

    @property
    def is_dead(self) -> bool:
        """Whether it is not started any more."""
        is_there = any(key in self._slots.live or key in self._slots.stopping for key in self._both)
        return not is_there and self._slots.is_dead(self.slot)

    @property
    def is_running(self) -> bool:
        return any(self._slots.is_running(key) for key in self._both)

    def plan(self, worker: Worker, reasons: list[str]) -> list[Action]:
        """What is to be done; why it cannot be is added to ``reasons``."""
        if len(self._leaving) == len(self._both):
            # The other host is draining as well: the one that serves makes room for a third.
            return [self._stop(self._least_needed(self._leaving))]
        if self._leaving:
            if not self._staying:
                free = next(key for key in self._both if key not in self._leaving)
                return self._start(free, worker, reasons, "it is to leave a draining node, but ")
            return [self._stop(self._leaving[0])] if self._slots.is_running(self._staying[0]) else []
        if len(self._staying) == len(self._both):
            # The host that it was leaving is in use again.
            return [self._stop(self._least_needed(self._staying))]
        if any(key in self._slots.live for key in self._both):
            return []
        return self._start(self.slot, worker, reasons)

    def _least_needed(self, keys: list[SlotKey]) -> SlotKey:
        return next((key for key in reversed(keys) if not self._slots.is_running(key)), keys[-1])

    def _start(self, key: SlotKey, worker: Worker, reasons: list[str], before: str = "") -> list[Action]:
        if not self._slots.may_start(key):
            return []
        placement = self._placement
        place = placement.find_obstacle(worker) if placement.starts.is_none_left else placement.find(worker)
        if place is None:
            return []
        if isinstance(place, NoPlace):
            reasons.append(before + place.reason)
            return []
        return [self._slots.start(key, worker.job_id, place)]

    def _stop(self, key: SlotKey) -> StopService:
        service = self._slots.live[key].service
        return StopService(service=service, is_replaced=True, why_replaced="has moved to another node")
