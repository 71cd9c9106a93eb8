"""Starts, adopts and ends the services of jobs, and writes down how they stand."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rafiki.admin.actions import NoteEnded, RetireService, StartService
from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.counters import AdminCounters
from rafiki.admin.events import EventHub
from rafiki.admin.health import Starts
from rafiki.admin.refusals import Refusals
from rafiki.admin.service_names import name_of
from rafiki.admin.specs import SpecBuilder
from rafiki.constants import ServiceStatus, ServiceType
from rafiki.container.base import ContainerManager, ServiceExit, StartedService
from rafiki.container.endings import with_last_words
from rafiki.entities import Service
from rafiki.errors import (
    CacheUnavailableError,
    CacheUnfitError,
    ContainerError,
    MetaStoreError,
    RafikiError,
    StackError,
    StoreFullError,
)
from rafiki.messages import RetireWorker, WorkerLost, drain_s
from rafiki.meta_store import MetaStore
from rafiki.service_names import NamedService, ServiceNames
from rafiki.settings import Config
from rafiki.utils.clock import Deadline
from rafiki.utils.ids import new_id
from rafiki.utils.logs import log_unexpected
from rafiki.utils.process import Backoff, wait_until
from rafiki.utils.timing import SYSTEM, Timing

_logger = logging.getLogger(__name__)

_OF_THE_STACK = (ContainerError, StoreFullError, MetaStoreError, CacheUnavailableError, CacheUnfitError)
"""Failures to start a service that are no matter of its job."""
_OF_THE_MOMENT = (StoreFullError, MetaStoreError, CacheUnavailableError)
"""They say nothing of the service: it is started again once they have passed, however often they came."""
_KEPT_OF_SLOT = 4
"""Records of workers that were wanted no more: a deployment that sleeps every night has one more each day."""
_OURS = (ServiceType.ADVISOR, ServiceType.PREDICT)
"""They run no model code: what keeps one from starting is the stack's."""
_END_TAKES_S = 5.0
"""What it takes to end a service, beside its own time."""
MOST_STARTS = 16
"""Services that are being started at the same time. A Swarm takes them one after another; to ask it takes a while."""
MOST_ENDS = 32
"""Services that are being ended at the same time: most of it is waiting for them."""
_NEVER_STARTED = ServiceExit(code=None, reason="the admin ended before it was started", has_run=False)


class ServiceRunner:
    """Owner of all services. The supervisor's thread decides; threads of pools wait for the back end, for many services
    at once."""

    def __init__(
        self,
        *,
        config: Config,
        store: MetaStore,
        containers: ContainerManager,
        cache: CacheKeeper,
        specs: SpecBuilder,
        hub: EventHub,
        names: ServiceNames,
        wake: Callable[[], None],
        counters: AdminCounters,
        timing: Timing = SYSTEM,
    ) -> None:
        """
        Args:
            wake: called when something has changed that the next look should see.
        """
        self._counters = counters
        self._config = config
        self._store = store
        self._containers = containers
        self._cache = cache
        self._specs = specs
        self._hub = hub
        self._names = names
        self._wake = wake
        self._start_pool = timing.make_pool(MOST_STARTS, "start")
        self._timing = timing
        self._end_pool = timing.make_pool(MOST_ENDS, "end")
        self._has_postponed = False
        self._called: dict[str, str] = {}
        """The names of services, while they live."""
        self.starts = Starts()
        self._pauses = Backoff(0.25, 5.0)
        self._paused_until_s = 0.0
        self.being_started: set[str] = set()
        """Those that have a record already, and no handle yet."""
        self.being_stopped: set[str] = set()
        self.retiring: dict[str, str] = {}
        """Train workers that are to end after their trial -> the advisor that was told so."""
        self.placed: dict[str, str] = {}
        """Hosts that services were started on, by their ids."""
        self.refusals = Refusals()

    def on_end(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called when a service may have ended by itself."""
        self._containers.on_end(listener)

    def note_names(self) -> None:
        """Write down the names of services that an admin started which kept none."""
        known = self._names.read()
        for service in self._store.services.list_live_services():
            if service.id not in known:
                self._note_name(service)

    def stop_all(self) -> None:
        """Begin to end every service; :meth:`wait_for_ends` waits until they have ended."""
        self._start_pool.shutdown(wait=True)
        live = self._store.services.list_live_services()
        workers = [s for s in live if s.service_type is ServiceType.INFERENCE]
        predictors = {s.id: self._drain_limit_s(s) for s in live if s.service_type is ServiceType.PREDICT}
        for service in live:
            if service.service_type is not ServiceType.INFERENCE:
                self.stop_later(service, None)
        # Predictors answer what they have in hand; those who do that work end after them.
        limit_s = max(predictors.values(), default=0.0) + _END_TAKES_S
        wait_until(lambda: not predictors.keys() & self.being_stopped, Deadline(limit_s))
        for service in workers:
            self.stop_later(service, None)

    def wait_for_ends(self) -> None:
        """Begin nothing more, and wait for what the back end is doing."""
        self._start_pool.shutdown(wait=True)
        self._end_pool.shutdown(wait=True)

    @property
    def most_starts(self) -> int:
        """How many services may be started now; none for a while after space or a store was lacking for one."""
        if self._timing.monotonic_s() < self._paused_until_s:
            return 0
        return max(0, MOST_STARTS - len(self.being_started))

    def start_later(self, action: StartService) -> None:
        """Have a service started by a thread. Who plans heeds :attr:`most_starts`."""
        self._cache.grant(action.job_id)
        service = self._store.services.create_service(
            service_id=new_id(), service_type=action.service_type, job_id=action.job_id, unit_id=action.unit_id,
            slot=action.slot, attempt=action.attempt, gpus=action.gpus,
        )  # fmt: skip
        self._counters.add_start(action.service_type, is_again=action.attempt > 1)
        self._note_name(service)
        if action.host is not None:
            self.placed[service.id] = action.host
        self.being_started.add(service.id)
        self._start_pool.submit(lambda: self._start(action, service))

    def _start(self, action: StartService, service: Service) -> None:
        try:
            if action.service_type is ServiceType.ADVISOR:
                # From here on no earlier advisor can write, should one still run.
                self._store.train_jobs.set_advisor(action.unit_id, service.id)
            started = self._containers.start(self._specs.build(action, service.id, self._last_port(action)))
            self._keep(service, started)
            self._pauses.reset()
            if action.service_type is ServiceType.ADVISOR:
                self._announce_all_lost(action)
            self._log_service(service, logging.INFO, f"started (attempt {action.attempt})")
        except RafikiError as e:
            self._note_not_started(service, e)
        except Exception as e:  # noqa: BLE001 - a pool's thread has nobody above it to tell
            log_unexpected(_logger, e, **_fields_of(service))
            self._note_not_started(service, StackError(f"It failed unexpectedly ({type(e).__name__}: {e})."))
        finally:
            # Then others may wait for their turn.
            was_full = not self.most_starts
            self.being_started.discard(service.id)
            self._hub.note_job(action.job_id)
            if was_full or self._has_postponed:
                self._has_postponed = False
                self._wake()

    def _note_not_started(self, service: Service, error: RafikiError) -> None:
        if isinstance(error, _OF_THE_STACK):
            self.starts.fail(f"Services cannot be started: {error.message}")
        status = ServiceStatus.ERRORED
        if isinstance(error, _OF_THE_MOMENT):
            status = ServiceStatus.STOPPED
            self._paused_until_s = self._timing.monotonic_s() + self._pauses.next_s()
        self._log_service(service, logging.ERROR, f"could not be started: {error.message}")
        try:
            self._store.services.set_service_status(service.id, status, error.message)
        except RafikiError as e:
            # The next look finds it without a handle, and notes it.
            _logger.warning("supervisor: %s", e.message)
        self._forget_name(service)
        self._wake()

    def adopt(self, service: Service) -> ServiceExit | None:
        """An admin died between starting a service and writing its handle down: find it, if it was started."""
        found = self._containers.find(service.id)
        if found is None:
            return _NEVER_STARTED
        self._keep(service, found)
        return None

    def note_running(self, service_id: str) -> None:
        service = self._store.services.set_service_status(service_id, ServiceStatus.RUNNING)
        self.starts.succeed()
        self._hub.note_job(service.job_id)

    def note_ended_later(self, action: NoteEnded) -> None:
        """Have a thread end what a service has left behind, and note its end."""
        service = action.service
        if service.id in self.being_started:
            self._has_postponed = True
            return
        self._end_later(service, lambda: self._note_ended(action))

    def _note_ended(self, action: NoteEnded) -> None:
        service, error = action.service, action.error
        if error is not None and action.refused_by is not None:
            self.refusals.add(service.unit_id, action.refused_by, error)
        # Children that it left behind must not go on writing.
        if service.handle is not None:
            self._containers.stop(service.id, service.handle, 0.0)
        status = ServiceStatus.STOPPED if error is None else ServiceStatus.ERRORED
        if error is not None and service.service_type in _OURS and service.status is not ServiceStatus.RUNNING:
            self.starts.fail(f"A service of our own, {service.service_type}, does not start: {error}")
        self._store.services.set_service_status(service.id, status, error, is_permanent=action.is_permanent)
        self.retiring.pop(service.id, None)
        self._hub.note_job(service.job_id)
        if error is not None:
            self._log_service(service, logging.ERROR, f"ended: {error}")
        if error is not None and service.service_type is ServiceType.TRAIN:
            self._announce_lost(service, error)
        if service.service_type is ServiceType.INFERENCE:
            self._tell_unserved(service)

    def retire(self, action: RetireService) -> None:
        service = action.service
        self._cache.send_train_event(service.job_id, service.unit_id, RetireWorker(service.id))
        self.retiring[service.id] = action.advisor_id
        self._log_service(service, logging.INFO, f"{action.why}: ends after its trial, and is replaced")

    def stop_later(
        self, service: Service, error: str | None, *, replaced: str | None = None, is_drained: bool = False
    ) -> None:
        """
        Args:
            replaced: why another takes its place; None = none does.
            is_drained: it has time to answer what it holds.
        """
        if service.id in self.being_started:
            # The back end may know nothing of it yet. It is stopped once it is there.
            self._has_postponed = True
            return
        if replaced is not None and service.id not in self.being_stopped:
            self._log_service(service, logging.INFO, f"{replaced}: another takes its place")
        self._end_later(service, lambda: self._stop(service, error, replaced, is_drained=is_drained))

    def _stop(self, service: Service, error: str | None, replaced: str | None, *, is_drained: bool) -> None:
        handle = service.handle
        if handle is None and (found := self._containers.find(service.id)) is not None:
            handle = found.handle
        if handle is not None:
            limit_s = self._config.container.stop_timeout_s
            if error is None and (is_drained or service.service_type is ServiceType.PREDICT):
                limit_s = self._drain_limit_s(service)
            self._containers.stop(service.id, handle, limit_s)
        status = ServiceStatus.STOPPED if error is None else ServiceStatus.ERRORED
        if error is not None:
            # Why it hung, if it said.
            error = with_last_words(error, self._names.log_file(service.service_type, service.id))
        self._store.services.set_service_status(service.id, status, error)
        self._hub.note_job(service.job_id)
        if is_drained:
            # One that was killed has not said so itself; what it held is given to the others.
            self._tell_unserved(service)
            self._store.services.forget_stopped_services(service.job_id, service.unit_id, keep=_KEPT_OF_SLOT)
        if (error is not None or replaced is not None) and service.service_type is ServiceType.TRAIN:
            self._announce_lost(service, error or f"it {replaced}, and was replaced")

    def _drain_limit_s(self, service: Service) -> float:
        """How long a service may take to end that answers first what it has in hand."""
        is_front, jobs = service.service_type is ServiceType.PREDICT, self._store.inference_jobs
        job = jobs.find_primary(service.job_id) if is_front else jobs.get_inference_job(service.job_id)
        budget_ms = job.deployment.latency_budget_ms
        deadline_s = budget_ms / 1000 if budget_ms else self._config.predictor.deadline_s
        return self._config.container.stop_timeout_s + drain_s(deadline_s)

    def _end_later(self, service: Service, end: Callable[[], None]) -> None:
        if service.id in self.being_stopped:
            return
        self.being_stopped.add(service.id)
        self._end_pool.submit(lambda: self._end(service, end))

    def _end(self, service: Service, end: Callable[[], None]) -> None:
        try:
            end()
            self._forget_name(service)
        except RafikiError as e:
            self._log_service(service, logging.ERROR, f"could not be ended: {e.message}")
        except Exception as e:  # noqa: BLE001 - a pool's thread has nobody above it to tell
            log_unexpected(_logger, e, **_fields_of(service))
        finally:
            self.placed.pop(service.id, None)
            self.being_stopped.discard(service.id)
            self._wake()

    def _keep(self, service: Service, started: StartedService) -> None:
        """Write down how a service is found again, and where others reach it."""
        port = started.address.port if started.address else None
        self._store.services.set_service_handle(service.id, started.handle, port=port)
        if started.address is not None:
            scheme = "https://" if self._config.tls.certificate is not None else ""
            self._store.inference_jobs.set_predictor_host(service.job_id, f"{scheme}{started.address}")

    def _last_port(self, action: StartService) -> int | None:
        """The port that the job's last predictor had, so that clients find it again."""
        if action.service_type is not ServiceType.PREDICT:
            return None
        services = reversed(self._store.services.list_services(action.job_id))
        return next((s.port for s in services if s.service_type is ServiceType.PREDICT and s.port), None)

    def _note_name(self, service: Service) -> None:
        name = self._name_of(service)
        self._names.add(NamedService(id=service.id, name=name, job_id=service.job_id, attempt=service.attempt))

    def _name_of(self, service: Service) -> str:
        if (name := self._called.get(service.id)) is None:
            name = self._called[service.id] = name_of(self._store, service)
        return name

    def _forget_name(self, service: Service) -> None:
        self._called.pop(service.id, None)
        self.placed.pop(service.id, None)

    def _tell_unserved(self, service: Service) -> None:
        """The predictor stops asking a member that has no worker any more; the entry's own end would come later."""
        try:
            self._cache.unserve(service.job_id, service.unit_id, service.id)
        except CacheUnavailableError as e:
            self._log_service(service, logging.WARNING, f"cannot tell the predictor of its end: {e.message}")

    def _announce_lost(self, service: Service, reason: str) -> None:
        """The advisor hears at once that a worker is gone; the missing heartbeat would tell it later."""
        try:
            self._cache.send_train_event(
                service.job_id, service.unit_id, WorkerLost(service.id, reason, has_ended=True)
            )
        except CacheUnavailableError as e:
            self._log_service(service, logging.WARNING, f"cannot tell the advisor of its end: {e.message}")

    def _announce_all_lost(self, advisor: StartService) -> None:
        """A new advisor finds trials whose workers ended before it began (the stack was down): say that they did."""
        ended = self._store.services.list_ended_services([advisor.job_id])[advisor.job_id]
        lost = [
            WorkerLost(service.id, service.error or "it was stopped together with the stack")
            for service in ended
            if service.service_type is ServiceType.TRAIN and service.unit_id == advisor.unit_id
        ]
        try:
            self._cache.send_train_event(advisor.job_id, advisor.unit_id, *lost)
        except CacheUnavailableError as e:
            _logger.warning("cannot tell an advisor of lost workers: %s", e.message, extra={"job": advisor.job_id})

    def _log_service(self, service: Service, level: int, message: str) -> None:
        _logger.log(level, "%s: %s", self._name_of(service), message, extra=_fields_of(service))


def _fields_of(service: Service) -> dict[str, str]:
    return {"service": service.id, "kind": service.service_type.lower(), "job": service.job_id}
