"""The supervisor over a container manager whose services exist on paper, and a real meta store."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import call

import msgspec
import pytest
from support.services.fake_containers import INSIDE, FakeContainerManager
from support.services.supervised import Scene
from support.stores.meta_store_records import Given
from support.stores.store_and_cache import given, migrated_file, store, store_url

from rafiki import __version__
from rafiki.admin.service_runner import MOST_STARTS
from rafiki.budget import TrainBudget
from rafiki.constants import InferenceJobStatus, ServiceStatus, ServiceType, TrainJobStatus
from rafiki.container.base import Address, ServiceExit, ServiceRequest, StartedService
from rafiki.container.hosts import Host
from rafiki.entities import Gpu, InferenceJob, Service, TrainJob
from rafiki.errors import CacheUnavailableError, MetaStoreError, RafikiError, StoreFullError
from rafiki.messages import PredictorSpec, RetireWorker, ServiceReport
from rafiki.meta_store import MetaStore
from rafiki.settings import Config
from rafiki.utils.process import Backoff

__all__ = ["given", "migrated_file", "store", "store_url"]


@pytest.fixture
def scene(store: MetaStore, store_url: str, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(store, store_url, tmp_path)
    yield made
    made.supervisor.shut_down()


def deployed(store: MetaStore, given: Given) -> InferenceJob:
    sub = given.sub_train_job("owner")
    trial = given.completed_trial(sub, 1, 0.5)
    train_job = store.train_jobs.set_train_job_status(sub.train_job_id, TrainJobStatus.STOPPED)
    return given.inference_job(train_job, [trial.id])


def in_place_of(job: InferenceJob, given: Given, **fields: object) -> Service:
    return given.service(service_type=ServiceType.PREDICT, job_id=job.id, unit_id=job.id, **fields)


def wait_for_host(scene: Scene, job: InferenceJob) -> str:
    """Where clients are told that the job's predictor is."""
    jobs = scene.store.inference_jobs
    assert scene.supervisor.wait_until(lambda: jobs.get_inference_job(job.id).predictor_host is not None, 30.0)
    return jobs.get_inference_job(job.id).predictor_host or ""


class BrokenLog(logging.Handler):
    """As one whose disk is full, and that does not hide it."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [StoreFullError("No space."), MetaStoreError("away"), CacheUnavailableError("away")])
def test_a_job_outlives_any_number_of_starts_that_failed_for_want_of_space_or_a_store(
    scene: Scene, store: MetaStore, given: Given, monkeypatch: pytest.MonkeyPatch, error: RafikiError
) -> None:
    start, refusals = scene.containers.start, [error] * 3 * (Config().supervisor.max_restarts + 1)
    monkeypatch.setattr(scene.supervisor._services, "_pauses", Backoff(0.001, 0.01))

    def start_when_it_can(request: ServiceRequest) -> StartedService:
        if refusals:
            raise refusals.pop()
        return start(request)

    monkeypatch.setattr(scene.containers, "start", start_when_it_can)
    sub = given.sub_train_job("owner")
    scene.supervisor.start()

    def runs() -> bool:
        kinds = {s.service_type for s in store.services.list_live_services() if s.id in scene.containers.running}
        return kinds == {ServiceType.ADVISOR, ServiceType.TRAIN}

    assert scene.supervisor.wait_until(runs, 30.0)
    assert refusals == []
    assert store.train_jobs.get_train_job(sub.train_job_id).status is not TrainJobStatus.ERRORED


def test_a_start_that_fails_for_another_reason_is_tried_so_many_times(
    scene: Scene, store: MetaStore, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: ServiceRequest) -> StartedService:
        raise ValueError("nobody has thought of this")

    monkeypatch.setattr(scene.containers, "start", fail)
    sub = given.sub_train_job("owner")
    scene.supervisor.start()

    def is_given_up() -> bool:
        return store.train_jobs.get_train_job(sub.train_job_id).status is TrainJobStatus.ERRORED

    assert scene.supervisor.wait_until(is_given_up, 60.0)
    assert "nobody has thought of this" in str(store.train_jobs.get_train_job(sub.train_job_id).error)


def test_no_failure_to_log_ends_the_supervisor_and_it_goes_on_by_itself(
    scene: Scene, store: MetaStore, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = BrokenLog()
    logging.getLogger("rafiki").addHandler(handler)
    is_broken = threading.Event()
    is_broken.set()
    poll_all = scene.containers.poll_all
    n_looks = itertools.count()

    def poll(handles: Mapping[str, str]) -> dict[str, ServiceExit | None]:
        next(n_looks)
        if is_broken.is_set():
            raise RuntimeError("nobody has thought of this")
        return poll_all(handles)

    monkeypatch.setattr(scene.containers, "poll_all", poll)
    try:
        scene.supervisor.start()
        assert scene.supervisor.wait_until(lambda: next(n_looks) > 20, 30.0)
        assert scene.supervisor.wait_until(lambda: bool(scene.supervisor.find_errors()), 30.0)
        is_broken.clear()
        assert scene.supervisor.wait_until(lambda: not scene.supervisor.find_errors(), 30.0)
        job = given.train_job()
        scene.supervisor.wake()
        scene.wait_for_service(job.id, ServiceType.ADVISOR)
    finally:
        logging.getLogger("rafiki").removeHandler(handler)


def test_clients_are_told_where_a_predictor_is_reached_and_it_where_to_listen(
    scene: Scene, store: MetaStore, given: Given
) -> None:
    job = deployed(store, given)
    scene.supervisor.start()
    host = wait_for_host(scene, job)
    [started] = [s for s in scene.containers.running.values() if s.address]
    predictor = scene.wait_for_service(job.id, ServiceType.PREDICT, handle=started.handle)
    assert started.address is not None
    assert (host, predictor.port) == (str(started.address), started.address.port)
    spec = msgspec.msgpack.decode(scene.containers.specs[predictor.id], type=PredictorSpec)
    assert (spec.host, spec.port) == (INSIDE.host, INSIDE.port)


def test_a_new_predictor_is_to_have_the_port_of_the_last_one(scene: Scene, store: MetaStore, given: Given) -> None:
    job = deployed(store, given)
    last = in_place_of(job, given, port=4711)
    store.services.set_service_status(last.id, ServiceStatus.ERRORED, "it was killed")
    scene.supervisor.start()
    assert wait_for_host(scene, job) == "node-2:4711"
    assert scene.wait_for_service(job.id, ServiceType.PREDICT, attempt=2).port == 4711


def test_a_predictor_whose_admin_died_while_it_started_it_is_adopted_with_its_address(
    scene: Scene, store: MetaStore, given: Given
) -> None:
    job = deployed(store, given)
    unnoted = in_place_of(job, given)
    scene.containers.running[unnoted.id] = StartedService(handle="task 7", address=Address("node-3", 31_000))
    scene.supervisor.start()
    assert wait_for_host(scene, job) == "node-3:31000"
    assert scene.wait_for_service(job.id, ServiceType.PREDICT, handle="task 7").port == 31_000
    assert scene.wait_for_service(job.id, ServiceType.INFERENCE) is not None
    assert not any(r.listens for r in scene.containers.requests.values())


def train_job(given: Given, n_gpus: int) -> TrainJob:
    return given.train_job(budget=TrainBudget(gpu_count=n_gpus))


def test_the_gpus_of_several_hosts_are_shared_out_one_a_worker(scene: Scene, store: MetaStore, given: Given) -> None:
    job = train_job(given, 2)
    scene.supervisor.start()
    workers = [scene.wait_for_service(job.id, ServiceType.TRAIN, slot=slot) for slot in (0, 1)]
    assert sorted(gpu for w in workers for gpu in w.gpus) == [Gpu("node-1", "0"), Gpu("node-2", "0")]
    assert scene.wait_for_service(job.id, ServiceType.ADVISOR).gpus == []


@pytest.mark.parametrize("is_permanent", [True, False])
def test_a_failure_that_would_come_again_at_once_is_not_tried_again(
    scene: Scene, store: MetaStore, given: Given, is_permanent: bool
) -> None:
    job = train_job(given, 0)
    scene.supervisor.start()
    worker = scene.wait_for_service(job.id, ServiceType.TRAIN)
    assert scene.supervisor.wait_until(lambda: worker.id in scene.containers.running, 30.0)
    scene.reports[worker.id] = ServiceReport(state="failed", reason="no class M", is_permanent=is_permanent)
    scene.containers.end(worker.id, 1)
    ended = scene.wait_for_service(job.id, ServiceType.TRAIN, id=worker.id, status=ServiceStatus.ERRORED)
    assert (ended.error, ended.is_permanent) == ("no class M", is_permanent)
    if not is_permanent:
        assert scene.wait_for_service(job.id, ServiceType.TRAIN, attempt=2).id != worker.id
        return
    assert scene.supervisor.wait_until(
        lambda: store.train_jobs.get_train_job(job.id).status is TrainJobStatus.ERRORED, 30.0
    )
    assert store.train_jobs.list_sub_train_jobs(job.id)[0].error == "no class M"
    services = store.services.list_services(job.id)
    assert [s.attempt for s in services if s.service_type is ServiceType.TRAIN] == [1]


def test_a_service_of_a_back_end_that_the_stack_had_before_is_started_anew(
    scene: Scene, store: MetaStore, given: Given
) -> None:
    job = deployed(store, given)
    other = in_place_of(job, given)
    store.services.set_service_handle(other.id, '{"pid": 42}', port=1)
    scene.supervisor.start()
    assert scene.wait_for_service(job.id, ServiceType.PREDICT, attempt=2).id != other.id


def test_workers_are_started_where_they_were_placed_and_what_waits_is_told_until_it_does_not(
    scene: Scene, store: MetaStore, given: Given
) -> None:
    scene.containers.machines = [Host(name="n1"), Host(name="n2", is_draining=True)]
    job = given.train_job(budget=TrainBudget(cpu_worker_count=2))
    [sub] = store.train_jobs.list_sub_train_jobs(job.id)
    scene.supervisor.start()
    scene.wait_for_service(job.id, ServiceType.TRAIN, slot=1)
    assert scene.supervisor.wait_until(lambda: len(scene.containers.running) == 3, 30.0)
    assert {r.host for r in scene.containers.requests.values() if r.kind == "train"} == {"n1"}
    assert {r.host for r in scene.containers.requests.values() if r.kind == "advisor"} == {None}
    assert scene.supervisor.waits.find(job.id, sub.id) is None

    # The node that could not start a worker is left out, and there is no other.
    [first, *_] = [i for i, r in scene.containers.requests.items() if r.kind == "train"]
    del scene.containers.running[first]
    scene.containers.exits[first] = ServiceExit(code=None, reason="No such image", refused_by="n1")
    reason = "1 of 2 workers wait: node n1 could not start it: No such image; node n2 is draining"
    assert scene.supervisor.wait_until(lambda: scene.supervisor.waits.find(job.id, sub.id) == reason, 30.0)
    scene.containers.machines = [Host(name="n1"), Host(name="n2")]
    assert scene.supervisor.wait_until(lambda: len(scene.containers.running) == 3, 30.0)
    assert [r.host for r in scene.containers.requests.values()][-1] == "n2"
    assert scene.supervisor.wait_until(lambda: not scene.supervisor.waits.list_waits(), 30.0)


def test_a_worker_on_a_draining_node_is_retired_by_its_advisor_and_replaced_elsewhere(
    scene: Scene, store: MetaStore, given: Given
) -> None:
    scene.containers.machines = [Host(name="n1"), Host(name="n2", is_paused=True)]
    job = given.train_job(budget=TrainBudget(cpu_worker_count=1))
    scene.supervisor.start()
    worker = scene.wait_for_service(job.id, ServiceType.TRAIN)
    advisor = scene.wait_for_service(job.id, ServiceType.ADVISOR)
    scene.reports |= {s.id: ServiceReport(state="running", version=__version__) for s in (worker, advisor)}
    scene.wait_for_service(job.id, ServiceType.TRAIN, status=ServiceStatus.RUNNING)
    scene.containers.machines = [Host(name="n1", is_draining=True), Host(name="n2")]
    told = call(job.id, worker.unit_id, RetireWorker(worker.id))
    assert scene.supervisor.wait_until(lambda: told in scene.cache.send_train_event.mock_calls, 30.0)
    scene.containers.end(worker.id, 0)
    ended = scene.wait_for_service(job.id, ServiceType.TRAIN, id=worker.id, status=ServiceStatus.STOPPED)
    assert ended.error is None
    successor = scene.wait_for_service(job.id, ServiceType.TRAIN, attempt=2)
    assert scene.supervisor.wait_until(lambda: successor.id in scene.containers.requests, 30.0)
    assert scene.containers.requests[successor.id].host == "n2"


class SlowContainers(FakeContainerManager):
    """It takes services when its gate is open, and counts how many wait there at once."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.at_gate = 0
        self.most_at_gate = 0
        self._counting = threading.Lock()

    def start(self, request: ServiceRequest) -> StartedService:
        with self._counting:
            self.at_gate += 1
            self.most_at_gate = max(self.most_at_gate, self.at_gate)
        assert self.gate.wait(30.0)
        with self._counting:
            self.at_gate -= 1
        return super().start(request)


@pytest.fixture
def slow(store: MetaStore, store_url: str, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(store, store_url, tmp_path, containers=SlowContainers())
    yield made
    made.containers.gate.set()
    made.supervisor.shut_down()


def test_services_are_started_at_the_same_time_and_no_more_than_so_many(
    slow: Scene, store: MetaStore, given: Given
) -> None:
    n_workers = MOST_STARTS + 4
    job = given.train_job(budget=TrainBudget(cpu_worker_count=n_workers))
    slow.supervisor.start()
    assert slow.supervisor.wait_until(lambda: slow.containers.at_gate == MOST_STARTS, 30.0)
    # What waits at the back end is neither taken for lost nor started again.
    assert slow.supervisor.wait_until(counter(10), 30.0)
    assert [s.attempt for s in store.services.list_services(job.id)] == [1] * MOST_STARTS
    slow.containers.gate.set()
    assert slow.supervisor.wait_until(lambda: len(slow.containers.running) == 1 + n_workers, 30.0)
    assert slow.containers.most_at_gate <= MOST_STARTS
    services = store.services.list_services(job.id)
    assert (len(services), {s.attempt for s in services}) == (1 + n_workers, {1})


def test_a_service_that_is_to_end_while_it_is_started_is_ended_once_it_is_there(
    slow: Scene, store: MetaStore, given: Given
) -> None:
    job = deployed(store, given)
    slow.supervisor.start()
    assert slow.supervisor.wait_until(lambda: slow.containers.at_gate == 2, 30.0)
    store.inference_jobs.request_inference_job_stop(job.id)
    assert slow.supervisor.wait_until(
        lambda: store.inference_jobs.get_inference_job(job.id).status is InferenceJobStatus.STOPPED, 30.0
    )
    assert len(store.services.list_live_services()) == 2
    slow.containers.gate.set()
    assert slow.supervisor.wait_until(lambda: not store.services.list_live_services(), 30.0)
    assert {s.status for s in store.services.list_services(job.id)} == {ServiceStatus.STOPPED}
    assert len(slow.containers.requests) == 2
    assert not slow.containers.running


def counter(n: int) -> Callable[[], bool]:
    """True when it is asked for the n-th time: after as many looks."""
    asked = itertools.count(1)
    return lambda: next(asked) >= n
