"""Starts, adopts and ends the services of jobs, and writes down how they stand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.events import EventHub
from rafiki.admin.health import Starts
from rafiki.admin.planner import NoteEnded, RetireService, StartService, is_live
from rafiki.admin.service_names import name_of
from rafiki.admin.specs import SpecBuilder
from rafiki.constants import ServiceStatus, ServiceType
from rafiki.container.base import ContainerManager, ServiceExit, StartedService
from rafiki.entities import Service
from rafiki.errors import (
    CacheUnavailableError,
    CacheUnfitError,
    ContainerError,
    MetaStoreError,
    RafikiError,
    StoreFullError,
)
from rafiki.messages import RetireWorker, WorkerLost
from rafiki.meta_store import MetaStore
from rafiki.service_names import NamedService, ServiceNames
from rafiki.settings import Config
from rafiki.utils.ids import new_id
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)

_OF_THE_STACK = (ContainerError, StoreFullError, MetaStoreError, CacheUnavailableError, CacheUnfitError)
"""Failures to start a service that are no matter of its job."""
_OURS = (ServiceType.ADVISOR, ServiceType.PREDICT)
"""They run no model code: what keeps one from starting is the stack's."""
_NEVER_STARTED = ServiceExit(code=None, reason="the admin ended before it was started")


class ServiceRunner:
    """Owner of all services. The supervisor's thread acts; threads of a pool wait for services to end."""

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
    ) -> None:
        """
        Args:
            wake: called when something has changed that the next look should see.
        """
        self._config = config
        self._store = store
        self._containers = containers
        self._cache = cache
        self._specs = specs
        self._hub = hub
        self._names = names
        self._wake = wake
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="stop")
        self.starts = Starts()
        self.being_stopped: set[str] = set()
        self.retiring: dict[str, str] = {}
        """Train workers that are to end after their trial -> the advisor that was told so."""

    def note_names(self) -> None:
        """Write down the names of services that an admin started which kept none."""
        known = self._names.read()
        for service in self._store.services.list_live_services():
            if service.id not in known:
                self._note_name(service)

    def stop_all(self) -> None:
        """Begin to end every service; :meth:`wait_for_stops` waits until they have ended."""
        for service in self._store.services.list_live_services():
            self.stop_later(service, None)

    def wait_for_stops(self) -> None:
        self._pool.shutdown(wait=True)

    def start(self, action: StartService) -> None:
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
                self.starts.fail(f"Services cannot be started: {e.message}")
            self._store.services.set_service_status(service_id, ServiceStatus.ERRORED, e.message)
            self._log_service(service, logging.ERROR, f"could not be started: {e.message}")
            self._hub.note_job(action.job_id)
            self._wake()
            return
        self._keep(service, started)
        if action.service_type is ServiceType.ADVISOR:
            self._announce_all_lost(action)
        self._log_service(service, logging.INFO, f"started (attempt {action.attempt})")
        self._hub.note_job(action.job_id)

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

    def note_ended(self, action: NoteEnded) -> None:
        service, error = action.service, action.error
        self.retiring.pop(service.id, None)
        # Children that it left behind must not go on writing.
        if service.handle is not None:
            self._containers.stop(service.id, service.handle, 0.0)
        status = ServiceStatus.STOPPED if error is None else ServiceStatus.ERRORED
        if error is not None and service.service_type in _OURS and service.status is not ServiceStatus.RUNNING:
            self.starts.fail(f"A service of our own, {service.service_type}, does not start: {error}")
        self._store.services.set_service_status(service.id, status, error, is_permanent=action.is_permanent)
        self._hub.note_job(service.job_id)
        if error is not None:
            self._log_service(service, logging.ERROR, f"ended: {error}")
        if error is not None and service.service_type is ServiceType.TRAIN:
            self._announce_lost(service, error)
        if service.service_type is ServiceType.INFERENCE:
            self._tell_unserved(service)
        self._wake()

    def retire(self, action: RetireService) -> None:
        service = action.service
        self._cache.send_train_event(service.job_id, service.unit_id, RetireWorker(service.id))
        self.retiring[service.id] = action.advisor_id
        self._log_service(service, logging.INFO, "is of another version: ends after its trial, and is replaced")

    def stop_later(self, service: Service, error: str | None, *, is_replaced: bool = False) -> None:
        if service.id in self.being_stopped:
            return
        if is_replaced:
            self._log_service(service, logging.INFO, "is of another version: another takes its place")
        self.being_stopped.add(service.id)
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
            self._hub.note_job(service.job_id)
            if (error is not None or is_replaced) and service.service_type is ServiceType.TRAIN:
                self._announce_lost(service, error or "it was replaced by a worker of another version")
        except RafikiError as e:
            self._log_service(service, logging.ERROR, f"could not be stopped: {e.message}")
        except Exception as e:  # noqa: BLE001 - a pool's thread has nobody above it to tell
            log_unexpected(_logger, e, **_fields_of(service))
        finally:
            self.being_stopped.discard(service.id)
            self._wake()

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

    def _note_name(self, service: Service) -> None:
        name = name_of(self._store, service)
        self._names.add(NamedService(id=service.id, name=name, job_id=service.job_id, attempt=service.attempt))

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

    def _log_service(self, service: Service, level: int, message: str) -> None:
        _logger.log(level, "%s: %s", name_of(self._store, service), message, extra=_fields_of(service))


def _fields_of(service: Service) -> dict[str, str]:
    return {"service": service.id, "kind": service.service_type.lower(), "job": service.job_id}
