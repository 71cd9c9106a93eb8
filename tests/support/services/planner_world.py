"""A small world of values around plan(): jobs, and services that start, report and end by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from rafiki.admin.planner import (
    Action,
    FailSearch,
    LostMember,
    NoteEnded,
    NoteRunning,
    Observed,
    ObservedInferenceJob,
    ObservedService,
    ObservedTrainJob,
    SetInferenceJobStatus,
    SetTrainJobStatus,
    StartService,
    StopService,
    Wait,
    decide,
    plan,
)
from rafiki.budget import InferenceBudget, TrainBudget
from rafiki.constants import InferenceJobStatus, ServiceStatus, ServiceType, TrainJobStatus
from rafiki.container.base import ServiceExit
from rafiki.container.hosts import Host
from rafiki.deployment import Replicas
from rafiki.entities import Gpu, InferenceJob, Service, SubTrainJob, TrainJob
from rafiki.environments.state import EnvironmentState
from rafiki.messages import MemberReport, PredictorReport, ServiceReport

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MAX_RESTARTS = 3
RUNNING = ServiceReport(state="running")
KILLED = ServiceExit(code=-9, reason="it was killed by SIGKILL")
CLEAN = ServiceExit(code=0, reason="it ended with exit code 0")
ADVISOR, TRAIN, PREDICT, INFERENCE = ServiceType.ADVISOR, ServiceType.TRAIN, ServiceType.PREDICT, ServiceType.INFERENCE
LIVE = (ServiceStatus.STARTED, ServiceStatus.DEPLOYING, ServiceStatus.RUNNING)


def local_gpus(*indices: int) -> list[Gpu]:
    return [Gpu("local", str(index)) for index in indices]


class World:
    """One train job with ``n_subs`` models, one inference job with ``n_trials``; services are added by hand."""

    def __init__(self, *, n_subs: int = 1, n_trials: int = 0, budget: dict[str, float] | None = None) -> None:
        self.now = NOW
        self.gpus: list[Gpu] = []
        self.hosts: list[Host] = []
        self.service_hosts: dict[str, str] = {}
        self.refusals: dict[tuple[str, str], str] = {}
        self.worker_memory_bytes = 0
        self.most_starts: int | None = None
        self.retiring: dict[str, str] = {}
        self.environments: dict[str, EnvironmentState] = {}
        self.images: dict[str, str] = {}
        self.ids = (f"s{i}" for i in range(10_000))
        self.services: list[Service] = []
        self.stopping: list[Service] = []
        self.exits: dict[str, ServiceExit] = {}
        self.reports: dict[str, ServiceReport] = {}
        self.silences: dict[str, float] = {}
        self.starts: dict[str, float] = {}
        common: dict[str, Any] = {
            "user_id": "u",
            "app": "app",
            "app_version": 1,
            "error": None,
            "datetime_started": NOW,
        }
        self.job = TrainJob(
            id="job", task="T", train_dataset_id="d", val_dataset_id="d", train_args={},
            budget=msgspec.convert(budget or {}, TrainBudget),
            status=TrainJobStatus.STARTED, **common,
        )  # fmt: skip
        self.subs = [
            SubTrainJob(
                id=f"sub{i}", train_job_id="job", model_id=f"m{i}", model_name=f"model{i}",
                status=TrainJobStatus.STARTED, error=None, advisor_id=None,
            )
            for i in range(n_subs)
        ]  # fmt: skip
        self.inference_job = InferenceJob(
            id="ijob", train_job_id="job", budget=msgspec.convert(budget or {}, InferenceBudget),
            status=InferenceJobStatus.STARTED,
            predictor_host=None, **common,
        )  # fmt: skip
        self.trial_ids = [f"t{i}" for i in range(n_trials)]
        self.wanted: dict[str, int] = {}
        self.is_choosing = False
        self.irreplaceable: frozenset[str] = frozenset()
        self.serves: PredictorReport | None = None
        """What the predictor reports of the inference job."""

    def service(self, kind: ServiceType, unit: str, slot: int = 0, **fields: Any) -> Service:
        job_id = "job" if kind in (ADVISOR, TRAIN) else "ijob"
        given: dict[str, Any] = {
            "id": next(self.ids), "job_id": job_id, "attempt": 1, "status": ServiceStatus.RUNNING, "error": None,
            "gpus": [], "port": None, "handle": "", "datetime_started": self.now,
        }  # fmt: skip
        made = Service(service_type=kind, unit_id=unit, slot=slot, **{**given, **fields})
        self.services.append(made)
        if made.status is ServiceStatus.RUNNING:
            self.reports[made.id] = RUNNING
        return made

    def failure(
        self,
        kind: ServiceType,
        unit: str,
        slot: int = 0,
        *,
        ran_s: float = 1.0,
        ago_s: float = 0.0,
        error: str = "it broke",
        is_permanent: bool = False,
    ) -> Service:
        end = self.now - timedelta(seconds=ago_s)
        return self.service(
            kind, unit, slot, status=ServiceStatus.ERRORED, error=error, is_permanent=is_permanent,
            datetime_stopped=end, datetime_started=end - timedelta(seconds=ran_s),
        )  # fmt: skip

    def observe(self) -> Observed:
        def ended(job_id: str) -> list[Service]:
            return [s for s in self.services if s.job_id == job_id and s.status not in LIVE]

        live = [s for s in self.services if s.status in LIVE and s not in self.stopping]
        train_jobs, inference_jobs = [], []
        if self.subs and self.job.status in (TrainJobStatus.STARTED, TrainJobStatus.RUNNING):
            train_jobs = [
                ObservedTrainJob(
                    job=self.job, subs=self.subs, ended=ended("job"), environments=self.environments, images=self.images
                )
            ]
        if self.trial_ids and self.inference_job.status in (InferenceJobStatus.STARTED, InferenceJobStatus.RUNNING):
            inference_jobs = [
                ObservedInferenceJob(
                    job=self.inference_job,
                    trial_ids=self.trial_ids,
                    ended=ended("ijob"),
                    environments=self.environments,
                    wanted=self.wanted,
                    is_choosing=self.is_choosing,
                    irreplaceable=self.irreplaceable,
                    report=self.serves,
                )
            ]
        return Observed(
            now=self.now, train_jobs=train_jobs, inference_jobs=inference_jobs, gpus=self.gpus, stopping=self.stopping,
            services=[self._observed(s) for s in live], hosts=self.hosts, service_hosts=self.service_hosts,
            refusals=self.refusals, worker_memory_bytes=self.worker_memory_bytes, image="rafiki:1",
            retiring=self.retiring, max_restarts=MAX_RESTARTS, restart_delay_s=1.0, silence_limit_s=120.0,
            start_timeout_s=60.0, most_starts=self.most_starts,
        )  # fmt: skip

    def _observed(self, service: Service) -> ObservedService:
        return ObservedService(
            service=service, exit=self.exits.get(service.id), report=self.reports.get(service.id),
            silent_s=self.silences.get(service.id, 0.0), starting_s=self.starts.get(service.id, 0.0),
        )  # fmt: skip

    def plan(self) -> list[Action]:
        return plan(self.observe())

    def lost(self) -> list[LostMember]:
        return decide(self.observe()).lost

    def waits(self) -> list[Wait]:
        return decide(self.observe()).waits

    def place(self, action: StartService, **fields: Any) -> Service:
        """Start what was planned, where it was planned."""
        made = self.service(
            action.service_type, action.unit_id, action.slot, attempt=action.attempt, gpus=action.gpus, **fields
        )
        if action.host is not None:
            self.service_hosts[made.id] = action.host
        return made

    def set_host(self, name: str, **fields: Any) -> None:
        self.hosts = [msgspec.structs.replace(h, **fields) if h.name == name else h for h in self.hosts]

    def set_sub(self, i: int, status: TrainJobStatus, error: str | None = None) -> None:
        self.subs[i] = msgspec.structs.replace(self.subs[i], status=status, error=error)

    def run_everything(self) -> None:
        """Start whatever the plan wants until it wants nothing more."""
        while starts := started(self.plan()):
            for a in starts:
                self.place(a)

    def change(self, service: Service, **fields: Any) -> None:
        self.services[[s.id for s in self.services].index(service.id)] = msgspec.structs.replace(service, **fields)


def report_of(*trial_ids: str, workers: int = 1, **fields: Any) -> PredictorReport:
    """What a predictor says of an inference job with these members."""
    plain: dict[str, Any] = {"no": 1, "requests_per_s": 0.0, "errors_per_s": 0.0, "requests": 0, "errors": 0}
    members = [MemberReport(t, workers, 0) for t in trial_ids]
    return PredictorReport(**{**plain, "latencies": {}, "members": members, **fields})


def started(actions: list[Action]) -> list[StartService]:
    return [a for a in actions if isinstance(a, StartService)]


def slots(actions: list[Action]) -> list[tuple[str, str, int]]:
    return [(str(a.service_type), a.unit_id, a.slot) for a in started(actions)]


def steady_train(n_subs: int = 1, **budget: float) -> World:
    world = World(n_subs=n_subs, budget=budget)
    for i in range(n_subs):
        world.set_sub(i, TrainJobStatus.RUNNING)
    world.job = msgspec.structs.replace(world.job, status=TrainJobStatus.RUNNING)
    world.run_everything()
    return world


def steady_inference(n_trials: int, **budget: float) -> World:
    world = World(n_subs=0, n_trials=n_trials, budget=budget)
    world.inference_job = msgspec.structs.replace(world.inference_job, status=InferenceJobStatus.RUNNING)
    world.run_everything()
    return world


def scaled_inference(n_trials: int, replicas: Replicas, **wanted: int) -> World:
    """A deployment whose members have as many workers as are ``wanted``."""
    world = World(n_subs=0, n_trials=n_trials)
    job = world.inference_job
    world.inference_job = msgspec.structs.replace(
        job, status=InferenceJobStatus.RUNNING, deployment=msgspec.structs.replace(job.deployment, replicas=replicas)
    )
    world.wanted = wanted
    world.run_everything()
    return world


def live(world: World, kind: ServiceType) -> list[Service]:
    return [s for s in world.services if s.service_type is kind and s.status in LIVE]


def act(world: World, action: Action) -> None:
    match action:
        case StartService():
            world.place(action, status=ServiceStatus.STARTED)
            world.reports[world.services[-1].id] = RUNNING
        case NoteRunning():
            service = next(s for s in world.services if s.id == action.service_id)
            world.change(service, status=ServiceStatus.RUNNING)
        case NoteEnded(service=service, error=error, is_permanent=is_permanent):
            status = ServiceStatus.STOPPED if error is None else ServiceStatus.ERRORED
            world.change(service, status=status, error=error, is_permanent=is_permanent, datetime_stopped=world.now)
        case StopService(service=service, error=error):
            status = ServiceStatus.STOPPED if error is None else ServiceStatus.ERRORED
            world.change(service, status=status, error=error, datetime_stopped=world.now)
        case FailSearch(sub=sub, error=error):
            world.set_sub([s.id for s in world.subs].index(sub.id), TrainJobStatus.ERRORED, error)
        case SetTrainJobStatus():
            world.job = msgspec.structs.replace(world.job, status=action.status)
        case SetInferenceJobStatus():
            world.inference_job = msgspec.structs.replace(world.inference_job, status=action.status)


def check_slots_and_gpus(world: World) -> None:
    running = [s for s in world.services if s.status in LIVE]
    keys = [(s.service_type, s.unit_id, s.slot) for s in running]
    assert len(keys) == len(set(keys))
    gpus = [gpu for s in running for gpu in s.gpus]
    assert len(gpus) == len(set(gpus)) <= len(world.gpus)
