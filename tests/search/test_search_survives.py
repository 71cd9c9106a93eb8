"""The search among workers, a cache, a database and an advisor that all fail at random: seeded simulations.

Workers follow the protocol of :mod:`rafiki.worker.train`, the advisor's loop that of
:mod:`rafiki.search.advisor_worker`.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
from support.stores.meta_store_records import Given

from rafiki.advisor.schemes import make_advisor
from rafiki.budget import parse_train_budget
from rafiki.constants import TrainJobStatus
from rafiki.entities import SubTrainJob, TrialLog
from rafiki.errors import MetaStoreError
from rafiki.messages import Hello, Order, TrainEvent, TrainOrder, TrialDone, TrialFailed, TrialProgress, WorkerLost
from rafiki.meta_store import MetaStore
from rafiki.model.knobs import FloatKnob
from rafiki.search.search import Search

N_TRIALS = 10
KNOBS: Any = {"x": FloatKnob(0.0, 1.0)}


class FlakyTrials:
    """A trial store that fails now and then, before or after it has written."""

    def __init__(self, store: MetaStore, rng: random.Random) -> None:
        self._trials, self._rng = store.trials, rng
        self.rate = 0.1

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._trials, name)
        if name.startswith("list"):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._rng.random() < self.rate / 2:
                raise MetaStoreError
            result = method(*args, **kwargs)
            if self._rng.random() < self.rate / 2:
                raise MetaStoreError
            return result

        return call


class FlakyStore:
    def __init__(self, store: MetaStore, rng: random.Random) -> None:
        self.trials = FlakyTrials(store, rng)


class Worker:
    """One train worker: what waits for it, what it said last, and what it did last."""

    def __init__(self, worker_id: str) -> None:
        self.id = worker_id
        self.inbox: list[Order] = []
        self.says: TrainEvent = Hello(worker_id)
        self.last_done: tuple[str, int] | None = None


class Simulation:
    def __init__(self, store: MetaStore, sub: SubTrainJob, seed: int, max_attempts: int) -> None:
        self.rng = random.Random(seed)
        self.store, self.sub, self.max_attempts = store, sub, max_attempts
        self.flaky = FlakyStore(store, self.rng)
        self.names = (f"w{i}" for i in itertools.count())
        self.owners = (f"adv{i}" for i in itertools.count())
        self.stream: list[TrainEvent] = []
        self.heard: list[TrainEvent] = []
        self.workers: dict[str, Worker] = {}
        self.gone: set[str] = set()
        self.failing: set[int] = set()
        self.replace_advisor()
        for _ in range(3):
            self.add_worker()

    # ---- what happens

    def replace_advisor(self) -> None:
        owner = next(self.owners)
        self.store.train_jobs.set_advisor(self.sub.id, owner)
        budget = parse_train_budget({"MODEL_TRIAL_COUNT": N_TRIALS})
        self.search = Search(
            store=self.flaky, sub_train_job=self.sub, owner_id=owner, max_attempts=self.max_attempts,  # type: ignore[arg-type]
            make_advisor=lambda: make_advisor(KNOBS, budget, 1, "random"), model_trial_count=N_TRIALS,
        )  # fmt: skip

    def add_worker(self) -> None:
        worker = Worker(next(self.names))
        self.workers[worker.id] = worker
        self.stream.append(worker.says)

    def advisor_step(self) -> None:
        """One batch; acknowledged unless the advisor or the meta store fails on the way."""
        batch = self.stream[: self.rng.randint(1, 4)]
        orders: list[tuple[str, Order]] = []
        try:
            for event in batch:
                orders += self.search.handle(event)
                self.heard.append(event)
            silent = [w for w in self.search.busy_workers if w in self.gone]
            for worker_id in silent if self.rng.random() < 0.2 else []:
                orders += self.search.handle(WorkerLost(worker_id, "no heartbeat"))
        except MetaStoreError:
            self.search.restore()
            return
        if self.rng.random() < 0.1:
            self.replace_advisor()
            return
        del self.stream[: len(batch)]
        for worker_id, order in orders:
            if worker_id in self.workers:
                self.workers[worker_id].inbox.append(order)

    def worker_step(self) -> None:
        worker = self.rng.choice(list(self.workers.values()))
        if not worker.inbox:
            self.stream.append(worker.says)
            return
        order = worker.inbox.pop(0)
        assert isinstance(order, TrainOrder)
        if (order.trial_id, order.attempt) == worker.last_done:
            return
        worker.last_done = (order.trial_id, order.attempt)
        line = TrialLog(trial_id=order.trial_id, attempt=order.attempt, line_no=1, entry={"x": order.knobs["x"]})
        self.stream.append(TrialProgress(worker.id, [line]))
        if order.no in self.failing:
            worker.says = TrialFailed(worker.id, order.trial_id, order.attempt, "it broke", [line])
        else:
            params_id = f"{order.trial_id}/{order.attempt}"
            worker.says = TrialDone(worker.id, order.trial_id, order.attempt, order.knobs["x"], params_id, [line])
        self.stream.append(worker.says)

    def kill_worker(self) -> None:
        worker = self.rng.choice(list(self.workers.values()))
        del self.workers[worker.id]
        self.gone.add(worker.id)
        # The admin's word may get lost with the cache; the missing heartbeat tells it too.
        self.stream += [WorkerLost(worker.id, "killed")] * self.rng.randint(0, 2)
        self.add_worker()

    def suspect_worker(self) -> None:
        self.stream.append(WorkerLost(self.rng.choice(list(self.workers)), "no heartbeat"))

    def lose_cache(self) -> None:
        self.stream.clear()
        for worker in self.workers.values():
            worker.inbox.clear()
        self.search.restore()

    def run(self, *, with_losses: bool) -> None:
        hurts = [self.lose_cache, self.replace_advisor]
        hurts += [self.kill_worker, self.suspect_worker] if with_losses else []
        for _ in range(4000):
            if self.search.is_over:
                return
            self.advisor_step()
            self.worker_step()
            if self.rng.random() < 0.08:
                self.rng.choice(hurts)()
        raise AssertionError(f"the search hangs: {self.store.trials.list_trials_of_sub_train_job(self.sub.id)}")

    def heard_of(self, trial_id: str) -> list[TrialDone]:
        return [e for e in self.heard if isinstance(e, TrialDone) and e.trial_id == trial_id]

    def settle(self) -> None:
        """All that is left on the stream, and one more word from each worker, in calm weather."""
        self.flaky.trials.rate = 0.0
        self.search.restore()
        for event in [*self.stream, *(w.says for w in self.workers.values())]:
            assert self.search.handle(event) == []


@pytest.fixture
def sub(given: Given) -> SubTrainJob:
    return given.sub_train_job("nobody")


def check(simulation: Simulation) -> Counter[str]:
    trials = simulation.store.trials.list_trials_of_sub_train_job(simulation.sub.id)
    assert [t.no for t in trials] == list(range(1, N_TRIALS + 1))
    assert {str(t.status) for t in trials} <= {"COMPLETED", "ERRORED"}
    # All that are left are told to end.
    assert set(simulation.workers) <= simulation.search.workers
    # No result that the advisor took in was lost, and what is stored is what one worker reported.
    finished = {e.trial_id for e in simulation.heard if isinstance(e, TrialDone)}
    for t in trials:
        reported = {(e.score, e.params_id, e.worker_id, e.attempt) for e in simulation.heard_of(t.id)}
        if str(t.status) == "COMPLETED":
            assert (t.score, t.params_id, t.worker_id, t.attempt) in reported
            assert t.score == t.proposal.knobs["x"]
        elif t.no not in simulation.failing:
            assert t.attempt == simulation.max_attempts
        lines = simulation.store.trials.list_trial_logs(t.id)
        assert len(lines) <= 1
    assert len({t.params_id for t in trials if t.params_id}) == sum(str(t.status) == "COMPLETED" for t in trials)
    assert finished >= {t.id for t in trials if str(t.status) == "COMPLETED"}
    return Counter(str(t.status) for t in trials)


@pytest.mark.parametrize("seed", range(12))
def test_no_trial_is_lost_or_run_in_vain_when_only_advisor_cache_and_database_fail(
    store: MetaStore, sub: SubTrainJob, seed: int
) -> None:
    simulation = Simulation(store, sub, seed, max_attempts=1)
    simulation.run(with_losses=False)
    simulation.settle()
    assert check(simulation) == {"COMPLETED": N_TRIALS}
    assert {t.attempt for t in store.trials.list_trials_of_sub_train_job(sub.id)} == {1}
    assert simulation.search.outcome() == (TrainJobStatus.STOPPED, None)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("max_attempts", [1, 2, 1000])
def test_the_budget_is_exact_when_workers_are_lost_and_suspected_too(
    store: MetaStore, sub: SubTrainJob, seed: int, max_attempts: int
) -> None:
    simulation = Simulation(store, sub, seed, max_attempts)
    simulation.failing = set(simulation.rng.sample(range(1, N_TRIALS + 1), 2))
    simulation.run(with_losses=True)
    simulation.settle()
    counted = check(simulation)
    if max_attempts == 1000:
        # Whatever was lost was tried again; only the model's own failures are failures.
        assert counted == {"COMPLETED": N_TRIALS - 2, "ERRORED": 2}
