"""What a tracker is told, and what it promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from rafiki.constants import TrainJobOutcome, TrialStatus
from rafiki.entities import Trial
from rafiki.knob_specs import Knobs


class TrackerAwayError(Exception):
    """It cannot be told now, and may be later: it is down, overloaded, or too slow. The message ends a sentence."""


class TrackerRefusalError(Exception):
    """It refuses what it is told. The message says why, and what to do.

    Args:
        is_of_event: whether it refuses this one thing alone, and may take the next one.
    """

    def __init__(self, message: str, *, is_of_event: bool = False) -> None:
        super().__init__(message)
        self.is_of_event = is_of_event


class TrackerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The section ``tracking`` of rafiki.yaml, with the files that it names read."""

    kind: str
    url: str | None
    """Of its server; None = the kind's usual one, or it has none."""
    experiment: str
    """What runs are sorted under, with ``{app}``, ``{user}`` and ``{task}`` in it."""
    folder: Path
    """Of kinds that write files."""
    token: str | None = None
    username: str | None = None
    password: str | None = None
    authority: str | None = None
    """Certificates in PEM that are trusted; None = those of the machine."""
    timeout_s: float = 30.0
    is_offline: bool = False


class TrackedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A train job: the parent of its trials' runs."""

    id: str
    app: str
    app_version: int
    user: str
    """The email of its user."""
    task: str
    params: dict[str, str]
    """What it was made with: budget, datasets, models, search."""
    datetime_started: datetime
    datetime_stopped: datetime | None = None
    outcome: TrainJobOutcome | None = None
    """None while it lives."""
    error: str | None = None
    best_score: float | None = None
    n_completed: int = 0
    n_failed: int = 0

    @property
    def label(self) -> str:
        """``digits v3``."""
        return f"{self.app} v{self.app_version}"


class TrackedPoint(msgspec.Struct, frozen=True):
    """A metric's value at one step of a training."""

    name: str
    value: float
    step: int
    time: datetime


class TrackedTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial that has ended."""

    trial: Trial
    points: list[TrackedPoint]
    """What its training logged, and the intermediate scores, in the order of their times."""
    read_params: Callable[[], Iterator[bytes]] | None = None
    """Its trained parameters, a safetensors file, in pieces; None = they are not to be told, or not kept."""

    @property
    def knobs(self) -> Knobs:
        return self.trial.proposal.knobs

    @property
    def is_completed(self) -> bool:
        return self.trial.status is TrialStatus.COMPLETED

    @property
    def time_ended(self) -> datetime:
        return self.trial.datetime_stopped or self.trial.datetime_started

    @property
    def facts(self) -> dict[str, str]:
        """What tells one trial from another besides knobs and scores."""
        t = self.trial
        found = {"trial_id": t.id, "trial": t.label, "model": t.model_name, "status": t.status.value,
                 "attempt": str(t.attempt), "worker_id": t.worker_id, "scheme": t.proposal.scheme or None,
                 "phase": t.proposal.phase or None, "ended_early": t.ended_early, "error": t.error}  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}


class Tracker(ABC):
    """One place where results are told. Used by one thread at a time.

    Everything may be told several times, also by another process, and shows up once: each call looks at the ids of what
    it is given, not at what this object did before. A call that returns has told all of it; one that raises may have
    told a part, and is made again.

    Each call raises:
        TrackerAwayError: when it should be made again later.
        TrackerRefusalError: when somebody has to do something first.
    """

    @abstractmethod
    def begin_job(self, job: TrackedJob) -> None:
        """Make the parent of the job's trials. The other calls do so too where it lacks: a job may have begun before
        there was a tracker."""

    @abstractmethod
    def log_trial(self, job: TrackedJob, trial: TrackedTrial) -> None:
        """Tell of a trial that has ended."""

    @abstractmethod
    def end_job(self, job: TrackedJob) -> None:
        """Tell how the job ended. It may be told of trials of it later."""

    def close(self) -> None:  # noqa: B027 - nothing to let go of
        """Let go of connections. It is not used any more."""


class TrackerKind(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of :data:`rafiki.trackers.TRACKERS`.

    Both functions import what they need when they are called.
    """

    about: str
    """For people: ``an MLflow server``."""
    check: Callable[[TrackerSettings], str | None]
    """What is wrong with the settings, or not installed, for people; None when it can be opened. Asks no server."""
    open: Callable[[TrackerSettings], Tracker]


def experiment_of(settings: TrackerSettings, job: TrackedJob) -> str:
    """The name of the experiment of a job."""
    values = {"app": job.app, "user": job.user, "task": job.task}
    name = settings.experiment
    for key, value in values.items():
        name = name.replace(f"{{{key}}}", value)
    return name
