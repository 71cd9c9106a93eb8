"""An advisor worker: one model's search within a train job. It alone writes the trials.

It waits on the event stream, hands what came to the :class:`Search`, and acknowledges only when the meta store has it.
Whatever fails on the way, it takes up again from the meta store.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sys
from datetime import timedelta
from pathlib import Path

from rafiki.advisor.schemes import make_advisor
from rafiki.advisor.setting import make_rule
from rafiki.budget import TrainBudget
from rafiki.cache.changes import Change
from rafiki.cache.reports import RedisReports
from rafiki.cache.train import ReceivedEvent, RedisTrainCache
from rafiki.constants import TrainJobStatus
from rafiki.entities import TrainJob
from rafiki.errors import CacheUnavailableError, MetaStoreError, StaleOwnerError, StoreFullError
from rafiki.messages import (
    AdvisorSpec,
    CheckpointSaved,
    EndOrder,
    Order,
    StopRequested,
    TrialProgress,
    TrialScored,
    WorkerLost,
)
from rafiki.meta_store import MetaStore, open_meta_store
from rafiki.model.knobs import from_knob_specs
from rafiki.search.history import earlier_trials
from rafiki.search.params_remover import ParamsRemover
from rafiki.search.search import STOPPED_BY_OWNER, TIME_IS_OVER, Search
from rafiki.service import Outage, ServiceContext, run_service
from rafiki.states import TRAIN_JOB_TRANSITIONS, is_final
from rafiki.utils.clock import Deadline, utc_now
from rafiki.utils.disk_space import DiskSpace
from rafiki.utils.process import StopSignal

_logger = logging.getLogger("rafiki.search.advisor_worker")

_LOOK_UP_S = 2.0
"""Without events, the stop flag in the meta store and the workers' heartbeats are looked at this often."""
_DRAIN_S = 5.0
_REMOVE_S = 10.0
"""How long the end of a search waits for the removal of parameters; the rest is left to garbage collection."""


class AdvisorWorker:
    """The loop around one :class:`Search`."""

    def __init__(self, spec: AdvisorSpec, store: MetaStore, stop: StopSignal) -> None:
        self._spec = spec
        self._store = store
        self._stop = stop
        self._cache = RedisTrainCache(spec.cache, spec.sub_train_job_id)
        self._reports = RedisReports(spec.cache)
        self._job: TrainJob = store.train_jobs.get_train_job(spec.job_id)
        self._budget: TrainBudget = self._job.budget
        self._ends = self._job.datetime_started + timedelta(hours=self._budget.time_hours)
        knob_config = from_knob_specs(spec.knob_config)
        setting = self._job.advisor
        history = earlier_trials(store, self._job, spec.sub_train_job_id) if setting.warm_start else ()
        # The same seed for the same sub train job, so that a restarted advisor goes on where it was.
        seed = int.from_bytes(hashlib.sha256(spec.sub_train_job_id.encode()).digest()[:4], "big")
        self._remover = ParamsRemover(store, spec.params)
        self._search = Search(
            store=store,
            sub_train_job=store.train_jobs.get_sub_train_job(spec.sub_train_job_id),
            owner_id=spec.service_id,
            make_advisor=lambda: make_advisor(
                knob_config, self._budget, seed, setting.scheme, options=setting.options,
                constraints=tuple(spec.knob_constraints), first_knobs=tuple(setting.first_knobs), history=history,
                n_workers=spec.n_workers,
            ),
            make_rule=lambda: make_rule(setting, knob_config),
            time_used=self._time_used,
            model_trial_count=self._budget.model_trial_count,
            max_attempts=spec.max_trial_attempts,
            remove_params=self._remover.remove,
            keep_params=spec.keep_params,
        )  # fmt: skip
        self._seen: dict[str, Deadline] = {}
        self._next_look = Deadline(0.0)
        self._disk = DiskSpace([Path(folder) for folder in spec.watched_folders], spec.min_free_mb)
        self._shortage: str | None = None
        # Before the first worker says hello.
        self._look_for_space()

    def _time_used(self) -> float:
        """Share of the job's hours that has passed."""
        passed = (utc_now() - self._job.datetime_started).total_seconds()
        return min(1.0, max(0.0, passed / (3600 * self._budget.time_hours)))

    def run(self) -> None:
        """Search until the budget is used up, the job is stopped, or the process is.

        Raises:
            StaleOwnerError: when another advisor has taken over.
            CacheUnavailableError, MetaStoreError, StoreFullError: when one of them stays away, or its disk full.
        """
        sub = self._store.train_jobs.get_sub_train_job(self._spec.sub_train_job_id)
        if is_final(TRAIN_JOB_TRANSITIONS, sub.status):
            return
        if sub.status is TrainJobStatus.STARTED:
            self._set_status(TrainJobStatus.RUNNING)
            with contextlib.suppress(CacheUnavailableError):
                self._cache.acknowledge([], [], Change.JOB)
        outage = Outage(self._stop)
        must_restore = False
        while True:
            try:
                if must_restore:
                    # An event that was half acted on comes again: it must find us as the meta store is.
                    self._search.restore()
                    self._cache.open_as_advisor()
                    self._seen.clear()
                    must_restore = False
                if self._step():
                    return
                outage.end()
            except (CacheUnavailableError, MetaStoreError, StoreFullError) as e:
                _logger.warning("%s Trying again.", e.message)
                must_restore = True
                outage.wait(e)

    def _step(self) -> bool:
        """Wait for events, act on them; True when the search is over."""
        search = self._search
        left_s = (self._ends - utc_now()).total_seconds()
        with self._stop.interruptible():
            received = self._cache.take_events(max(0.001, min(_LOOK_UP_S, left_s)))
        is_look_due = self._next_look.is_over()
        # Before the events, so that none of them begins a trial that would end at once.
        self._look_for_end(is_look_due)
        search.forget_idle(r.event.worker_id for r in received if isinstance(r.event, WorkerLost))
        orders = [order for r in received for order in search.handle(r.event)]
        change = _change_of(received)
        if is_look_due:
            lost = self._look_for_lost_workers()
            if lost is not None:
                orders, change = orders + lost, Change.TRIALS
            if search.free_params_meanwhile():
                change = Change.TRIALS
            if resumed := self._look_for_space():
                orders, change = orders + resumed, Change.TRIALS
            self._next_look = Deadline(_LOOK_UP_S)
        if search.is_over:
            self._drain(received)
            self._finish()
            self._cache.acknowledge([], [(w, EndOrder()) for w in search.workers], Change.JOB)
            # The admin marks the job as ended when it looks: now, and not only at its next tick.
            with contextlib.suppress(CacheUnavailableError):
                self._reports.wake_admin(self._spec.service_id)
            return True
        self._cache.acknowledge(received, orders, change)
        search.prepare()
        return False

    def _look_for_end(self, is_look_due: bool) -> None:
        """The time, and the stop flag: the event that announced it may be lost."""
        if utc_now() >= self._ends:
            self._search.ending = self._search.ending or TIME_IS_OVER
        if is_look_due:
            job = self._store.train_jobs.get_train_job(self._spec.job_id)
            if job.datetime_stop_requested is not None:
                self._search.ending = STOPPED_BY_OWNER

    def _look_for_space(self) -> list[tuple[str, Order]]:
        """No trial is started on a disk that is nearly full; the orders that follow when there is space again."""
        shortage = self._disk.find_shortage()
        if (shortage is None) == (self._shortage is None):
            return []
        self._shortage = shortage
        _logger.warning("%s", shortage or "There is space on the disk again: the search goes on.")
        return self._search.pause(shortage is not None)

    def _look_for_lost_workers(self) -> list[tuple[str, Order]] | None:
        """Workers that went silent without a report of their end: the orders that follow; None when there are none."""
        busy = self._search.busy_workers
        alive = self._reports.are_alive(busy)
        orders: list[tuple[str, Order]] | None = None
        for worker_id in busy:
            if worker_id in alive or worker_id not in self._seen:
                self._seen[worker_id] = Deadline(self._spec.lost_after_s)
            elif self._seen[worker_id].is_over():
                del self._seen[worker_id]
                reason = f"no heartbeat for {self._spec.lost_after_s:g} s"
                orders = (orders or []) + self._search.handle(WorkerLost(worker_id, reason))
        return orders

    def _drain(self, received: list[ReceivedEvent]) -> None:
        """Act on what was sent before the end: a trial that has finished counts, however late its event is read."""
        deadline = Deadline(_DRAIN_S)
        while received and not deadline.is_over():
            self._cache.acknowledge(received, [])
            received = self._cache.take_events(0.001)
            for r in received:
                self._search.handle(r.event)

    def _finish(self) -> None:
        if self._search.ending:
            self._search.end(self._search.ending)
        self._search.free_params()
        self._remover.close(_REMOVE_S)
        status, error = self._search.outcome()
        self._set_status(status, error)

    def _set_status(self, status: TrainJobStatus, error: str | None = None) -> None:
        self._store.train_jobs.set_sub_train_job_status(
            self._spec.sub_train_job_id, status, error, owner_id=self._spec.service_id
        )


def _change_of(received: list[ReceivedEvent]) -> Change | None:
    """What acting on these events may have changed in the meta store."""
    kinds = {type(r.event) for r in received}
    if kinds - {TrialProgress, TrialScored, CheckpointSaved, StopRequested}:
        return Change.TRIALS
    return Change.LOGS if TrialProgress in kinds else None


def serve(service: ServiceContext[AdvisorSpec]) -> None:
    """Search until the search is over, the process is asked to stop, or another advisor has replaced this one."""
    # At once: reading a long history may take longer than a service may take to report.
    service.report_running()
    store = open_meta_store(service.spec.meta_store_url)
    service.on_exit(store.close)
    try:
        worker = AdvisorWorker(service.spec, store, service.stop)
        service.end_loading()
        worker.run()
    except StaleOwnerError as e:
        _logger.warning("%s", e.message)


if __name__ == "__main__":
    sys.exit(run_service(AdvisorSpec, serve))
