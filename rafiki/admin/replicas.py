"""The inference workers of one served trial: which of them are wanted, and what is to be done for each. Pure."""

from __future__ import annotations

import msgspec

from rafiki.admin.actions import Action, SlotKey, StopService
from rafiki.admin.observed import ObservedInferenceJob
from rafiki.admin.placement import NoPlace, Placement, Worker
from rafiki.admin.slots import Slots
from rafiki.budget import MAX_REPLICAS
from rafiki.constants import ServiceType


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The replicas of one member."""

    wanted: list[Replica]
    """Those that are to run; none while it sleeps."""
    surplus: list[Replica]
    """Those that run, and are wanted no more."""
    kept: list[Replica]
    """Those by which it is judged whether the member can serve: the wanted ones, and the first while it sleeps."""
    floor: int
    """So many of the wanted ones are owed to whoever has deployed it; the load asks for the others."""


def choose_replicas(seen: ObservedInferenceJob, slots: Slots, placement: Placement, trial_id: str) -> Chosen:
    """Which replicas of a member are to run: of those that do, as many as are wanted, and others where these are too
    few."""
    limits = seen.job.deployment.replicas
    if limits is None:
        n = seen.job.budget.replica_count
        fixed = [Replica(slots, placement, trial_id, i, n) for i in range(n)]
        return Chosen(wanted=fixed, surplus=[], kept=fixed, floor=n)
    n_wanted = seen.wanted.get(trial_id, limits.floor)
    # The limits may have been others when those were started that run.
    at_work = (slot for kind, unit_id, slot in slots.live if kind is ServiceType.INFERENCE and unit_id == trial_id)
    n = max([limits.max, *(slot % MAX_REPLICAS + 1 for slot in at_work)])
    replicas = [Replica(slots, placement, trial_id, i, MAX_REPLICAS) for i in range(n)]
    ranked = sorted(replicas, key=_rank) if any(r.is_there for r in replicas) else replicas
    wanted = sorted(ranked[:n_wanted], key=lambda r: r.slot)
    surplus = [r for r in ranked[n_wanted:] if r.is_there]
    return Chosen(wanted=wanted, surplus=surplus, kept=wanted or replicas[:1], floor=limits.floor)


def _rank(replica: Replica) -> tuple[bool, bool, bool, int]:
    """Those come first that answer, then those that start, then those that could."""
    return (not replica.is_running, not replica.is_there, replica.is_dead, replica.slot[2])


class Replica:
    """One inference worker of a member. It has two slots, of which one is in use; both while it moves from a draining
    host to another."""

    def __init__(self, slots: Slots, placement: Placement, trial_id: str, i: int, stride: int) -> None:
        self._slots = slots
        self.slot: SlotKey = (ServiceType.INFERENCE, trial_id, i)
        self._both: list[SlotKey] = [self.slot, (ServiceType.INFERENCE, trial_id, i + stride)]
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
    def cannot_load(self) -> bool:
        """Whether the last worker said that another one would fail in the same way."""
        return self._slots.has_failed_for_good(self.slot)

    @property
    def last_error(self) -> str:
        return self._slots.last_error(self.slot)

    @property
    def is_running(self) -> bool:
        return any(self._slots.is_running(key) for key in self._both)

    @property
    def is_there(self) -> bool:
        """Whether it runs or starts."""
        return bool(self._staying or self._leaving)

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

    def end(self) -> list[Action]:
        """It is wanted no more: others answer what comes from now on."""
        at_work = [*self._staying, *self._leaving]
        return [StopService(service=self._slots.live[key].service, is_drained=True) for key in at_work]
