"""The supervisor: a thread that looks, plans and acts, until what runs is what is wanted.

It wakes when something happens (a job is made or stopped, a service reports) and at the latest after a tick.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rafiki import __version__
from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.events import SERVICES, EventHub
from rafiki.admin.health import Condition, Starts
from rafiki.admin.model_checks import ModelChecks
from rafiki.admin.planner import (
    Action,
    FailSearch,
    NoteEnded,
    NoteRunning,
    Observed,
    ObservedInferenceJob,
    ObservedService,
    ObservedTrainJob,
    RetireService,
    SetInferenceJobStatus,
    SetTrainJobStatus,
    StartService,
    StopService,
    is_live,
    plan,
)
from rafiki.admin.service_names import name_of
from rafiki.admin.specs import SpecBuilder
from rafiki.cache.changes import Change
from rafiki.constants import ServiceStatus, ServiceType, TrainJobStatus, TrialStatus
from rafiki.container.base import ContainerManager, ServiceExit, StartedService
from rafiki.entities import InferenceJob, Service, TrainJob
from rafiki.environments.state import EnvironmentState
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import (
    CacheUnavailableError,
    CacheUnfitError,
    ContainerError,
    MetaStoreError,
    RafikiError,
    StackError,
    StoreFullError,
)
from rafiki.messages import PredictorReport, RetireWorker, ServiceReport, StopRequested, WorkerLost
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.service_names import NamedService, ServiceNames
from rafiki.settings import Config
from rafiki.states import TRAIN_JOB_TRANSITIONS, find_outcome, is_final
from rafiki.utils.clock import Deadline, utc_now
from rafiki.utils.ids import new_id
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)

_ACTION_LIMIT_S = 15.0
"""A container back end may take its time to start a service."""
_OF_THE_STACK = (ContainerError, StoreFullError, MetaStoreError, CacheUnavailableError, CacheUnfitError)
"""Failures to start a service that are no matter of its job."""
_OURS = (ServiceType.ADVISOR, ServiceType.PREDICT)
"""They run no model code: what keeps one from starting is the stack's."""
_NEVER_STARTED = ServiceExit(code=None, reason="the admin ended before it was started")


class Supervisor:
    """Owner of all services and of the statuses of all jobs."""

    def __init__(
        self,
        *,
        config: Config,
        store: MetaStore,
        containers: ContainerManager,
        cache: CacheKeeper,
        specs: SpecBuilder,
        environments: EnvironmentStore,
        checks: ModelChecks,
        hub: EventHub,
        names: ServiceNames,
        params: ParamStore,
    ) -> None:
        self._config = config
        self._params = params
        self._names = names
        self._store = store
        self._containers = containers
        self._cache = cache
        self._specs = specs
        self._environments = environments
        self._checks = checks
        self._hub = hub
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._looked = threading.Condition()
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="stop")
        self._being_stopped: set[str] = set()
        self._retiring: dict[str, str] = {}
        self._silent_since: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._condition = Condition("The supervisor, which looks after all jobs,")
        self._starts = Starts()
        self._told: str | None = None

    # ---- from other threads

    def start(self) -> None:
        self._cache.on_report(self.wake)
        for waited_for in (self._environments, self._checks):
            waited_for.on_change(self.wake)
            waited_for.on_change(lambda: self._hub.note_all(Change.JOB))
        known = self._names.read()
        for service in self._store.services.list_live_services():
            if service.id not in known:
                self._note_name(service)  # Started by an admin that kept no names.
        self._thread.start()

    def find_errors(self) -> list[RafikiError]:
        """What keeps the supervisor from its work, and jobs from theirs."""
        if self._thread.ident is not None and not self._thread.is_alive() and not self._stopping.is_set():
            told = "The supervisor has ended, so no job goes on. See `rafiki logs admin`; `rafiki down`, `rafiki up`."
            return [StackError(told)]
        return [e for e in (self._condition.find_error(), self._starts.find_error()) if e is not None]

    def wake(self) -> None:
        """Something has happened: look now."""
        self._wake.set()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``condition()`` holds, which is asked after each look; whether it did in time."""
        deadline = Deadline(timeout_s)
        with self._looked:
            while not condition():
                if deadline.is_over() or self._stopping.is_set():
                    return False
                self._looked.wait(min(deadline.left_s(), self._config.supervisor.tick_s))
        return True

    def announce_stop(self, train_job_id: str) -> None:
        """Tell the job's advisors at once that it is to stop; without this they see it at their next look."""
        for sub in self._store.train_jobs.list_sub_train_jobs(train_job_id):
            try:
                self._cache.send_train_event(train_job_id, sub.id, StopRequested())
            except CacheUnavailableError as e:
                _logger.warning(
                    "cannot tell the advisor of %s to stop: %s", sub.model_ref, e.message, extra={"job": train_job_id}
                )

    def read_predictor_reports(self, predictors: list[Service]) -> dict[str, PredictorReport]:
        """What predictors told last of how much they serve, by service id; nothing when the cache cannot tell."""
        try:
            return self._cache.read_predictor_reports([(s.job_id, s.id) for s in predictors])
        except CacheUnavailableError:
            return {}

    def shut_down(self) -> None:
        """Stop looking, end every service, and the private cache. Jobs stay live: they go on at the next start."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(10.0)
        for service in self._store.services.list_live_services():
            self._stop_later(service, None)
        self._checks.shut_down()
        self._environments.shut_down()
        self._pool.shutdown(wait=True)
        self._cache.shut_down()

    def hand_over(self) -> None:
        """Stop looking, and leave services and cache as they are: the next admin adopts them."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(10.0)
        self._environments.shut_down()
        self._pool.shutdown(wait=True)
        self._cache.let_go()

    # ---- the loop

    def _run(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            error: RafikiError | None = None
            try:
                self._look()
            except RafikiError as e:
                error = e
            except Exception as e:  # noqa: BLE001 - the loop must outlive whatever one look runs into
                log_unexpected(_logger, e)
                told = f"The supervisor failed unexpectedly ({type(e).__name__}: {e}). See `rafiki logs admin`."
                error = StackError(told)
            self._note_look(error)
            with self._looked:
                self._looked.notify_all()
            took_s = time.monotonic() - started
            self._wake.wait(max(0.0, self._config.supervisor.tick_s - min(took_s, 0.5)))
            self._wake.clear()

    def _look(self) -> None:
        self._condition.begin()
        live = self._live_job_ids()
        self._cache.ensure(live)
        self._condition.begin()
        observed = self._observe()
        for action in plan(observed):
            if self._stopping.is_set():
                return
            self._condition.begin(_ACTION_LIMIT_S)
            self._try(action)
        self._condition.begin()
        # A job's keys go when its last service has gone.
        self._cache.revoke_all_but({*live, *self._jobs_with_services()})

    def _note_look(self, error: RafikiError | None) -> None:
        self._condition.end(error)
        told = error.message if error is not None else None
        if told != self._told:
            _logger.warning("supervisor: %s", told or "it goes on")
        self._told = told

    def _live_job_ids(self) -> list[str]:
        train_jobs = self._store.train_jobs.list_live_train_jobs()
        return [j.id for j in train_jobs] + [j.id for j in self._store.inference_jobs.list_live_inference_jobs()]

    def _jobs_with_services(self) -> set[str]:
        return {s.job_id for s in self._store.services.list_live_services()}

    def _observe(self) -> Observed:
        store, settings = self._store, self._config.supervisor
        all_live = store.services.list_live_services()
        stopping = [s for s in all_live if s.id in self._being_stopped]
        live = [s for s in all_live if s not in stopping]
        # How services ended is looked at before how their jobs stand: see Observed.
        exits = self._poll(live)
        reports = self._reports(live)
        silences = self._silences(live, reports)
        services = [
            ObservedService(service=s, exit=exits[s.id], report=(reports or {}).get(s.id), silent_s=silences[s.id])
            for s in live
        ]
        train_jobs = [self._observe_train_job(j) for j in store.train_jobs.list_live_train_jobs()]
        inference_jobs = [self._observe_inference_job(j) for j in store.inference_jobs.list_live_inference_jobs()]
        return Observed(
            now=utc_now(),
            train_jobs=train_jobs,
            inference_jobs=inference_jobs,
            services=services,
            stopping=stopping,
            gpus=self._containers.gpus() if self._needs_gpus(train_jobs, inference_jobs) else [],
            max_restarts=settings.max_restarts,
            restart_delay_s=settings.restart_delay_s,
            start_timeout_s=settings.start_timeout_s,
            # Twice the time after which an advisor gives a silent worker's trial away.
            silence_limit_s=2 * self._config.train.lost_after_s,
            version=__version__,
            retiring=dict(self._retiring),
        )

    def _observe_train_job(self, job: TrainJob) -> ObservedTrainJob:
        subs = self._store.train_jobs.list_sub_train_jobs(job.id)
        live = [s for s in subs if not is_final(TRAIN_JOB_TRANSITIONS, s.status)]
        models = {s.id: self._store.models.get_model(s.model_id) for s in live}
        checks = {sub_id: self._checks.look(model, job.datetime_started) for sub_id, model in models.items()}
        return ObservedTrainJob(
            job=job, subs=subs, ended=self._ended(job.id),
            environments={sub_id: self._environments.look(model.dependencies) for sub_id, model in models.items()},
            checks={sub_id: check for sub_id, check in checks.items() if check is not None},
        )  # fmt: skip

    def _observe_inference_job(self, job: InferenceJob) -> ObservedInferenceJob:
        trial_ids = [t.trial_id for t in self._store.inference_jobs.list_served_trials(job.id)]
        subs = self._store.train_jobs.list_sub_train_jobs(job.train_job_id) if trial_ids else []
        model_ids = {s.id: s.model_id for s in subs}
        environments = {
            trial_id: self._environment_of(model_ids[self._store.trials.get_trial(trial_id).sub_train_job_id])
            for trial_id in trial_ids
        }
        return ObservedInferenceJob(job=job, trial_ids=trial_ids, ended=self._ended(job.id), environments=environments)

    def _environment_of(self, model_id: str) -> EnvironmentState:
        return self._environments.look(self._store.models.get_model(model_id).dependencies)

    @staticmethod
    def _needs_gpus(train_jobs: list[ObservedTrainJob], inference_jobs: list[ObservedInferenceJob]) -> bool:
        return any(t.job.budget.gpu_count for t in train_jobs) or any(i.job.budget.gpu_count for i in inference_jobs)

    def _ended(self, job_id: str) -> list[Service]:
        return [s for s in self._store.services.list_services(job_id) if not is_live(s)]

    def _poll(self, live: list[Service]) -> dict[str, ServiceExit | None]:
        """How each service ended; None for those that run."""
        exits = self._containers.poll_all({s.id: s.handle for s in live if s.handle is not None})
        for service in live:
            if service.handle is None:
                exits[service.id] = self._adopt(service)
        return exits

    def _adopt(self, service: Service) -> ServiceExit | None:
        """An admin died between starting a service and writing its handle down: find it, if it was started."""
        found = self._containers.find(service.id)
        if found is None:
            return _NEVER_STARTED
        self._keep(service, found)
        return None

    def _reports(self, live: list[Service]) -> dict[str, ServiceReport] | None:
        """What the services last said of themselves; None when the cache cannot tell."""
        try:
            return self._cache.read_reports([(s.job_id, s.id) for s in live])
        except CacheUnavailableError:
            return None

    def _silences(self, live: list[Service], reports: dict[str, ServiceReport] | None) -> dict[str, float]:
        """Seconds for which each service has been silent; a cache that cannot tell makes nobody silent."""
        now = time.monotonic()
        self._silent_since = {
            s.id: self._silent_since.get(s.id, now) for s in live if reports is not None and s.id not in reports
        }
        return {s.id: now - self._silent_since.get(s.id, now) for s in live}

    # ---- actions

    def _try(self, action: Action) -> None:
        """One action that fails must not keep the others from being done; it is planned again at the next look."""
        try:
            self._act(action)
        except RafikiError as e:
            _logger.warning("supervisor: %s failed: %s", type(action).__name__, e.message)

    def _act(self, action: Action) -> None:
        match action:
            case StartService():
                self._start(action)
            case StopService():
                self._stop_later(action.service, action.error, is_replaced=action.is_replaced)
            case RetireService():
                self._retire(action)
            case NoteRunning():
                service = self._store.services.set_service_status(action.service_id, ServiceStatus.RUNNING)
                self._starts.succeed()
                self._notify_watchers(service.job_id)
            case NoteEnded():
                self._note_ended(action)
            case FailSearch():
                self._fail_search(action)
            case SetTrainJobStatus():
                self._store.train_jobs.set_train_job_status(action.job.id, action.status, action.error)
                _log_job("train job", action)
                self._notify_watchers(action.job.id)
                self._wake.set()
            case SetInferenceJobStatus():
                self._store.inference_jobs.set_inference_job_status(action.job.id, action.status, action.error)
                _log_job("inference job", action)
                self._notify_watchers(action.job.id)
                self._wake.set()

    def _notify_watchers(self, job_id: str) -> None:
        """Something of a job or of its services has changed in the meta store."""
        self._hub.note(job_id, Change.JOB)
        self._hub.note(SERVICES, Change.JOB)

    def _start(self, action: StartService) -> None:
        service_id = new_id()
        service = self._store.services.create_service(
            service_id=service_id, service_type=action.service_type, job_id=action.job_id, unit_id=action.unit_id,
            slot=action.slot, attempt=action.attempt, gpus=action.gpus,
        )  # fmt: skip
        self._note_name(service)
        try:
            self._cache.grant(action.job_id)
            if action.service_type is ServiceType.ADVISOR:
                # From here on no earlier advisor can write, should one still run.
                self._store.train_jobs.set_advisor(action.unit_id, service_id)
            started = self._containers.start(self._specs.build(action, service_id, self._last_port(action)))
        except RafikiError as e:
            if isinstance(e, _OF_THE_STACK):
                self._starts.fail(f"Services cannot be started: {e.message}")
            self._store.services.set_service_status(service_id, ServiceStatus.ERRORED, e.message)
            self._log_service(service, logging.ERROR, f"could not be started: {e.message}")
            self._notify_watchers(action.job_id)
            self._wake.set()
            return
        self._keep(service, started)
        if action.service_type is ServiceType.ADVISOR:
            self._announce_all_lost(action)
        self._log_service(service, logging.INFO, f"started (attempt {action.attempt})")
        self._notify_watchers(action.job_id)

    def _note_name(self, service: Service) -> None:
        name = name_of(self._store, service)
        self._names.add(NamedService(id=service.id, name=name, job_id=service.job_id, attempt=service.attempt))

    def _log_service(self, service: Service, level: int, message: str) -> None:
        _logger.log(level, "%s: %s", name_of(self._store, service), message, extra=_fields_of(service))

    def _keep(self, service: Service, started: StartedService) -> None:
        """Write down how a service is found again, and where others reach it."""
        port = started.address.port if started.address else None
        self._store.services.set_service_handle(service.id, started.handle, port=port)
        if started.address is not None:
            self._store.inference_jobs.set_predictor_host(service.job_id, str(started.address))

    def _last_port(self, action: StartService) -> int | None:
        """The port that the job's last predictor had, so that clients find it again."""
        if action.service_type is not ServiceType.PREDICT:
            return None
        services = reversed(self._store.services.list_services(action.job_id))
        return next((s.port for s in services if s.service_type is ServiceType.PREDICT and s.port), None)

    def _note_ended(self, action: NoteEnded) -> None:
        service, error = action.service, action.error
        self._retiring.pop(service.id, None)
        # Children that it left behind must not go on writing.
        if service.handle is not None:
            self._containers.stop(service.id, service.handle, 0.0)
        status = ServiceStatus.STOPPED if error is None else ServiceStatus.ERRORED
        if error is not None and service.service_type in _OURS and service.status is not ServiceStatus.RUNNING:
            self._starts.fail(f"A service of our own, {service.service_type}, does not start: {error}")
        self._store.services.set_service_status(service.id, status, error, is_permanent=action.is_permanent)
        self._notify_watchers(service.job_id)
        if error is not None:
            self._log_service(service, logging.ERROR, f"ended: {error}")
        if error is not None and service.service_type is ServiceType.TRAIN:
            self._announce_lost(service, error)
        if service.service_type is ServiceType.INFERENCE:
            self._tell_unserved(service)
        self._wake.set()

    def _tell_unserved(self, service: Service) -> None:
        """The predictor stops asking a member that has no worker any more; the entry's own end would come later."""
        try:
            self._cache.unserve(service.job_id, service.unit_id, service.id)
        except CacheUnavailableError as e:
            self._log_service(service, logging.WARNING, f"cannot tell the predictor of its end: {e.message}")

    def _announce_lost(self, service: Service, reason: str) -> None:
        """The advisor hears at once that a worker is gone; the missing heartbeat would tell it later."""
        try:
            self._cache.send_train_event(service.job_id, service.unit_id, WorkerLost(service.id, reason))
        except CacheUnavailableError as e:
            self._log_service(service, logging.WARNING, f"cannot tell the advisor of its end: {e.message}")

    def _announce_all_lost(self, advisor: StartService) -> None:
        """A new advisor finds trials whose workers ended before it began (the stack was down): say that they did."""
        for service in self._store.services.list_services(advisor.job_id):
            if (
                service.service_type is ServiceType.TRAIN
                and service.unit_id == advisor.unit_id
                and not is_live(service)
            ):
                self._announce_lost(service, service.error or "it was stopped together with the stack")

    def _retire(self, action: RetireService) -> None:
        service = action.service
        self._cache.send_train_event(service.job_id, service.unit_id, RetireWorker(service.id))
        self._retiring[service.id] = action.advisor_id
        self._log_service(service, logging.INFO, "is of another version: ends after its trial, and is replaced")

    def _stop_later(self, service: Service, error: str | None, *, is_replaced: bool = False) -> None:
        if service.id in self._being_stopped:
            return
        if is_replaced:
            self._log_service(service, logging.INFO, "is of another version: another takes its place")
        self._being_stopped.add(service.id)
        self._pool.submit(self._stop, service, error, is_replaced)

    def _stop(self, service: Service, error: str | None, is_replaced: bool = False) -> None:
        try:
            handle = service.handle
            if handle is None and (found := self._containers.find(service.id)) is not None:
                handle = found.handle
            if handle is not None:
                self._containers.stop(service.id, handle, self._config.container.stop_timeout_s)
            status = ServiceStatus.STOPPED if error is None else ServiceStatus.ERRORED
            self._store.services.set_service_status(service.id, status, error)
            self._notify_watchers(service.job_id)
            if (error is not None or is_replaced) and service.service_type is ServiceType.TRAIN:
                self._announce_lost(service, error or "it was replaced by a worker of another version")
        except RafikiError as e:
            self._log_service(service, logging.ERROR, f"could not be stopped: {e.message}")
        except Exception as e:  # noqa: BLE001 - a pool's thread has nobody above it to tell
            log_unexpected(_logger, e, **_fields_of(service))
        finally:
            self._being_stopped.discard(service.id)
            self._wake.set()

    def _fail_search(self, action: FailSearch) -> None:
        """Take the sub train job over from its advisor, close its trials, and mark it ERRORED."""
        sub_id = action.sub.id
        self._store.train_jobs.set_advisor(sub_id, None)
        for trial in self._store.trials.list_trials_of_sub_train_job(sub_id):
            if trial.status in (TrialStatus.PENDING, TrialStatus.RUNNING):
                self._store.trials.fail_trial(trial.id, error=action.error, owner_id=None)
                if trial.checkpoint is not None:
                    self._params.delete(trial.checkpoint.params_id)
        status = (
            TrainJobStatus.STOPPED if action.sub.error is None and self._is_stop(action) else TrainJobStatus.ERRORED
        )
        error = action.error if status is TrainJobStatus.ERRORED else None
        self._store.train_jobs.set_sub_train_job_status(sub_id, status, error, owner_id=None)
        _logger.error(
            "model %s: search failed: %s", action.sub.model_ref, action.error, extra={"job": action.sub.train_job_id}
        )
        self._notify_watchers(action.sub.train_job_id)
        self._wake.set()

    def _is_stop(self, action: FailSearch) -> bool:
        """Whether the job was to stop anyway: then that it did is no error."""
        job = self._store.train_jobs.get_train_job(action.sub.train_job_id)
        return job.datetime_stop_requested is not None


def _fields_of(service: Service) -> dict[str, str]:
    return {"service": service.id, "kind": service.service_type.lower(), "job": service.job_id}


def _log_job(kind: str, action: SetTrainJobStatus | SetInferenceJobStatus) -> None:
    job = action.job
    level = logging.INFO if action.error is None else logging.ERROR
    status: str = action.status
    if isinstance(action, SetTrainJobStatus):
        status = find_outcome(action.status, action.job.datetime_stop_requested) or status
    what = f"{status}: {action.error}" if action.error else status
    _logger.log(level, "%s %s v%s: %s", kind, job.app, job.app_version, what, extra={"job": job.id})
