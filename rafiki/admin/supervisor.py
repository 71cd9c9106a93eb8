"""The supervisor: a thread that looks, plans and acts, until what runs is what is wanted.

It wakes when something happens (a job is made or stopped, a service reports) and at the latest after a tick.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from rafiki.admin.actor import Actor
from rafiki.admin.box_doors import BoxDoors
from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.counters import AdminCounters
from rafiki.admin.events import EventHub
from rafiki.admin.health import Condition
from rafiki.admin.losses import Losses
from rafiki.admin.model_checks import ModelChecks
from rafiki.admin.observer import Observer
from rafiki.admin.planner import decide
from rafiki.admin.replacements import Replacements
from rafiki.admin.scaling import Scaling
from rafiki.admin.service_runner import ServiceRunner
from rafiki.admin.specs import SpecBuilder
from rafiki.admin.version_files import VersionFiles
from rafiki.admin.waits import Waits
from rafiki.cache.changes import Change
from rafiki.container.base import ContainerManager
from rafiki.entities import Service
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import CacheUnavailableError, RafikiError, StackError
from rafiki.messages import PredictorReport, ServiceReport, StopRequested
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.rollouts import Comparison
from rafiki.service_names import ServiceNames
from rafiki.settings import Config
from rafiki.utils.clock import Deadline
from rafiki.utils.logs import log_unexpected
from rafiki.utils.timing import SYSTEM, Timing

_logger = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 0.25
"""Between two looks, while things happen."""
_ACTION_LIMIT_S = 15.0
"""A container back end may take its time to start a service."""


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
        versions: VersionFiles,
        doors: BoxDoors | None = None,
        counters: AdminCounters | None = None,
        timing: Timing = SYSTEM,
    ) -> None:
        counters = self._counters = counters or AdminCounters()
        self._config = config
        self._store = store
        self._cache = cache
        self._versions = versions
        self._environments = environments
        self._checks = checks
        self._hub = hub
        self._timing = timing
        self._services = ServiceRunner(
            config=config, store=store, containers=containers, cache=cache, specs=specs, hub=hub, names=names,
            wake=self.wake, counters=counters, timing=timing,
        )  # fmt: skip
        self._replacements = Replacements(
            store=store, params=params, environments=environments, hub=hub, wake=self.wake, timing=timing
        )
        self.scaling = Scaling(deadline_s=config.predictor.deadline_s, note_job=hub.note_job, timing=timing)
        self._observer = Observer(
            config=config, store=store, containers=containers, cache=cache, environments=environments, checks=checks,
            services=self._services, replacements=self._replacements, scaling=self.scaling, doors=doors,
            timing=timing,
        )  # fmt: skip
        self._actor = Actor(
            store=store, params=params, hub=hub, services=self._services, replacements=self._replacements,
            wake=self.wake,
        )  # fmt: skip
        self.waits = Waits()
        self.losses = Losses()
        self._wake = timing.make_flag()
        self._stopping = timing.make_flag()
        self._looked = threading.Condition()
        self._thread = timing.make_thread(self.run, "supervisor")
        self._condition = Condition("The supervisor, which looks after all jobs,")
        self._told: str | None = None

    # ---- from other threads

    def start(self) -> None:
        self._cache.on_report(self.wake)
        self._services.on_end(self.wake)
        for waited_for in (self._environments, self._checks):
            waited_for.on_change(self.wake)
            waited_for.on_change(lambda: self._hub.note_all(Change.JOB))
        self._services.note_names()
        self._thread.start()

    def find_errors(self) -> list[RafikiError]:
        """What keeps the supervisor from its work, and jobs from theirs."""
        if self._thread.ident is not None and not self._thread.is_alive() and not self._stopping.is_set():
            told = "The supervisor has ended, so no job goes on. See `rafiki logs admin`; `rafiki down`, `rafiki up`."
            return [StackError(told)]
        return [e for e in (self._condition.find_error(), self._services.starts.find_error()) if e is not None]

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

    def read_reports(self, services: list[Service]) -> dict[str, ServiceReport]:
        """What services told last of themselves, by id; nothing when the cache cannot tell."""
        try:
            return self._cache.read_reports([(s.job_id, s.id) for s in services])
        except CacheUnavailableError:
            return {}

    def read_predictor_reports(self, predictors: list[Service]) -> dict[str, PredictorReport]:
        """What predictors told last of how much they serve, by service id; nothing when the cache cannot tell."""
        try:
            return self._cache.read_predictor_reports([(s.job_id, s.id) for s in predictors])
        except CacheUnavailableError:
            return {}

    def find_comparison(self, rollout_id: str) -> Comparison | None:
        """How the two versions of an update that is under way have done; None before anything is known."""
        return self._observer.figures.find(rollout_id)

    def read_cache_memory(self) -> int:
        """How many bytes the cache server holds in memory.

        Raises:
            CacheUnavailableError: when it cannot be asked.
        """
        return self._cache.read_memory_bytes()

    def shut_down(self) -> None:
        """Stop looking, end every service, and the private cache. Jobs stay live: they go on at the next start."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(10.0)
        self._services.stop_all()
        self._replacements.shut_down()
        self._checks.shut_down()
        self._environments.shut_down()
        self._services.wait_for_ends()
        self._cache.shut_down()

    def hand_over(self) -> None:
        """Stop looking, and leave services and cache as they are: the next admin adopts them."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(10.0)
        self._replacements.shut_down()
        self._environments.shut_down()
        self._services.wait_for_ends()
        self._cache.let_go()

    # ---- the loop

    def run(self) -> None:
        """Look again and again, until somebody shuts it down: :meth:`start` gives it a thread."""
        while not self._stopping.is_set():
            started = self._timing.monotonic_s()
            error: RafikiError | None = None
            try:
                self.look()
            except RafikiError as e:
                error = e
            except Exception as e:  # noqa: BLE001 - the loop must outlive whatever one look runs into
                error = StackError(
                    f"The supervisor failed unexpectedly ({type(e).__name__}: {e}). See `rafiki logs admin`."
                )
                error.__cause__ = e
            try:
                self._note_look(error)
            except Exception as e:  # noqa: BLE001 - nor may a failure to log end it; it is told by the state of health
                self._condition.end(error or StackError(f"The supervisor cannot log ({type(e).__name__}: {e})."))
            with self._looked:
                self._looked.notify_all()
            took_s = self._timing.monotonic_s() - started
            self._counters.add_look(took_s, self._timing.now().timestamp(), has_failed=error is not None)
            took_s = min(took_s, _LONGEST_PAUSE_S)
            # Whatever goes on, half of the time is left to the other threads of the admin; what happens meanwhile is
            # seen by one look.
            self._stopping.wait(took_s)
            self._wake.wait(max(0.0, self._config.supervisor.tick_s - 2 * took_s))
            self._wake.clear()

    def look(self) -> None:
        """Look, plan and act, once. It belongs to the supervisor's thread.

        Raises:
            RafikiError: what keeps it from its work.
        """
        self._condition.begin()
        polled = self._observer.poll()
        self._condition.begin()
        self._cache.ensure(polled.job_ids)
        self._condition.begin()
        plan = decide(self._observer.observe(polled))
        self.scaling.note_plan(plan)
        for job_id in self.waits.update(plan.waits) | self.losses.update(plan.lost):
            self._hub.note_job(job_id)
        self._replacements.forget_all_but(set(polled.job_ids))
        # Before a predictor is started that reads it.
        self._versions.update(plan.serving)
        for action in plan.actions:
            if self._stopping.is_set():
                return
            self._condition.begin(_ACTION_LIMIT_S)
            self._actor.try_to_do(action)
        self._condition.begin()
        # A job's keys go when its last service has gone.
        self._cache.revoke_all_but({*polled.job_ids, *self._observer.jobs_with_services()})

    def _note_look(self, error: RafikiError | None) -> None:
        self._condition.end(error)
        if error is not None and error.__cause__ is not None and isinstance(error, StackError):
            log_unexpected(_logger, error.__cause__)
        told = error.message if error is not None else None
        if told != self._told:
            _logger.warning("supervisor: %s", told or "it goes on")
        self._told = told
