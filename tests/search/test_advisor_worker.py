"""The advisor's loop over a real cache and a real meta store: what it hears, and what it does when they go away."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from support.stacks.running_stack import eventually
from support.stores.meta_store_records import Given
from support.stores.own_cache import OwnCache

from rafiki.budget import TrainBudget
from rafiki.cache.reports import RedisReports
from rafiki.cache.train import RedisTrainCache
from rafiki.constants import TrainJobStatus
from rafiki.entities import SubTrainJob, Trial
from rafiki.errors import MetaStoreError, RafikiError, StaleOwnerError, StoreFullError
from rafiki.messages import (
    AdvisorSpec,
    CacheAddress,
    EndOrder,
    Hello,
    Order,
    TrainOrder,
    TrialDone,
    TrialFailed,
    TrialProgress,
)
from rafiki.meta_store import MetaStore
from rafiki.model.knobs import FloatKnob, to_knob_specs
from rafiki.proposals import Proposal
from rafiki.search import advisor_worker as advisor
from rafiki.search.advisor_worker import AdvisorWorker
from rafiki.search.search import STOPPED_BY_OWNER, TIME_IS_OVER
from rafiki.utils.process import ServiceStopped, StopSignal


class Job:
    """A train job with one model, its advisor in a thread, and the test in the part of the train workers."""

    def __init__(self, store: MetaStore, given: Given, server: OwnCache, **budget: Any) -> None:
        self.store = store
        self.job = given.train_job(budget=msgspec.convert({"MODEL_TRIAL_COUNT": 3, **budget}, TrainBudget))
        self.sub: SubTrainJob = store.train_jobs.list_sub_train_jobs(self.job.id)[0]
        self.server = server
        self.address: CacheAddress = server.credentials.grant(self.job.id)
        self.cache = RedisTrainCache(self.address, self.sub.id)
        self.reports = RedisReports(self.address)
        self.stop = StopSignal()
        self.ended_with: list[BaseException | None] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        spec = AdvisorSpec(
            service_id="adv", job_id=self.job.id, sub_train_job_id=self.sub.id, meta_store_url="",
            cache=self.address, knob_config=to_knob_specs({"x": FloatKnob(0.0, 1.0)}), max_trial_attempts=2,
            heartbeat_s=1.0, lost_after_s=0.2,
        )  # fmt: skip
        try:
            AdvisorWorker(spec, self.store, self.stop).run()
        except (RafikiError, ServiceStopped) as e:
            self.ended_with.append(e)
        else:
            self.ended_with.append(None)

    def own(self) -> SubTrainJob:
        """Hand the sub train job to the advisor, as the supervisor does before it starts one."""
        self.sub = self.store.train_jobs.set_advisor(self.sub.id, "adv")
        return self.sub

    def start(self) -> None:
        self.own()
        self.thread.start()

    def join(self) -> BaseException | None:
        self.thread.join(30)
        assert not self.thread.is_alive(), "the advisor does not end"
        return self.ended_with[0]

    # ---- the train workers' part

    def say(self, event: Any) -> None:
        self.cache.send_event(event)

    def order(self, worker_id: str) -> Order:
        found: Order = eventually(lambda: self.cache.take_order(worker_id, 1.0), f"an order for {worker_id}")
        return found

    def trial_order(self, worker_id: str) -> TrainOrder:
        order = self.order(worker_id)
        assert isinstance(order, TrainOrder)
        return order

    def beat(self, worker_id: str) -> None:
        self.reports.beat(worker_id, 60.0)

    def trials(self) -> list[Trial]:
        return self.store.trials.list_trials_of_sub_train_job(self.sub.id)

    def status(self) -> TrainJobStatus:
        return self.store.train_jobs.get_sub_train_job(self.sub.id).status


@pytest.fixture
def job(store: MetaStore, given: Given, cache: OwnCache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    yield from _job(store, given, cache, monkeypatch)


@pytest.fixture
def job_of_own_cache(
    store: MetaStore, given: Given, own_cache: OwnCache, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Job]:
    yield from _job(store, given, own_cache, monkeypatch)


def _job(store: MetaStore, given: Given, server: OwnCache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    monkeypatch.setattr(advisor, "_LOOK_UP_S", 0.05)
    made = Job(store, given, server)
    yield made
    with contextlib.suppress(ServiceStopped):
        made.stop._on_signal(15, None)
    if made.thread.is_alive():
        made.thread.join(30)


def done(worker_id: str, order: TrainOrder, score: float = 0.5) -> TrialDone:
    return TrialDone(worker_id, order.trial_id, order.attempt, score, "p", [])


def test_a_search_runs_to_its_end_and_every_worker_is_told(job: Job) -> None:
    for w in ("w1", "w2"):
        job.beat(w)
        job.say(Hello(w))
    job.start()
    first, second = job.trial_order("w1"), job.trial_order("w2")
    assert job.status() is TrainJobStatus.RUNNING
    job.say(done("w1", first))
    job.say(TrialFailed("w2", second.trial_id, 1, "it broke", []))
    job.say(done("w1", job.trial_order("w1")))
    assert job.order("w1") == job.order("w2") == EndOrder()
    assert job.join() is None
    assert job.status() is TrainJobStatus.STOPPED
    assert sorted(str(t.status) for t in job.trials()) == ["COMPLETED", "COMPLETED", "ERRORED"]


def test_a_search_in_which_all_failed_is_errored_with_the_reason(job: Job) -> None:
    job.start()
    job.beat("w")
    job.say(Hello("w"))
    for _ in range(3):
        job.say(TrialFailed("w", job.trial_order("w").trial_id, 1, "no such layer", []))
    assert job.order("w") == EndOrder()
    job.join()
    assert job.status() is TrainJobStatus.ERRORED
    assert "no such layer" in (job.store.train_jobs.get_sub_train_job(job.sub.id).error or "")


def test_a_silent_worker_is_lost_and_its_trial_given_to_another(job: Job) -> None:
    job.start()
    job.say(Hello("silent"))
    lost = job.trial_order("silent")
    eventually(lambda: job.trials()[0].worker_id is None, "the trial to be given back")
    job.beat("w")
    job.say(Hello("w"))
    again = job.trial_order("w")
    assert (again.trial_id, again.attempt, again.knobs) == (lost.trial_id, 2, lost.knobs)


def test_a_stop_is_seen_in_the_meta_store_even_when_no_event_tells_it(job: Job) -> None:
    job.start()
    job.beat("w")
    job.say(Hello("w"))
    job.trial_order("w")
    job.store.train_jobs.request_train_job_stop(job.job.id)
    assert job.order("w") == EndOrder()
    assert job.join() is None
    assert job.status() is TrainJobStatus.STOPPED
    assert [t.error for t in job.trials()] == [STOPPED_BY_OWNER]


@pytest.mark.parametrize("n_before", [0, 200])
def test_a_result_that_was_sent_before_the_time_was_over_counts_though_it_is_read_later(
    store: MetaStore, given: Given, cache: OwnCache, n_before: int
) -> None:
    job = Job(store, given, cache, TIME_HOURS=1e-9)
    sub = job.own()
    trials = [
        store.trials.create_trial(
            sub_train_job=sub, no=no, worker_id=f"w{no}", proposal=Proposal(knobs={"x": 0.5}), owner_id="adv"
        )
        for no in (1, 2)
    ]
    for _ in range(n_before):
        job.say(TrialProgress("w1", []))
    # An advisor that took some of them and was killed.
    job.cache.take_events(0.01)
    job.say(TrialDone("w1", trials[0].id, 1, 0.75, "p", []))
    job.start()
    assert job.join() is None
    assert [(str(t.status), t.score, t.error) for t in job.trials()] == [
        ("COMPLETED", 0.75, None),
        ("ERRORED", None, TIME_IS_OVER),
    ]
    assert job.status() is TrainJobStatus.STOPPED
    assert job.order("w1") == job.order("w2") == EndOrder()


def test_the_search_goes_on_after_the_cache_was_restarted(job_of_own_cache: Job) -> None:
    job = job_of_own_cache
    job.start()
    job.beat("w")
    job.say(Hello("w"))
    order = job.trial_order("w")
    job.server.restart(job.address)

    def next_order() -> Order | None:
        # A worker says again what it said last until it hears something.
        job.beat("w")
        job.say(done("w", order))
        return job.cache.take_order("w", 0.2)

    second = eventually(next_order, "an order after the restart")
    assert second.no == 2
    assert [str(t.status) for t in job.trials()] == ["COMPLETED", "RUNNING"]
    assert all(t.attempt == 1 for t in job.trials())


@pytest.mark.parametrize("error", [MetaStoreError, StoreFullError])
def test_a_result_that_was_stored_though_the_meta_store_failed_counts_once(
    job: Job, monkeypatch: pytest.MonkeyPatch, error: type[RafikiError]
) -> None:
    real, failures = job.store.trials.complete_trial, [error("the connection was lost, or the disk was full")]

    def complete_trial(*args: Any, **kwargs: Any) -> Trial:
        trial = real(*args, **kwargs)
        if failures:
            raise failures.pop()
        return trial

    monkeypatch.setattr(job.store.trials, "complete_trial", complete_trial)
    job.start()
    job.beat("w")
    job.say(Hello("w"))
    first = job.trial_order("w")
    job.say(done("w", first, 0.75))
    second = job.trial_order("w")
    assert (second.no, second.attempt) == (2, 1)
    assert [(str(t.status), t.score) for t in job.trials()] == [("COMPLETED", 0.75), ("RUNNING", None)]


def test_an_advisor_that_was_replaced_ends_without_another_write(job: Job) -> None:
    job.start()
    job.beat("w")
    job.say(Hello("w"))
    job.trial_order("w")
    job.store.train_jobs.set_advisor(job.sub.id, "another")
    job.say(Hello("w2"))
    assert isinstance(job.join(), StaleOwnerError)
    assert [t.worker_id for t in job.trials()] == ["w"]
    # Its successor gets the event that it could not act on.
    assert [r.event for r in RedisTrainCache(job.address, job.sub.id).take_events(0.01)] == [Hello("w2")]


def test_an_advisor_for_a_search_that_is_over_has_nothing_to_do(job: Job) -> None:
    job.own()
    job.store.train_jobs.set_sub_train_job_status(job.sub.id, TrainJobStatus.STOPPED, owner_id="adv")
    job.start()
    assert job.join() is None
    assert job.trials() == []
