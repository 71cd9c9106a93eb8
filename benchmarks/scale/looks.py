"""What one look takes, by the number of services: all is real but the services themselves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.scale.population import Load, Population
from benchmarks.scale.stack import JOB_KEY, MeasuredSupervisor, make_supervisor
from rafiki import __version__
from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.planner import plan
from rafiki.cache.connection import connect
from rafiki.cache.credentials import job_prefix
from rafiki.cache.server import CacheServer
from rafiki.cache_program import find_server_program
from rafiki.constants import ServiceStatus, ServiceType, TrainJobStatus
from rafiki.container.base import (
    ContainerManager,
    ServiceExit,
    ServiceRequest,
    ServiceUsage,
    StartedService,
)
from rafiki.container.swarm_tasks import Node, Task, find_ending, first_tasks
from rafiki.entities import Gpu
from rafiki.messages import ServiceReport
from rafiki.meta_store import MetaStore, open_meta_store
from rafiki.settings import Config
from rafiki.utils.ids import new_id

_N_LOOKS = 15
_WORKERS_A_JOB = 4


class LookFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds, medians of so many looks."""

    n_services: int
    n_jobs: int
    database: str
    look_ms: float
    look_p95_ms: float
    processor_ms: float
    statements: int
    plan_ms: float
    """Of it: to decide."""
    cache_ms: float
    """Of it: to read what the services last reported."""
    listing_ms: float
    """To read the answer of a Swarm with so many tasks; comes on top of it."""
    listing_mb: float


class _Steady(ContainerManager):
    """Whatever was started runs."""

    def start(self, request: ServiceRequest) -> StartedService:
        raise AssertionError("nothing is to be started here")

    def find(self, service_id: str) -> StartedService | None:
        return None

    def poll(self, service_id: str, handle: str) -> ServiceExit | None:
        return None

    def poll_all(self, handles: Mapping[str, str]) -> dict[str, ServiceExit | None]:
        return dict.fromkeys(handles)

    def stop(self, service_id: str, handle: str, timeout_s: float) -> None: ...

    def usage(self, service_id: str, handle: str) -> ServiceUsage:
        return ServiceUsage(pid=None, memory_bytes=None)

    def gpus(self) -> list[Gpu]:
        return []

    def close(self) -> None: ...


def measure_looks(folder: Path, n_services: int, url: str | None = None) -> LookFigures:
    """A stack in a steady state.

    Args:
        url: of an empty database; None = SQLite in the folder.
    """
    for name in ("run", "logs"):
        (folder / name).mkdir(parents=True)
    url = url or f"sqlite:///{folder}/meta.db"
    server = CacheServer(
        stack_root=folder, run_folder=folder / "run", log_file=folder / "logs" / "cache.log", password="p" * 40, port=0,
        start_timeout_s=10.0, find_program=lambda: find_server_program(None, folder),
    )  # fmt: skip
    cache = CacheKeeper(server.ensure(), server, JOB_KEY)
    try:
        cache.rehearse()
        with open_meta_store(url) as store:
            store.migrate()
            n_jobs = _populate(store, cache, n_services)
            supervisor = make_supervisor(
                folder=folder, config=Config(), url=url, store=store, containers=_Steady(), cache=cache
            )
            return _measure(supervisor, store, cache, n_jobs, url)
    finally:
        cache.shut_down()


def _populate(store: MetaStore, cache: CacheKeeper, n_services: int) -> int:
    """Four of five jobs train, one serves; all their services run. How many jobs there are."""
    n_jobs = max(2, n_services // (_WORKERS_A_JOB + 1))
    load = Load(n_train_jobs=n_jobs - n_jobs // 5, n_inference_jobs=n_jobs // 5, n_workers=_WORKERS_A_JOB, n_trials=100)
    population = Population(store)
    for no in range(load.n_train_jobs):
        job = store.train_jobs.set_train_job_status(population.train_job(no, load).id, TrainJobStatus.RUNNING)
        [sub] = store.train_jobs.list_sub_train_jobs(job.id)
        advisor = _service(store, cache, ServiceType.ADVISOR, job.id, sub.id, 0)
        store.train_jobs.set_advisor(sub.id, advisor)
        store.train_jobs.set_sub_train_job_status(sub.id, TrainJobStatus.RUNNING, owner_id=advisor)
        for slot in range(_WORKERS_A_JOB):
            _service(store, cache, ServiceType.TRAIN, job.id, sub.id, slot)
    for no in range(load.n_inference_jobs):
        served = population.inference_job(no, load)
        _service(store, cache, ServiceType.PREDICT, served.id, served.id, 0)
        for member in store.inference_jobs.list_served_trials(served.id):
            for slot in range(load.n_replicas):
                _service(store, cache, ServiceType.INFERENCE, served.id, member.trial_id, slot)
    return n_jobs


def _service(store: MetaStore, cache: CacheKeeper, kind: ServiceType, job_id: str, unit_id: str, slot: int) -> str:
    service = store.services.create_service(
        service_id=new_id(), service_type=kind, job_id=job_id, unit_id=unit_id, slot=slot, attempt=1
    )
    store.services.set_service_handle(service.id, f"task {service.id}")
    store.services.set_service_status(service.id, ServiceStatus.RUNNING)
    report = msgspec.json.encode(ServiceReport(state="running", version=__version__))
    with connect(cache.address) as client:
        client.set(f"{job_prefix(job_id)}report:{service.id}", report)
    return service.id


def _measure(
    supervisor: MeasuredSupervisor, store: MetaStore, cache: CacheKeeper, n_jobs: int, url: str
) -> LookFigures:
    supervisor.look()  # The first one notes that deployments run, and makes the users of jobs.
    supervisor.looks.clear()
    took = sorted(_time_ms(supervisor.look) for _ in range(_N_LOOKS))
    live = store.services.list_live_services()
    observed = supervisor.observe()
    actions = plan(observed)
    assert not actions, actions[:3]
    tasks, nodes = _listing(len(live))
    return LookFigures(
        n_services=len(live), n_jobs=n_jobs, database=url.partition(":")[0],
        look_ms=statistics.median(took), look_p95_ms=took[int(0.95 * (len(took) - 1))],
        processor_ms=statistics.median(look.took_ms for look in supervisor.looks),
        statements=supervisor.looks[-1].n_statements,
        plan_ms=_median_ms(lambda: plan(observed)),
        cache_ms=_median_ms(lambda: cache.read_reports([(s.job_id, s.id) for s in live])),
        listing_ms=_median_ms(lambda: _read_listing(tasks, nodes)), listing_mb=(len(tasks) + len(nodes)) / 1e6,
    )  # fmt: skip


def _time_ms(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


def _median_ms(action: Callable[[], object]) -> float:
    return statistics.median(_time_ms(action) for _ in range(5))


# ---- what a Swarm would answer

_FILLER = {"ContainerSpec": {"Image": "127.0.0.1:1/rafiki", "Args": ["x" * 60] * 10, "Env": ["A=" + "x" * 40] * 12}}
"""A task of ours is 2 KB as Docker 20.10 lists it."""


def _listing(n_services: int) -> tuple[bytes, bytes]:
    """Tasks of the services, ten on a node."""
    tasks = [
        {
            "ID": f"t{i}", "ServiceID": f"s{i}", "CreatedAt": datetime.now(UTC).isoformat(), "NodeID": f"n{i // 10}",
            "DesiredState": "running", "Spec": _FILLER,
            "Status": {"State": "running", "Message": "started", "ContainerStatus": {"ContainerID": "c" * 64}},
        }
        for i in range(n_services)
    ]  # fmt: skip
    nodes = [
        {
            "ID": f"n{i}", "Spec": {"Labels": {}, "Availability": "active"}, "Status": {"State": "ready"},
            "Description": {"Hostname": f"host{i}", "Engine": {"Plugins": [{"Type": "Log", "Name": "x" * 20}] * 20}},
        }
        for i in range(n_services // 10 + 1)
    ]  # fmt: skip
    return msgspec.json.encode(tasks), msgspec.json.encode(nodes)


def _read_listing(tasks: bytes, nodes: bytes) -> None:
    """As the back end does."""
    by_id = {node.id: node for node in msgspec.json.decode(nodes, type=list[Node])}
    for task in first_tasks(msgspec.json.decode(tasks, type=list[Task])).values():
        assert find_ending(task, by_id, None, 0.0) is None
