"""One run: jobs begin, hosts are lost and come back, services crash, jobs end; what it took, and what must hold."""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from benchmarks.scale.population import Load, Population
from benchmarks.scale.stack import PaperStack
from rafiki.constants import InferenceJobStatus, ServiceType, TrialStatus
from rafiki.entities import Service
from rafiki.states import TRAIN_JOB_TRANSITIONS, is_final

_BACK_AFTER_S = (30.0, 90.0)
_CALM_S = 20.0
"""Between two losses of hosts."""
_CHECK_EVERY_S = 5.0
_PATIENCE_S = 900.0
Slot = tuple[ServiceType, str, int]


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """After hosts were lost: from the loss until another service runs in a slot of theirs."""

    n_hosts: int
    n_services: int
    median_s: float
    worst_s: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    n_hosts: int
    n_jobs: int
    n_services: int
    seed: int
    database: str
    all_running_s: float
    """From the first job until all services run."""
    recoveries: list[Recovery]
    look_median_ms: float
    look_p95_ms: float
    look_statements: float
    """Median; each look has as many, and one for each change that it notes."""
    n_looks: int
    virtual_s: float
    n_trials: int
    n_crashes: int
    admin_statements_a_s: float
    advisors_statements_a_s: float
    rows_written_a_s: float
    door_calls_a_s: dict[str, float]
    cache_calls_a_s: dict[str, float]
    heartbeats_a_s: float
    engine_calls: dict[str, int]
    memory_mb: float
    """Of the process, with the services on paper."""
    database_mb: float
    took_s: float
    """Processor time of all of it."""


class BrokenPromise(AssertionError):
    """What must hold does not."""


class Simulation:
    def __init__(
        self,
        folder: Path,
        load: Load,
        *,
        n_hosts: int,
        seed: int,
        losses: tuple[int, ...] = (1, 10, 50),
        crashes_a_s: float = 0.2,
        url: str | None = None,
    ) -> None:
        """
        Args:
            losses: how many hosts are lost at once, one loss after another.
            crashes_a_s: services that are killed, all the time.
        """
        self._load, self._seed, self._losses, self._crashes_a_s = load, seed, losses, crashes_a_s
        self.stack = PaperStack(folder, seed=seed, n_hosts=n_hosts, url=url)
        self._rng = random.Random(seed + 1)
        self._population = Population(self.stack.store)
        self._running: dict[str, Slot] = {}
        self._lost: dict[Slot, float] = {}
        self._n_crashes = 0
        self._is_over = False
        self.stack.around.on_running = self._note_running

    def run(self) -> Figures:
        """
        Raises:
            BrokenPromise: what must hold does not.
        """
        began = time.process_time()
        stack, when = self.stack, self.stack.time
        self._train_jobs = [self._population.train_job(i, self._load) for i in range(self._load.n_train_jobs)]
        self._inference_jobs = [
            self._population.inference_job(i, self._load) for i in range(self._load.n_inference_jobs)
        ]
        before = [stack.supervisor.statements.n, stack.advisors_statements.n, self._rows()]
        began_s = when.monotonic_s()
        stack.start()
        when.call_later(_CHECK_EVERY_S, self._check_slots)
        self._wait(lambda: len(self._running) >= self._load.n_services, "all services run")
        all_running_s = when.monotonic_s() - began_s
        memory_mb = psutil.Process().memory_info().rss / 1e6
        when.call_later(0.0, self._crash_one)
        recoveries = [self._lose(n) for n in self._losses]
        self._wait(lambda: not stack.store.train_jobs.list_live_train_jobs(), "the train jobs end", every_s=1.0)
        self._is_over = True
        lasted_s = when.monotonic_s() - began_s
        looks = [look for look in stack.supervisor.looks if look.at_s >= began_s + all_running_s]
        after = [stack.supervisor.statements.n, stack.advisors_statements.n, self._rows()]
        a_s = [(b - a) / lasted_s for a, b in zip(before, after, strict=True)]
        door = {kind: n / lasted_s for kind, n in stack.around.door.items()}
        cache = {kind: n / lasted_s for kind, n in stack.cache.calls.items()}
        self._check_trials()
        self._end()
        took = sorted(look.took_ms for look in looks)
        return Figures(
            n_hosts=len(stack.engine.machines), n_jobs=self._load.n_jobs, n_services=self._load.n_services,
            seed=self._seed, database=stack.url.partition(":")[0], all_running_s=all_running_s, recoveries=recoveries,
            look_median_ms=statistics.median(took), look_p95_ms=took[int(0.95 * (len(took) - 1))],
            look_statements=statistics.median(look.n_statements for look in looks), n_looks=len(looks),
            virtual_s=lasted_s, n_trials=self._load.n_train_jobs * self._load.n_trials, n_crashes=self._n_crashes,
            admin_statements_a_s=a_s[0], advisors_statements_a_s=a_s[1], rows_written_a_s=a_s[2],
            door_calls_a_s=door, cache_calls_a_s=cache,
            heartbeats_a_s=self._load.n_services / stack.config.train.heartbeat_s,
            engine_calls=dict(stack.engine.calls), memory_mb=memory_mb, database_mb=self._database_mb(),
            took_s=time.process_time() - began,
        )  # fmt: skip

    def _rows(self) -> int:
        return self.stack.supervisor.statements.n_rows_written + self.stack.advisors_statements.n_rows_written

    def _database_mb(self) -> float:
        if not self.stack.url.startswith("sqlite"):
            return 0.0
        return Path(self.stack.url.removeprefix("sqlite:///")).stat().st_size / 1e6

    def _wait(self, is_done: Callable[[], bool], what: str, *, every_s: float = 0.0) -> None:
        """Let time pass until something holds, which is looked at as often as ``every_s``."""
        limit_s = self.stack.time.monotonic_s() + _PATIENCE_S
        if not every_s:
            if not self.stack.time.run_until(is_done, _PATIENCE_S):
                raise BrokenPromise(f"not within {_PATIENCE_S:g} s: {what}")
            return
        while not is_done():
            if self.stack.time.monotonic_s() > limit_s:
                raise BrokenPromise(f"not within {_PATIENCE_S:g} s: {what}")
            self.stack.time.run_for(every_s)

    # ---- what happens

    def _note_running(self, service_id: str) -> None:
        slot = _slot(self.stack.store.services.get_service(service_id))
        self._running[service_id] = slot
        if slot in self._lost:
            self._recovered.append(self.stack.time.monotonic_s() - self._lost.pop(slot))

    def _lose(self, n_hosts: int) -> Recovery:
        """Every second host loses its power, the others their network."""
        when, engine = self.stack.time, self.stack.engine
        when.run_for(_CALM_S)
        slots = {s.id: _slot(s) for s in self.stack.store.services.list_live_services()}
        there = [host for host in engine.machines if host.is_up and host.is_ready]
        lost: list[str] = []
        for i, host in enumerate(self._rng.sample(there, min(n_hosts, len(there) - 1))):
            lost += engine.lose(host, self._rng.uniform(*_BACK_AFTER_S), is_power_cut=i % 2 == 0)
        self._lost = {slots[i]: when.monotonic_s() for i in lost if i in slots}
        self._recovered: list[float] = []
        n_services = len(self._lost)
        self._wait(self._has_recovered, f"recovered from the loss of {n_hosts} hosts", every_s=1.0)
        times = self._recovered or [0.0]
        return Recovery(n_hosts=n_hosts, n_services=n_services, median_s=statistics.median(times), worst_s=max(times))

    def _has_recovered(self) -> bool:
        """Slots of jobs that have ended need nobody."""
        jobs = self.stack.store.train_jobs
        subs = jobs.list_sub_train_jobs_of([job.id for job in self._train_jobs])
        ended = {s.id for of in subs.values() for s in of if is_final(TRAIN_JOB_TRANSITIONS, s.status)}
        self._lost = {slot: at_s for slot, at_s in self._lost.items() if slot[1] not in ended}
        return not self._lost

    def _crash_one(self) -> None:
        if self._is_over or not self._crashes_a_s:
            return
        tasks = list(self.stack.engine.tasks)
        if tasks:
            self.stack.engine.crash(self._rng.choice(tasks))
            self._n_crashes += 1
        self.stack.time.call_later(self._rng.expovariate(self._crashes_a_s), self._crash_one)

    # ---- what must hold

    def _check_slots(self) -> None:
        slots = Counter(_slot(s) for s in self.stack.store.services.list_live_services())
        if doubled := [slot for slot, n in slots.items() if n > 1]:
            raise BrokenPromise(f"two services at once: {doubled}")
        self.stack.time.call_later(_CHECK_EVERY_S, self._check_slots)

    def _check_trials(self) -> None:
        """Each job has its trials, no more and no fewer, and none of them is left as if it ran."""
        for job in self._train_jobs:
            for sub in self.stack.store.train_jobs.list_sub_train_jobs(job.id):
                counts = self.stack.store.trials.count_trials(sub.id)
                n_final = counts[TrialStatus.COMPLETED] + counts[TrialStatus.ERRORED]
                if n_final != self._load.n_trials or sum(counts.values()) != n_final:
                    raise BrokenPromise(f"job {job.app}: {counts}, not {self._load.n_trials} trials")

    def _end(self) -> None:
        """Everybody stops, and nothing is left."""
        stack, jobs = self.stack, self.stack.store.inference_jobs
        ids = [job.id for job in self._inference_jobs]
        serves = InferenceJobStatus.RUNNING
        self._wait(lambda: all(jobs.get_inference_job(i).status is serves for i in ids), "all serve", every_s=1.0)
        for job in self._inference_jobs:
            jobs.request_inference_job_stop(job.id)
        stack.supervisor.wake()
        self._wait(lambda: not jobs.list_live_inference_jobs(), "the inference jobs end", every_s=1.0)
        stack.shut_down()
        stack.time.run_for(_BACK_AFTER_S[1] + 30.0)
        left = [s.id for s in stack.store.services.list_live_services()]
        left += list(stack.engine.tasks) + [i for host in stack.engine.machines for i in host.tasks]
        if left:
            raise BrokenPromise(f"services are left: {left}")


def _slot(service: Service) -> Slot:
    return (service.service_type, service.unit_id, service.slot)
