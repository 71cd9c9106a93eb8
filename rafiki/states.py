"""Which status may follow which, and how the status of a whole follows from its parts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from rafiki.constants import (
    InferenceJobStatus,
    RolloutStatus,
    ServiceStatus,
    TrainJobOutcome,
    TrainJobStatus,
    TrialStatus,
)

S = TypeVar("S", bound=StrEnum)

TRIAL_TRANSITIONS: Mapping[TrialStatus, frozenset[TrialStatus]] = {
    # A trial whose worker was lost waits (PENDING) for another one.
    TrialStatus.PENDING: frozenset({TrialStatus.RUNNING, TrialStatus.ERRORED}),
    TrialStatus.RUNNING: frozenset({TrialStatus.PENDING, TrialStatus.ERRORED, TrialStatus.COMPLETED}),
    TrialStatus.ERRORED: frozenset(),
    TrialStatus.COMPLETED: frozenset(),
}

TRAIN_JOB_TRANSITIONS: Mapping[TrainJobStatus, frozenset[TrainJobStatus]] = {
    TrainJobStatus.STARTED: frozenset({TrainJobStatus.RUNNING, TrainJobStatus.STOPPED, TrainJobStatus.ERRORED}),
    TrainJobStatus.RUNNING: frozenset({TrainJobStatus.STOPPED, TrainJobStatus.ERRORED}),
    TrainJobStatus.STOPPED: frozenset(),
    TrainJobStatus.ERRORED: frozenset(),
}

INFERENCE_JOB_TRANSITIONS: Mapping[InferenceJobStatus, frozenset[InferenceJobStatus]] = {
    InferenceJobStatus.STARTED: frozenset(
        {InferenceJobStatus.RUNNING, InferenceJobStatus.STOPPED, InferenceJobStatus.ERRORED}
    ),
    InferenceJobStatus.RUNNING: frozenset({InferenceJobStatus.STOPPED, InferenceJobStatus.ERRORED}),
    InferenceJobStatus.STOPPED: frozenset(),
    InferenceJobStatus.ERRORED: frozenset(),
}

ROLLOUT_TRANSITIONS: Mapping[RolloutStatus, frozenset[RolloutStatus]] = {
    RolloutStatus.STARTED: frozenset(
        {RolloutStatus.RUNNING, RolloutStatus.PROMOTED, RolloutStatus.ROLLED_BACK, RolloutStatus.ERRORED}
    ),
    RolloutStatus.RUNNING: frozenset({RolloutStatus.PROMOTED, RolloutStatus.ROLLED_BACK, RolloutStatus.ERRORED}),
    RolloutStatus.PROMOTED: frozenset(),
    RolloutStatus.ROLLED_BACK: frozenset(),
    RolloutStatus.ERRORED: frozenset(),
}

SERVICE_TRANSITIONS: Mapping[ServiceStatus, frozenset[ServiceStatus]] = {
    ServiceStatus.STARTED: frozenset(
        {ServiceStatus.DEPLOYING, ServiceStatus.RUNNING, ServiceStatus.STOPPED, ServiceStatus.ERRORED}
    ),
    ServiceStatus.DEPLOYING: frozenset({ServiceStatus.RUNNING, ServiceStatus.STOPPED, ServiceStatus.ERRORED}),
    ServiceStatus.RUNNING: frozenset({ServiceStatus.STOPPED, ServiceStatus.ERRORED}),
    ServiceStatus.ERRORED: frozenset(),
    ServiceStatus.STOPPED: frozenset(),
}


def sources(table: Mapping[S, frozenset[S]], target: S) -> list[S]:
    """The statuses from which ``target`` may follow: the IN list of a guarded write."""
    return [source for source, targets in table.items() if target in targets]


def is_final(table: Mapping[S, frozenset[S]], status: S) -> bool:
    """Whether nothing may follow ``status``."""
    return not table[status]


def live_statuses(table: Mapping[S, frozenset[S]]) -> list[S]:
    """The statuses that are not final."""
    return [status for status, targets in table.items() if targets]


def derive_train_job_status(parts: Iterable[TrainJobStatus]) -> TrainJobStatus:
    """The status of a train job from those of its sub train jobs (one per model).

    It lives while a part lives. Once all have ended it is STOPPED when at least one model's search ended well, so
    that one broken template does not spoil the others' results, and ERRORED when none did.
    """
    statuses = list(parts)
    if any(s in (TrainJobStatus.STARTED, TrainJobStatus.RUNNING) for s in statuses):
        running = any(s is not TrainJobStatus.STARTED for s in statuses)
        return TrainJobStatus.RUNNING if running else TrainJobStatus.STARTED
    if any(s is TrainJobStatus.STOPPED for s in statuses):
        return TrainJobStatus.STOPPED
    return TrainJobStatus.ERRORED


def find_outcome(status: TrainJobStatus, datetime_stop_requested: datetime | None) -> TrainJobOutcome | None:
    """How a train job, or the search over one of its models, ended; None while it lives."""
    if status is TrainJobStatus.STOPPED and datetime_stop_requested is None:
        return TrainJobOutcome.COMPLETED
    return None if not is_final(TRAIN_JOB_TRANSITIONS, status) else TrainJobOutcome(status)
