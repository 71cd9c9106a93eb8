"""Jobs and trials as trackers are told of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rafiki.constants import TrainJobOutcome, TrialStatus
from rafiki.entities import Trial
from rafiki.proposals import Proposal
from rafiki.trackers.base import TrackedJob, TrackedPoint, TrackedTrial, TrackerSettings
from rafiki.utils.ids import new_id

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def settings(kind: str, folder: Path, **fields: Any) -> TrackerSettings:
    return TrackerSettings(**{"kind": kind, "url": None, "experiment": "rafiki/{app}", "folder": folder, **fields})


def job(app: str = "digits", **fields: Any) -> TrackedJob:
    defaults: dict[str, Any] = {
        "id": new_id(), "app": app, "app_version": 3, "user": "ann@example.org", "task": "T",
        "params": {"task": "T", "time_hours": "0.1"}, "datetime_started": STARTED,
    }  # fmt: skip
    return TrackedJob(**{**defaults, **fields})


def ended(of: TrackedJob, outcome: TrainJobOutcome = TrainJobOutcome.COMPLETED, **fields: Any) -> TrackedJob:
    known = {name: getattr(of, name) for name in of.__struct_fields__}
    fields = {"outcome": outcome, "datetime_stopped": STARTED + timedelta(minutes=5), "n_completed": 1, **fields}
    return TrackedJob(**{**known, **fields})


def trial(
    of: TrackedJob, no: int = 1, *, n_points: int = 3, params: bytes | None = None, **fields: Any
) -> TrackedTrial:
    defaults: dict[str, Any] = {
        "id": new_id(), "sub_train_job_id": "s", "train_job_id": of.id, "no": no, "model_name": "tiny",
        "worker_id": "w", "attempt": 1, "proposal": Proposal(knobs={"x": 0.25, "kind": "a b", "flag": True}),
        "status": TrialStatus.COMPLETED, "score": 0.5, "error": None, "params_id": None, "datetime_started": STARTED,
        "datetime_stopped": STARTED + timedelta(minutes=1),
    }  # fmt: skip
    points = [TrackedPoint("loss", 1.0 / (i + 1), i, STARTED + timedelta(seconds=i)) for i in range(n_points)]
    read = None if params is None else lambda: iter([params[:3], params[3:]])
    return TrackedTrial(trial=Trial(**{**defaults, **fields}), points=points, read_params=read)
