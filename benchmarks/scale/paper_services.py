"""Services on paper: what the processes of jobs do, without their computations.

An advisor is the real search over the real meta store. The others are what the admin and the advisor notice of them.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from benchmarks.scale.paper_cache import PaperCache
from benchmarks.scale.virtual_time import VirtualTime
from rafiki.advisor.schemes import make_advisor
from rafiki.constants import TrainJobStatus
from rafiki.container.base import ServiceRequest
from rafiki.errors import StaleOwnerError
from rafiki.messages import (
    AdvisorSpec,
    EndOrder,
    Hello,
    InferenceWorkerSpec,
    Order,
    PredictorSpec,
    ServiceSpec,
    TrainEvent,
    TrainOrder,
    TrainWorkerSpec,
    TrialDone,
    TrialFailed,
    WorkerLost,
)
from rafiki.meta_store import MetaStore
from rafiki.model.knobs import from_knob_specs
from rafiki.search.search import STOPPED_BY_OWNER, Search
from rafiki.states import TRAIN_JOB_TRANSITIONS, is_final

IMPORT_S = {"advisor": (0.4, 0.9), "predict": (0.4, 0.8), "train": (0.8, 2.0), "inference": (0.8, 2.0)}
"""From the start of a process until it reports that it runs."""
_RESEND_S = 10.0
_LOOK_UP_S = 2.0
_MOST_EVENTS = 64


@dataclass
class Surroundings:
    """What services on paper work with."""

    time: VirtualTime
    rng: random.Random
    cache: PaperCache
    store: MetaStore
    """The advisors' own."""
    trial_s: float
    failing_trials: float
    """Their share."""
    door: Counter[str] = field(default_factory=Counter)
    """Calls of services to the admin's service door, by kind."""
    on_running: Callable[[str], None] = lambda service_id: None


class _Process:
    """The frame of all of them."""

    kind: str

    def __init__(self, around: Surroundings, spec: ServiceSpec, end: Callable[[int], None]) -> None:
        self._around, self._end, self.service_id = around, end, spec.service_id
        self._is_alive = True
        self._is_cut_off = False
        self._is_running = False
        self._delayed: list[Callable[[], None]] = []

    def begin(self) -> None:
        self._later(self._around.rng.uniform(*IMPORT_S[self.kind]), self._report_running)

    def _report_running(self) -> None:
        self._is_running = True
        self._reach(lambda: self._around.cache.announce(self.service_id))
        self._around.on_running(self.service_id)
        self.run()

    def run(self) -> None:
        """What it does once it runs."""

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._around.time.call_later(delay_s, lambda: action() if self._is_alive else None)

    def _reach(self, action: Callable[[], None]) -> None:
        """Do something over the network, once there is one."""
        if self._is_cut_off:
            self._delayed.append(action)
        else:
            action()

    def ask_to_end(self) -> None:
        self.exit()

    def exit(self) -> None:
        if self._is_alive:
            self.die()
            self._end(0)

    def die(self) -> None:
        self._is_alive = False
        self._around.cache.go_silent(self.service_id)

    def cut_off(self) -> None:
        self._is_cut_off = True
        self._around.cache.go_silent(self.service_id)

    def reconnect(self) -> None:
        if not self._is_alive:
            return
        self._is_cut_off = False
        if self._is_running:
            self._around.cache.announce(self.service_id)
        delayed, self._delayed = self._delayed, []
        for action in delayed:
            action()


class PaperTrainWorker(_Process):
    """Asks, trains for a while, sends the result until it is answered."""

    kind = "train"

    def __init__(self, around: Surroundings, spec: TrainWorkerSpec, end: Callable[[int], None]) -> None:
        super().__init__(around, spec, end)
        self._stream = (spec.job_id, spec.sub_train_job_id)
        self._last_done: tuple[str, int] | None = None
        self._is_training = False
        self._n_sent = 0

    def run(self) -> None:
        self._around.door.update({"spec": 1, "dataset": 2})
        self._around.cache.takers[self.service_id] = self._take
        self._send(Hello(self.service_id))

    def die(self) -> None:
        super().die()
        self._around.cache.takers.pop(self.service_id, None)

    def reconnect(self) -> None:
        super().reconnect()
        self._take()

    def _send(self, event: TrainEvent) -> None:
        self._n_sent += 1
        number = self._n_sent
        self._reach(lambda: self._around.cache.put_event(self._stream, event))
        self._later(_RESEND_S, lambda: self._send_again(event, number))

    def _send_again(self, event: TrainEvent, number: int) -> None:
        if number == self._n_sent and not self._is_training:
            self._send(event)

    def _take(self) -> None:
        queue = self._around.cache.orders[self.service_id]
        while self._is_alive and not self._is_cut_off and not self._is_training and queue:
            self._obey(queue.popleft())

    def _obey(self, order: Order) -> None:
        if isinstance(order, EndOrder):
            self.exit()
        if isinstance(order, TrainOrder) and (order.trial_id, order.attempt) != self._last_done:
            self._is_training = True
            took_s = self._around.rng.uniform(0.5, 1.5) * self._around.trial_s
            self._later(took_s, lambda: self._finish(order))

    def _finish(self, order: TrainOrder) -> None:
        self._is_training = False
        self._last_done = (order.trial_id, order.attempt)
        if self._around.rng.random() < self._around.failing_trials:
            self._send(TrialFailed(self.service_id, order.trial_id, order.attempt, "ValueError: it does not fit", []))
        else:
            # The parameters are written through before the trial counts; then the predictions that are kept beside.
            self._reach(lambda: self._around.door.update({"params": 1, "validation": 2}))
            params_id = f"{order.trial_id}-{order.attempt}-{self.service_id}"
            score = self._around.rng.random()
            self._send(TrialDone(self.service_id, order.trial_id, order.attempt, score, params_id, []))
        self._take()


class PaperAdvisor(_Process):
    """The real search, woken by events and every two seconds."""

    kind = "advisor"

    def __init__(self, around: Surroundings, spec: AdvisorSpec, end: Callable[[int], None]) -> None:
        super().__init__(around, spec, end)
        self._spec = spec
        self._stream = (spec.job_id, spec.sub_train_job_id)
        self._silent_since: dict[str, float] = {}

    def run(self) -> None:
        store, spec = self._around.store, self._spec
        sub = store.train_jobs.get_sub_train_job(spec.sub_train_job_id)
        if is_final(TRAIN_JOB_TRANSITIONS, sub.status):
            self.exit()
            return
        job = store.train_jobs.get_train_job(spec.job_id)
        knob_config = from_knob_specs(spec.knob_config)
        seed = int.from_bytes(hashlib.sha256(spec.sub_train_job_id.encode()).digest()[:4], "big")
        self._search = Search(
            store=store, sub_train_job=sub, owner_id=spec.service_id,
            make_advisor=lambda: make_advisor(knob_config, job.budget, seed, job.advisor.scheme),
            model_trial_count=job.budget.model_trial_count, max_attempts=spec.max_trial_attempts,
        )  # fmt: skip
        if sub.status is TrainJobStatus.STARTED:
            self._set_status(TrainJobStatus.RUNNING)
        self._around.cache.readers[self._stream] = self._step
        self._step()
        self._later(_LOOK_UP_S, self._look_up)

    def die(self) -> None:
        super().die()
        if self._around.cache.readers.get(self._stream) == self._step:
            del self._around.cache.readers[self._stream]

    def _step(self) -> None:
        if not self._is_alive:
            return
        stream = self._around.cache.streams[self._stream]
        received = [stream[i] for i in range(min(len(stream), _MOST_EVENTS))]
        if not received and not self._search.is_over:
            return
        try:
            self._search.forget_idle(e.worker_id for e in received if isinstance(e, WorkerLost))
            orders = [order for event in received for order in self._search.handle(event)]
            for _ in received:
                stream.popleft()
            self._send(orders)
            if self._search.is_over:
                self._finish()
            elif stream:
                self._later(0.0, self._step)
        except StaleOwnerError:
            self.exit()

    def _look_up(self) -> None:
        try:
            job = self._around.store.train_jobs.get_train_job(self._spec.job_id)
            if job.datetime_stop_requested is not None:
                self._search.ending = STOPPED_BY_OWNER
                self._finish()
                return
            now_s = self._around.time.monotonic_s()
            for worker_id in self._search.busy_workers:
                if self._around.cache.is_alive(worker_id):
                    self._silent_since.pop(worker_id, None)
                elif now_s - self._silent_since.setdefault(worker_id, now_s) > self._spec.lost_after_s:
                    self._send(self._search.handle(WorkerLost(worker_id, "no heartbeat")))
            self._later(_LOOK_UP_S, self._look_up)
        except StaleOwnerError:
            self.exit()

    def _send(self, orders: list[tuple[str, Order]]) -> None:
        for worker_id, order in orders:
            self._around.cache.put_order(worker_id, order)

    def _finish(self) -> None:
        if self._search.ending:
            self._search.end(self._search.ending)
        self._set_status(*self._search.outcome())
        self._send([(worker_id, EndOrder()) for worker_id in self._search.workers])
        # As the real one: the admin looks now, and not only at its next tick.
        self._around.cache.announce(self.service_id)
        self.exit()

    def _set_status(self, status: TrainJobStatus, error: str | None = None) -> None:
        self._around.store.train_jobs.set_sub_train_job_status(
            self._spec.sub_train_job_id, status, error, owner_id=self._spec.service_id
        )


class PaperInferenceWorker(_Process):
    kind = "inference"

    def run(self) -> None:
        self._around.door.update({"spec": 1, "params": 1})


class PaperPredictor(_Process):
    kind = "predict"


_KINDS: dict[str, tuple[type[ServiceSpec], Callable[..., _Process]]] = {
    "advisor": (AdvisorSpec, PaperAdvisor),
    "train": (TrainWorkerSpec, PaperTrainWorker),
    "inference": (InferenceWorkerSpec, PaperInferenceWorker),
    "predict": (PredictorSpec, PaperPredictor),
}


def run_on_paper(around: Surroundings, request: ServiceRequest, spec: bytes, end: Callable[[int], None]) -> _Process:
    """The process of a service, as the engine starts it."""
    spec_type, process_type = _KINDS[request.kind]
    return process_type(around, msgspec.msgpack.decode(spec, type=spec_type), end)
