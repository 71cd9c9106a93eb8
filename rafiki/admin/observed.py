"""What the planner decides from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from rafiki.container.base import ServiceExit
from rafiki.container.hosts import Host
from rafiki.entities import Gpu, InferenceJob, Rollout, Service, SubTrainJob, TrainJob
from rafiki.environments.state import EnvironmentState
from rafiki.messages import PredictorReport, ServiceReport
from rafiki.rollouts import Comparison
from rafiki.states import SERVICE_TRANSITIONS, is_final


class ObservedService(msgspec.Struct, frozen=True, kw_only=True):
    """One live service with what its back end and its own report say."""

    service: Service
    exit: ServiceExit | None
    """How it ended; None while it runs."""
    report: ServiceReport | None
    silent_s: float = 0.0
    """How long it has given no sign of life, although the cache could be reached."""
    starting_s: float = 0.0
    """How long its program has been starting, without the time in which its image or its datasets come."""


class CheckState(msgspec.Struct, frozen=True, kw_only=True):
    """A model that does not load, as a job that needs it sees it."""

    reason: str
    """Why it does not load, or did not while it is being checked again."""
    is_checking: bool


class ObservedTrainJob(msgspec.Struct, frozen=True, kw_only=True):
    job: TrainJob
    subs: list[SubTrainJob]
    ended: list[Service]
    """Its services that have ended, in order of creation."""
    environments: Mapping[str, EnvironmentState] = {}
    """Those of its models, by sub train job; none = nothing has to be installed."""
    images: Mapping[str, str] = {}
    """The images of its models that name one, by sub train job."""
    checks: Mapping[str, CheckState] = {}
    """Of its models those that do not load, or did not and are checked again, by sub train job."""


class ObservedInferenceJob(msgspec.Struct, frozen=True, kw_only=True):
    job: InferenceJob
    trial_ids: list[str]
    ended: list[Service]
    environments: Mapping[str, EnvironmentState] = {}
    """Those of its models, by trial."""
    images: Mapping[str, str] = {}
    """The images of its models that name one, by trial."""
    labels: Mapping[str, str] = {}
    """What its trials are called, by their ids."""
    wanted: Mapping[str, int] = {}
    """How many workers its trials should have now, where the load decides that."""
    is_choosing: bool = False
    """Whether its members are being chosen again."""
    irreplaceable: frozenset[str] = frozenset()
    """Trials that cannot be loaded, without which no others were found to serve."""
    report: PredictorReport | None = None
    """What the predictor said last of this job, where that decides: the job came by an update or takes part in one, or
    its members were replaced."""


class ObservedRollout(msgspec.Struct, frozen=True, kw_only=True):
    """An update that is under way."""

    rollout: Rollout
    before: InferenceJob
    """What answers."""
    after: InferenceJob
    """What is to take its place."""
    scores: tuple[float | None, float | None] = (None, None)
    """Of what answers, and of what is to take its place, on validation data."""
    comparison: Comparison = Comparison()


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides. Exits are looked at before statuses: so an orderly end is no loss."""

    now: datetime
    train_jobs: list[ObservedTrainJob]
    """The live ones, oldest first."""
    inference_jobs: list[ObservedInferenceJob]
    rollouts: list[ObservedRollout] = []
    """The live ones."""
    fronts: Mapping[str, str] = {}
    """Inference jobs that have ended, and still have services -> by which their predictors are known."""
    deadline_s: float = 10.0
    """A query is answered within it, where the deployment says nothing else."""
    services: list[ObservedService]
    """The live ones of all jobs."""
    stopping: list[Service] = []
    """Those that are being ended at this moment: they still hold their slots and GPUs."""
    gpus: list[Gpu]
    hosts: list[Host] = []
    """Where train and inference workers may be placed; none = the back end chooses."""
    service_hosts: Mapping[str, str] = {}
    """Where services are that have not ended, by their ids, as far as it is known."""
    refusals: Mapping[tuple[str, str], str] = {}
    """Why a host could not start a service lately, by what it works on and the host: another host goes first."""
    worker_memory_bytes: int = 0
    """What a worker reserves of its host's memory."""
    image: str = ""
    """The image of workers whose models name none; empty where there are no images."""
    most_starts: int | None = None
    """How many services may be started now, as others are being started already; None = any number."""
    max_restarts: int
    restart_delay_s: float
    start_timeout_s: float
    silence_limit_s: float
    """A running service that is silent for longer hangs: it is ended, and its slot started again."""
    version: str = ""
    """Of this Rafiki. Services of another one were started before an upgrade."""
    doors_renewed: datetime | None = None
    """Services in boxes that were started before do not reach the stack any more; None = all do."""
    retiring: Mapping[str, str] = {}
    """Train workers that are to end after their trial -> the advisor that was told so."""


def is_live(service: Service) -> bool:
    """Whether the service counts as running or starting."""
    return not is_final(SERVICE_TRANSITIONS, service.status)
