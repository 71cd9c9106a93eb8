"""What the planner decides: one struct for each thing that can be done."""

from __future__ import annotations

import msgspec

from rafiki.constants import InferenceJobStatus, RolloutStatus, ServiceType, TrainJobStatus
from rafiki.entities import Gpu, InferenceJob, Rollout, Service, SubTrainJob, TrainJob
from rafiki.rollouts import Comparison

OTHER_VERSION = "is of another version"
CUT_OFF = "was cut off from the stack, as the folder run/doors was deleted,"


class StartService(msgspec.Struct, frozen=True, kw_only=True):
    service_type: ServiceType
    job_id: str
    unit_id: str
    slot: int
    attempt: int
    gpus: list[Gpu] = []
    host: str | None = None
    """Where it is to run; None = where the back end likes."""


class StopService(msgspec.Struct, frozen=True, kw_only=True):
    """Ask it to end, kill it if it does not; it then counts as STOPPED, or ERRORED with an ``error``."""

    service: Service
    error: str | None = None
    is_replaced: bool = False
    """Another takes its place: whoever waits for it is told that it is gone."""
    why_replaced: str = OTHER_VERSION
    is_drained: bool = False
    """Others do its work from now on: it answers what it holds first, within the time that its queries have."""


class RetireService(msgspec.Struct, frozen=True, kw_only=True):
    """A train worker is to end after the trial that it runs, and another to take its place: its advisor is told."""

    service: Service
    advisor_id: str
    why: str = OTHER_VERSION


class NoteRunning(msgspec.Struct, frozen=True, kw_only=True):
    service_id: str


class NoteEnded(msgspec.Struct, frozen=True, kw_only=True):
    """It has ended by itself; ``error`` when it should not have."""

    service: Service
    error: str | None
    is_permanent: bool = False
    """The failure would come again at once: its slot is not started again."""
    refused_by: str | None = None
    """The host that could not start it."""


class FailSearch(msgspec.Struct, frozen=True, kw_only=True):
    """A sub train job cannot go on: the admin takes it over and closes it."""

    sub: SubTrainJob
    error: str


class SetTrainJobStatus(msgspec.Struct, frozen=True, kw_only=True):
    job: TrainJob
    status: TrainJobStatus
    error: str | None = None


class SetInferenceJobStatus(msgspec.Struct, frozen=True, kw_only=True):
    job: InferenceJob
    status: InferenceJobStatus
    error: str | None = None


class ReplaceMembers(msgspec.Struct, frozen=True, kw_only=True):
    """The members of an inference job are to be chosen again, without those that cannot be loaded."""

    job: InferenceJob
    lost: dict[str, str]
    """Trial -> why it cannot be loaded."""


class StartRollout(msgspec.Struct, frozen=True, kw_only=True):
    """The new inference job of an update is ready: it is tried from now on."""

    rollout: Rollout


class EndRollout(msgspec.Struct, frozen=True, kw_only=True):
    """PROMOTED: the new inference job takes the place of the one before. Any other status: it leaves."""

    rollout: Rollout
    status: RolloutStatus
    reason: str | None = None
    comparison: Comparison = Comparison()


Action = (
    StartService | StopService | RetireService | NoteRunning | NoteEnded | FailSearch | SetTrainJobStatus
    | SetInferenceJobStatus | ReplaceMembers | StartRollout | EndRollout
)  # fmt: skip
SlotKey = tuple[ServiceType, str, int]
"""Service type, unit id, slot."""


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Workers that are wanted, and cannot be started now."""

    service_type: ServiceType
    job_id: str
    unit_id: str
    """The sub train job, or the served trial."""
    count: int
    """How many of them wait."""
    of: int
    """How many are wanted."""
    reason: str
    """For people: ``no node has 8 GB free``."""

    def __str__(self) -> str:
        return self.reason if self.count == self.of else f"{self.count} of {self.of} workers wait: {self.reason}"


class LostMember(msgspec.Struct, frozen=True, kw_only=True):
    """A served trial without a worker that could still be started."""

    job_id: str
    trial_id: str
    count: int
    """How many of its workers are lost; with less than ``of``, the others serve it."""
    of: int
    reason: str
    """For people."""
    is_being_replaced: bool = False
    """Whether another trial is being chosen to take its place."""

    def __str__(self) -> str:
        return self.reason if self.count == self.of else f"{self.count} of {self.of} workers cannot run: {self.reason}"


class ServedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a predictor is to do with one inference job."""

    job_id: str
    trial_ids: tuple[str, ...]
    share: float = 0.0
    is_shadow: bool = False
    is_leaving: bool = False
    keeps_members: bool = False
    """The members that it was given last answer until those that take their places are ready."""
    may_sleep: bool = False
    """Its workers end while nobody asks."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What the predictor behind one address is to serve."""

    front_id: str
    jobs: tuple[ServedJob, ...]
    """The first one answers whatever no other one does."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, and what cannot be."""

    actions: list[Action]
    waits: list[Wait]
    lost: list[LostMember] = []
    """Members of live inference jobs that do not serve any more."""
    serving: list[Serving] = []
    """What predictors are to serve."""
