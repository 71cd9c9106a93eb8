"""What is to be done, from what was seen. Pure: :func:`plan` has no I/O and no clock.

The supervisor looks (:class:`Observed`), asks :func:`plan`, acts, and looks again; so an action that failed is planned
anew, and a restarted admin goes on from what it finds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from rafiki.constants import InferenceJobStatus, ServiceStatus, ServiceType, TrainJobStatus
from rafiki.container.base import ServiceExit
from rafiki.entities import Gpu, InferenceJob, Service, SubTrainJob, TrainJob
from rafiki.environments.state import EnvironmentState, EnvironmentStatus
from rafiki.messages import OLDEST_PROTOCOL, PROTOCOL, ServiceReport
from rafiki.states import SERVICE_TRANSITIONS, TRAIN_JOB_TRANSITIONS, derive_train_job_status, is_final

_STABLE = timedelta(seconds=60)
"""A service that ran for so long starts its count of failures anew."""

# ---- what is seen ------------------------------------------------------------------------------------------------


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
    checks: Mapping[str, CheckState] = {}
    """Of its models those that do not load, or did not and are checked again, by sub train job."""


class ObservedInferenceJob(msgspec.Struct, frozen=True, kw_only=True):
    job: InferenceJob
    trial_ids: list[str]
    ended: list[Service]
    environments: Mapping[str, EnvironmentState] = {}
    """Those of its models, by trial."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides. Exits are looked at before statuses: so an orderly end is no loss."""

    now: datetime
    train_jobs: list[ObservedTrainJob]
    """The live ones, oldest first."""
    inference_jobs: list[ObservedInferenceJob]
    services: list[ObservedService]
    """The live ones of all jobs."""
    stopping: list[Service] = []
    """Those that are being ended at this moment: they still hold their slots and GPUs."""
    gpus: list[Gpu]
    max_restarts: int
    restart_delay_s: float
    start_timeout_s: float
    silence_limit_s: float
    """A running service that is silent for longer hangs: it is ended, and its slot started again."""
    version: str = ""
    """Of this Rafiki. Services of another one were started before an upgrade."""
    retiring: Mapping[str, str] = {}
    """Train workers that are to end after their trial -> the advisor that was told so."""


# ---- what is to be done ------------------------------------------------------------------------------------------


class StartService(msgspec.Struct, frozen=True, kw_only=True):
    service_type: ServiceType
    job_id: str
    unit_id: str
    slot: int
    attempt: int
    gpus: list[Gpu] = []


class StopService(msgspec.Struct, frozen=True, kw_only=True):
    """Ask it to end, kill it if it does not; it then counts as STOPPED, or ERRORED with an ``error``."""

    service: Service
    error: str | None = None
    is_replaced: bool = False
    """Another takes its place: whoever waits for it is told that it is gone."""


class RetireService(msgspec.Struct, frozen=True, kw_only=True):
    """A train worker is to end after the trial that it runs, and another to take its place: its advisor is told."""

    service: Service
    advisor_id: str


class NoteRunning(msgspec.Struct, frozen=True, kw_only=True):
    service_id: str


class NoteEnded(msgspec.Struct, frozen=True, kw_only=True):
    """It has ended by itself; ``error`` when it should not have."""

    service: Service
    error: str | None
    is_permanent: bool = False
    """The failure would come again at once: its slot is not started again."""


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


Action = (
    StartService | StopService | RetireService | NoteRunning | NoteEnded | FailSearch | SetTrainJobStatus
    | SetInferenceJobStatus
)  # fmt: skip
SlotKey = tuple[ServiceType, str, int]
"""Service type, unit id, slot."""


# ---- plan --------------------------------------------------------------------------------------------------------


class _Index:
    """What was seen, by what the rules ask for. Made in one pass: a rule never goes through all services or jobs."""

    def __init__(self, observed: Observed) -> None:
        self.live: defaultdict[str, dict[SlotKey, ObservedService]] = defaultdict(dict)
        """By job."""
        self.stopping: defaultdict[str, set[SlotKey]] = defaultdict(set)
        """By job."""
        self.advisors: defaultdict[str, list[ObservedService]] = defaultdict(list)
        """By sub train job: those of this version that run."""
        for seen in observed.services:
            key, report = _key(seen.service), seen.report
            self.live[seen.service.job_id][key] = seen
            is_of_this_version = report is not None and report.version == observed.version
            if key[0] is ServiceType.ADVISOR and seen.exit is None and is_of_this_version:
                self.advisors[key[1]].append(seen)
        for service in observed.stopping:
            self.stopping[service.job_id].add(_key(service))
        self._searched = {
            (o.job.id, sub.id)
            for o in observed.train_jobs
            for sub in o.subs
            if not is_final(TRAIN_JOB_TRANSITIONS, sub.status)
        }
        self._served = {o.job.id for o in observed.inference_jobs if o.job.datetime_stop_requested is None}

    def is_wanted(self, service: Service) -> bool:
        return (service.job_id, service.unit_id) in self._searched or service.job_id in self._served


class _Slots:
    """The services of one job by slot: the live one, and how often its predecessors failed in a row."""

    def __init__(
        self,
        observed: Observed,
        index: _Index,
        job_id: str,
        ended: Iterable[Service],
        environments: Mapping[str, EnvironmentState],
    ) -> None:
        self._observed = observed
        self._environments = environments
        self.live = index.live[job_id]
        self.stopping = index.stopping[job_id]
        self.ended: dict[SlotKey, list[Service]] = {}
        for service in ended:
            self.ended.setdefault(_key(service), []).append(service)

    def failures(self, key: SlotKey) -> int:
        """How often in a row the slot's services ended by themselves soon after their start."""
        count = 0
        for service in reversed(self.ended.get(key, [])):
            stopped = service.datetime_stopped
            if service.status is not ServiceStatus.ERRORED or stopped is None:
                break
            if stopped - service.datetime_started > _STABLE:
                break
            count += 1
        return count

    def last_error(self, key: SlotKey) -> str:
        if (reason := self._unrunnable(key)) is not None:
            return reason
        ended = self.ended.get(key)
        return (ended[-1].error if ended else None) or "it ended"

    def _unrunnable(self, key: SlotKey) -> str | None:
        """Why no service of the slot can run at all."""
        state = self._environment(key)
        failed = state is not None and state.status is EnvironmentStatus.FAILED
        return state.reason if failed and state is not None else None

    def _environment(self, key: SlotKey) -> EnvironmentState | None:
        """What model code of the slot needs installed."""
        return self._environments.get(key[1]) if key[0] in (ServiceType.TRAIN, ServiceType.INFERENCE) else None

    def cannot_run(self, key: SlotKey) -> bool:
        """Whether a restart would only repeat the failure of the slot."""
        ended = self.ended.get(key)
        return self._unrunnable(key) is not None or (ended is not None and ended[-1].is_permanent)

    def is_dead(self, key: SlotKey) -> bool:
        """Whether the slot is not started any more."""
        if key in self.live or key in self.stopping:
            return False
        return self.cannot_run(key) or self.failures(key) > self._observed.max_restarts

    def may_start(self, key: SlotKey) -> bool:
        """Whether the slot is empty, alive and past its back-off delay."""
        if key in self.live or key in self.stopping or self.is_dead(key):
            return False
        if (state := self._environment(key)) is not None and state.status is EnvironmentStatus.BUILDING:
            return False
        n_failures = self.failures(key)
        stopped = self.ended[key][-1].datetime_stopped if n_failures else None
        # The first restart comes at once: most ends are single accidents.
        if n_failures <= 1 or stopped is None:
            return True
        delay_s = self._observed.restart_delay_s * 2.0 ** (n_failures - 2)
        return self._observed.now >= stopped + timedelta(seconds=delay_s)

    def start(self, key: SlotKey, job_id: str, gpus: list[Gpu]) -> StartService:
        attempt = max((s.attempt for s in self.ended.get(key, [])), default=0) + 1
        return StartService(service_type=key[0], job_id=job_id, unit_id=key[1], slot=key[2], attempt=attempt, gpus=gpus)

    def is_running(self, key: SlotKey) -> bool:
        seen = self.live.get(key)
        return seen is not None and seen.exit is None and seen.report is not None and seen.report.state == "running"


def _key(service: Service) -> SlotKey:
    return (service.service_type, service.unit_id, service.slot)


def plan(observed: Observed) -> list[Action]:
    """The actions that bring what is seen nearer to what is wanted."""
    actions: list[Action] = []
    wanted_jobs = {o.job.id for o in observed.train_jobs} | {o.job.id for o in observed.inference_jobs}
    free_gpus, index = _FreeGpus(observed), _Index(observed)
    for seen in observed.services:
        actions += _note(seen, observed, index)
        if seen.exit is None and seen.service.job_id not in wanted_jobs:
            actions.append(StopService(service=seen.service))
        elif seen.exit is None:
            actions += _replace(seen, observed, index)
    for train_job in observed.train_jobs:
        actions += _plan_train_job(observed, index, train_job, free_gpus)
    for inference_job in observed.inference_jobs:
        actions += _plan_inference_job(observed, index, inference_job, free_gpus)
    return actions


class _FreeGpus:
    def __init__(self, observed: Observed) -> None:
        holders = [*(s.service for s in observed.services), *observed.stopping]
        used = {gpu for service in holders for gpu in service.gpus}
        self._free = [gpu for gpu in observed.gpus if gpu not in used]

    def take(self, count: int) -> list[Gpu] | None:
        """``count`` GPUs, or None while there are not enough: the service then waits for others to end."""
        if count > len(self._free):
            return None
        taken, self._free = self._free[:count], self._free[count:]
        return taken


def _note(seen: ObservedService, observed: Observed, index: _Index) -> list[Action]:
    service = seen.service
    if seen.exit is not None:
        return [_note_end(seen, observed, index)]
    if service.status is not ServiceStatus.RUNNING:
        if seen.report is not None and seen.report.state == "running":
            return [NoteRunning(service_id=service.id)]
        if seen.starting_s > observed.start_timeout_s:
            reason = f"it did not report that it runs within {observed.start_timeout_s:g} s"
            return [StopService(service=service, error=reason)]
    elif seen.silent_s > observed.silence_limit_s:
        reason = f"it gave no sign of life for {observed.silence_limit_s:g} s"
        return [StopService(service=service, error=reason)]
    return []


def _note_end(seen: ObservedService, observed: Observed, index: _Index) -> NoteEnded:
    service, report = seen.service, seen.report
    if not index.is_wanted(service):
        return NoteEnded(service=service, error=None)
    if service.id in observed.retiring:
        return NoteEnded(service=service, error=None)
    if report is not None and report.state == "failed":
        return NoteEnded(service=service, error=report.reason, is_permanent=report.is_permanent)
    return NoteEnded(service=service, error=seen.exit.reason if seen.exit else None)


def _replace(seen: ObservedService, observed: Observed, index: _Index) -> list[Action]:
    """What is to be done about a service of another version, which an admin of that one started.

    What such a service can still say and be told goes on: predictors and inference workers until their job ends, train
    workers until their trial does. Advisors are replaced at once: they write to the database, which has this version's
    tables, and their successors go on from what it holds.
    """
    service, report = seen.service, seen.report
    if report is None or report.state != "running" or report.version == observed.version:
        return []
    is_understood = OLDEST_PROTOCOL <= report.protocol <= PROTOCOL
    if service.service_type is ServiceType.ADVISOR or not is_understood:
        return [StopService(service=service, is_replaced=True)]
    if service.service_type is ServiceType.TRAIN:
        for advisor in index.advisors[service.unit_id]:
            if observed.retiring.get(service.id) != advisor.service.id:
                return [RetireService(service=service, advisor_id=advisor.service.id)]
    return []


# ---- train jobs


def share_gpus(gpu_count: int, n_models: int) -> list[int]:
    """GPUs of each model: shared out evenly, the first models get what is left over."""
    each, left = divmod(gpu_count, n_models)
    return [each + (1 if i < left else 0) for i in range(n_models)]


def _plan_train_job(observed: Observed, index: _Index, seen: ObservedTrainJob, free_gpus: _FreeGpus) -> list[Action]:
    job = seen.job
    actions: list[Action] = []
    slots = _Slots(observed, index, job.id, seen.ended, seen.environments)
    budget = job.budget
    shares = share_gpus(budget.gpu_count, len(seen.subs))
    for sub, n_gpus in zip(seen.subs, shares, strict=True):
        if is_final(TRAIN_JOB_TRANSITIONS, sub.status):
            actions += [StopService(service=s.service) for k, s in slots.live.items() if k[1] == sub.id and not s.exit]
            continue
        if (check := seen.checks.get(sub.id)) is not None:
            # Nothing starts before the knobs are known. Whoever stops the job waits for no check.
            if not check.is_checking or job.datetime_stop_requested is not None:
                actions.append(FailSearch(sub=sub, error=f"The model does not load: {check.reason}"))
            continue
        advisor: SlotKey = (ServiceType.ADVISOR, sub.id, 0)
        workers: list[SlotKey] = [(ServiceType.TRAIN, sub.id, i) for i in range(n_gpus or budget.cpu_worker_count)]
        if slots.is_dead(advisor):
            actions.append(FailSearch(sub=sub, error=f"The advisor cannot go on: {slots.last_error(advisor)}"))
            continue
        if all(slots.is_dead(w) for w in workers):
            actions.append(FailSearch(sub=sub, error=_no_worker(slots, workers)))
            continue
        if slots.may_start(advisor):
            actions.append(slots.start(advisor, job.id, []))
        # A job that is to stop needs its advisor, which closes the trials, and nobody who begins new ones.
        if job.datetime_stop_requested is None:
            for worker in workers:
                if slots.may_start(worker) and (gpus := free_gpus.take(1 if n_gpus else 0)) is not None:
                    actions.append(slots.start(worker, job.id, gpus))
    status = derive_train_job_status(s.status for s in seen.subs)
    if status is not job.status:
        error = None
        if status is TrainJobStatus.ERRORED:
            error = "; ".join(f"{s.model_ref}: {s.error}" for s in seen.subs if s.error)
        actions.append(SetTrainJobStatus(job=job, status=status, error=error))
    return actions


def _no_worker(slots: _Slots, workers: list[SlotKey]) -> str:
    last = slots.last_error(workers[0])
    if slots.cannot_run(workers[0]):
        return last
    return f"Its train worker ended {slots.failures(workers[0])} times in a row; the last time: {last}"


# ---- inference jobs


def _plan_inference_job(
    observed: Observed, index: _Index, seen: ObservedInferenceJob, free_gpus: _FreeGpus
) -> list[Action]:
    job = seen.job
    actions: list[Action] = []
    slots = _Slots(observed, index, job.id, seen.ended, seen.environments)
    if job.datetime_stop_requested is not None:
        stops: list[Action] = [StopService(service=s.service) for s in slots.live.values() if not s.exit]
        return [*stops, SetInferenceJobStatus(job=job, status=InferenceJobStatus.STOPPED)]
    budget = job.budget
    predictor: SlotKey = (ServiceType.PREDICT, job.id, 0)
    shares = share_gpus(budget.gpu_count, len(seen.trial_ids))
    members: list[list[SlotKey]] = [
        [(ServiceType.INFERENCE, trial_id, i) for i in range(budget.replica_count)] for trial_id in seen.trial_ids
    ]
    error = None
    if slots.is_dead(predictor):
        error = f"The predictor cannot run: {slots.last_error(predictor)}"
    elif all(slots.is_dead(r) for replicas in members for r in replicas):
        error = f"No inference worker can run: {slots.last_error(members[0][0])}"
    if error is not None:
        return [SetInferenceJobStatus(job=job, status=InferenceJobStatus.ERRORED, error=error)]
    # Workers first: they take longer to be ready than the predictor.
    for replicas, n_gpus in zip(members, shares, strict=True):
        for i, replica in enumerate(replicas):
            if slots.may_start(replica) and (gpus := free_gpus.take(1 if i < n_gpus else 0)) is not None:
                actions.append(slots.start(replica, job.id, gpus))
    if slots.may_start(predictor):
        actions.append(slots.start(predictor, job.id, []))
    if job.status is InferenceJobStatus.STARTED and slots.is_running(predictor):
        able = [replicas for replicas in members if not all(slots.is_dead(r) for r in replicas)]
        if all(any(slots.is_running(r) for r in replicas) for replicas in able):
            actions.append(SetInferenceJobStatus(job=job, status=InferenceJobStatus.RUNNING))
    return actions


def is_live(service: Service) -> bool:
    """Whether the service counts as running or starting."""
    return not is_final(SERVICE_TRANSITIONS, service.status)
