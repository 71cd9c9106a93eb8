"""How many records there are in each status."""

from __future__ import annotations

import msgspec

from rafiki.constants import InferenceJobStatus, ServiceStatus, ServiceType, TrainJobStatus, TrialStatus


class StatusCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Of all users. Every status is a key."""

    train_jobs: dict[TrainJobStatus, int]
    inference_jobs: dict[InferenceJobStatus, int]
    trials: dict[TrialStatus, int]
    live_services: dict[tuple[ServiceType, ServiceStatus], int]
    """Of those that are not STOPPED or ERRORED; every type is there with every status that they can have."""
