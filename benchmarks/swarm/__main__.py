"""``python -m benchmarks.swarm``: what it costs that workers run as services of a Docker Swarm.

Two Docker hosts on this machine, as the tests have them (root, Debian's docker.io and iptables): the engines, the Swarm
and the containers are real, the wire between them is not. The image is on both hosts before the first figure.

| figure | measured |
|---|---|
| ``train_start_s`` | from the client's call that creates a train job to the start of its first trial |
| ``deploy_s`` | from the client's call that creates an inference job to the first prediction |
| ``look_ms`` | what the back end needs to say how each of the services is: the part of a look that asks the engine |
| ``look_cpu_ms`` | processor time of the admin between two of its looks, with all services running |
| ``admin_rss_mb`` | resident memory of the admin with all services running |
| ``all_running_s`` | from the client's call that creates the job of all services until all of them run |
| ``completed`` | trials of that job that ended well, of as many |
| ``left_behind`` | services, secrets and containers of both hosts after `rafiki down` |
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import docker
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from support.stacks.running_stack import MODELS, RunningStack, eventually
from support.swarm.docker_hosts import DockerHosts
from support.swarm.worker_image import TEST_IMAGE, build_images

from benchmarks.machine import describe_machine
from rafiki.client import Client
from rafiki.client.prediction import PredictorClient
from rafiki.config import worker_environment
from rafiki.container import ContainerSetup, open_container_manager
from rafiki.container.base import ServiceDoor
from rafiki.settings import ClusterConfig, Config, ContainerConfig
from rafiki.utils.clock import utc_now

RESULTS = Path(__file__).resolve().parents[1] / "results" / "swarm.json"
MARKS = {"left_behind": 0.0, "train_start_s": 3.0, "deploy_s": 4.0, "look_ms": 100.0, "admin_rss_mb": 150.0}
N_LOOKS = 20
WATCHED_S = 20.0
TICK_S = 1.0
_MOST_HOURS = 2.0
"""A job that says nothing ends after six minutes."""


class _NoDoor(ServiceDoor):
    """Nothing is started through the manager that only looks."""

    spec_url = "http://127.0.0.1:1/"


class Bench:
    """One stack over two hosts."""

    def __init__(self, hosts: DockerHosts, folder: Path) -> None:
        self._hosts = hosts
        self.stack = RunningStack(
            folder,
            {
                "container": {"backend": "swarm", "engine": hosts.manager.socket, "image": TEST_IMAGE},
                "cluster": {"advertise_host": hosts.address},
                "supervisor": {"tick_s": TICK_S, "start_timeout_s": 600.0},
            },
        )
        self.stack.up()
        self.client: Client = self.stack.client()
        (folder / "data.bin").write_bytes(b"examples")
        self._dataset = self.client.create_dataset("data", "CUSTOM", str(folder / "data.bin"))["id"]
        self._model = self.client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]

    def start_job(self, app: str, n_workers: int, **train_args: Any) -> None:
        budget = {"MODEL_TRIAL_COUNT": n_workers, "CPU_WORKER_COUNT": n_workers, "TIME_HOURS": _MOST_HOURS}
        data = [self._dataset, self._dataset]
        self.client.create_train_job(app, "CUSTOM", *data, budget, [self._model], train_args=train_args)

    def train_start_s(self, app: str) -> float:
        called = utc_now()
        self.start_job(app, 1)
        self.wait_for_end(app)
        (trial,) = self.client.get_trials_of_train_job(app)
        return float((self._time(trial["datetime_started"]) - called).total_seconds())

    def wait_for_end(self, app: str) -> None:
        eventually(lambda: self.client.get_train_job(app)["status"] == "STOPPED", f"the end of {app}", 300.0)

    @staticmethod
    def _time(value: str) -> Any:
        from datetime import datetime

        return datetime.fromisoformat(value)

    def deploy_s(self, app: str) -> float:
        """Somebody asks again as soon as there is an address, until an answer comes."""
        started = time.perf_counter()
        job = self.client.create_inference_job(app)
        host = job["predictor_host"] or eventually(
            lambda: self.client.get_running_inference_job(app)["predictor_host"], "the address of a predictor"
        )

        def answers() -> bool:
            try:
                with PredictorClient(host) as predictor:
                    return predictor.predict([1, 2]) is not None
            except Exception:  # noqa: BLE001 - not yet
                return False

        eventually(answers, "a prediction", 120.0)
        took_s = time.perf_counter() - started
        self.client.stop_inference_job(app)
        eventually(lambda: not self._running(), "the end of its services", 120.0)
        return took_s

    def _running(self) -> list[dict[str, Any]]:
        return list(self.client.get_services())

    def with_many(self, n_services: int, lasting_s: float) -> dict[str, float]:
        """Figures while so many workers run, each at a trial that lasts so long; all of these are waited for."""
        started = time.monotonic()
        self.start_job("many", n_services, sleep_s=lasting_s)
        eventually(lambda: self._n_running() > n_services, f"{n_services} running workers", lasting_s)
        all_running_s = time.monotonic() - started
        admin = next(p for p in psutil.process_iter() if self._is_admin(p))
        before, begun = admin.cpu_times(), time.monotonic()
        eventually(lambda: time.monotonic() - begun > WATCHED_S, "some looks", 2 * WATCHED_S)
        after = admin.cpu_times()
        cpu_s = after.user + after.system - before.user - before.system
        figures = {
            "admin_rss_mb": admin.memory_info().rss / 2**20,
            "look_cpu_ms": 1000 * cpu_s / ((time.monotonic() - begun) / TICK_S),
            "look_ms": self._look_ms(),
            "all_running_s": all_running_s,
        }
        eventually(lambda: self.client.get_train_job("many")["status"] == "STOPPED", "the end", 4 * lasting_s)
        trials = self.client.get_trials_of_train_job("many")
        return figures | {"completed": sum(t["status"] == "COMPLETED" for t in trials)}

    def left_behind(self) -> int:
        """What both hosts still have of a stack that was brought down."""
        found = 0
        for host in self._hosts.hosts:
            engine = docker.APIClient(base_url=host.socket, version="auto", timeout=60)
            # What a Swarm was told to take away ends within moments.
            with contextlib.suppress(AssertionError):
                eventually(lambda engine=engine: not engine.containers(all=True), "no containers", 120.0)
            found += len(engine.containers(all=True))
            if host is self._hosts.manager:
                found += len(engine.services()) + len(engine.secrets())
            engine.close()
        return found

    def _n_running(self) -> int:
        return sum(s["status"] == "RUNNING" for s in self._running())

    def _is_admin(self, process: psutil.Process) -> bool:
        try:
            return "rafiki.admin" in process.cmdline() and Path(process.cwd()) == self.stack.folder.resolve()
        except psutil.Error:
            return False

    def _look_ms(self) -> float:
        with sqlite3.connect(f"file:{self.stack.root / 'meta.db'}?mode=ro", uri=True) as database:
            handles = dict(database.execute("SELECT id, handle FROM services WHERE status = 'RUNNING'"))
        config = Config(
            container=ContainerConfig(backend="swarm", engine=self._hosts.manager.socket, image=TEST_IMAGE, gpus=[]),
            cluster=ClusterConfig(advertise_host=self._hosts.address),
        )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            manager = open_container_manager(
                ContainerSetup(
                    config=config, stack_root=self.stack.root, stack_id=self.client.get_health()["stack_id"],
                    run_folder=folder, log_folder=folder, model_environment=worker_environment([]), door=_NoDoor(),
                )
            )  # fmt: skip
            manager.poll_all(handles)
            took = []
            for _ in range(N_LOOKS):
                started = time.perf_counter()
                manager.poll_all(handles)
                took.append(1000 * (time.perf_counter() - started))
            manager.close()
        return statistics.median(took)


def measure(n_starts: int, n_services: int, lasting_s: float) -> dict[str, float]:
    figures: dict[str, float] = {}
    hosts = DockerHosts()
    try:
        hosts.up()
        build_images(hosts)
        with tempfile.TemporaryDirectory(prefix="rafiki-bench-") as folder:
            bench = Bench(hosts, Path(folder) / "stack")
            try:
                starts = [bench.train_start_s(f"start{i}") for i in range(n_starts)]
                deploys = [bench.deploy_s(f"start{i}") for i in range(n_starts)]
                figures["train_start_s"] = statistics.median(starts)
                figures["deploy_s"] = statistics.median(deploys)
                if n_services:
                    figures |= bench.with_many(n_services, lasting_s)
            finally:
                bench.stack.down()
            figures["left_behind"] = bench.left_behind()
    finally:
        hosts.down()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swarm", description=__doc__.partition("\n")[0])
    parser.add_argument("--starts", type=int, default=5, help="jobs and deployments of which the median counts")
    parser.add_argument("--services", type=int, default=100, help="workers that run at a time; 0 = leave these out")
    parser.add_argument("--lasting-s", type=float, default=180.0, help="how long the trial of each of these lasts")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    started_at, machine = utc_now(), describe_machine()
    figures = measure(options.starts, options.services, options.lasting_s)
    for name, value in figures.items():
        mark = f" (mark {MARKS[name]:g})" if name in MARKS else ""
        print(f"{name}: {value:.2f}{mark}")
    report = {
        "started_at": started_at.isoformat(), "n_starts": options.starts, "n_services": options.services,
        "n_cores": machine.n_cores, "load_average": machine.load_average, "busy_percent": machine.busy_percent,
        "figures": {name: round(value, 2) for name, value in figures.items()}, "marks": MARKS,
    }  # fmt: skip
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
