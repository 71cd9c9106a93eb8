"""The ensemble of four on a real stack: deployed in each of the ways that are compared, measured, and loaded."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import psutil

from benchmarks.bench_stack import MODELS, BenchStack, wait_for
from benchmarks.load import run_load
from benchmarks.scheduling.digits import write_digits
from benchmarks.scheduling.open_loop import Answer, OpenLoad, send
from benchmarks.scheduling.simulated import N_CLIENTS
from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.simulator import Member
from rafiki.scheduling.subset_scores import useful_subsets
from rafiki.utils.process import find_stack_processes

MOST = 32
"""The largest batch."""
_CLASSES = ("Machines", "Trees", "Neighbours", "Bayes")
_TASK = "IMAGE_CLASSIFICATION"
_SIZES = (1, 2, 4, 8, 16, 32)
_TIMEOUT_S = 30.0
_TRAINING_S = 600.0
_STRIDE = 331


class Served(NamedTuple):
    """One deployment."""

    address: str
    trial_ids: list[str]
    weights: list[float]


class Costs(NamedTuple):
    """What was measured of the deployed members."""

    members: list[Member]
    front_s: float
    """What of a core one query takes on its way: generator, predictor and cache."""


class Deployments:
    """One app with all members under the objective, one without it, and one of each member alone: all run at once, so
    that policies take turns and whatever else the machine does falls on all of them."""

    def __init__(self, stack: BenchStack, budget_ms: float) -> None:
        self._stack = stack
        self._client = stack.client
        train, val, self.queries = write_digits(stack.folder)
        self.bodies = self.queries.bodies()
        self._data = [self._client.create_dataset(p.stem, _TASK, str(p))["id"] for p in (train, val)]
        file = str(MODELS / "four_digits.py")
        models = {name: self._client.create_model(name, _TASK, file, name)["id"] for name in _CLASSES}
        budget = {"latency_budget_ms": budget_ms}
        greedy = {"method": "greedy", "size": len(_CLASSES)}
        self._train("planned", list(models.values()))
        self._train("everyone", list(models.values()))
        for name in _CLASSES:
            self._train(name, [models[name]])
        for app in ("planned", "everyone", *_CLASSES):
            self._wait_for_training(app)
        self.planned = self._deploy("planned", greedy, budget)
        self.everyone = self._deploy("everyone", greedy, {})
        job = self._client.get_running_inference_job("planned")
        self.names = [self._client.get_trial(trial_id)["model_name"] for trial_id in self.planned.trial_ids]
        self.weights = self.planned.weights
        self.validation_scores = {int(mask): score for mask, score in job["ensemble"]["subset_scores"].items()}
        self.alone = [self._deploy(name, {"method": "best"}, {}) for name in self.names]

    def _train(self, app: str, models: list[str]) -> None:
        self._client.create_train_job(app, _TASK, *self._data, {"MODEL_TRIAL_COUNT": 1}, models)

    def _wait_for_training(self, app: str) -> None:
        def has_ended() -> bool:
            return bool(self._client.get_train_job(app)["status"] == "STOPPED")

        wait_for(has_ended, f"the end of the training of {app}", timeout_s=_TRAINING_S)

    def _deploy(self, app: str, ensemble: dict[str, Any], deployment: dict[str, Any]) -> Served:
        self._client.create_inference_job(app, ensemble=ensemble, deployment={"batch_size": MOST, **deployment})

        def running() -> dict[str, Any] | None:
            job = self._client.get_running_inference_job(app)
            return job if job["status"] == "RUNNING" else None

        job = wait_for(running, f"the deployment of {app}")
        served = Served(str(job["predictor_host"]), job["trial_ids"], job["weights"])
        wait_for(lambda: "left_out" not in _ask(served.address, self.bodies[0]), f"all members of {app}")
        return served

    # ---- what is measured first

    def rate_per_s(self, served: Served, seconds: float) -> float:
        """What a deployment answers when so many clients ask without a pause."""
        load = run_load(served.address, self.bodies, n_connections=N_CLIENTS, warm_up_s=seconds / 2, duration_s=seconds)
        return load.requests_per_s

    def scores(self) -> dict[int, float]:
        """The accuracy of each subset on the queries, from the members' own predictions with the weights in force."""
        chances = []
        for served in self.alone:
            found: list[list[float]] = []
            for begin in range(0, len(self.bodies), N_CLIENTS):
                asked = {"queries": self.queries.queries[begin : begin + N_CLIENTS]}
                found += _ask(served.address, json.dumps(asked).encode())["predictions"]
            chances.append(np.array(found))
        classes = np.array(self.queries.classes)

        def score(mask: int) -> float:
            total = sum(w * c for m, (w, c) in enumerate(zip(self.weights, chances, strict=True)) if mask >> m & 1)
            return float((np.asarray(total).argmax(1) == classes).mean())

        return {mask: score(mask) for mask in useful_subsets(len(chances))}

    def costs(self, n_repeats: int, load_per_s: float, load_s: float) -> Costs:
        """Processor time, so what waits costs nothing: of each member's worker by batch, while another member keeps the
        other core busy, as it is under load (cores share caches, and virtual ones more), and of the way of a query."""
        workers = [self._worker_of(served) for served in self.alone]
        members = []
        for m, served in enumerate(self.alone):
            with _kept_busy(self.alone[1 if m == 0 else 0].address, self._rows(MOST)):
                members.append(self._member(served, workers[m], n_repeats))
        return Costs(members, self._front_s(load_per_s, load_s))

    def _rows(self, n: int) -> bytes:
        return json.dumps({"queries": self.queries.queries[:n]}).encode()

    def _member(self, served: Served, worker: psutil.Process, n_repeats: int) -> Member:
        cost, largest = BatchCost(), []
        bodies = {size: self._rows(size) for size in _SIZES}
        for _ in range(n_repeats):
            for size, body in bodies.items():
                before = _processor_s(worker)
                _ask(served.address, body)
                cost.add(size, took_s := _processor_s(worker) - before)
                if size == MOST:
                    largest.append(np.log(took_s))
        return Member(cost.fixed_s, cost.each_s, spread=float(statistics.pstdev(largest)), most=MOST)

    def _front_s(self, per_s: float, seconds: float) -> float:
        front = [p for p in self._processes() if _kind(p) != "inference"]
        times_s = [i / per_s for i in range(int(per_s * seconds))]
        began_s, before = time.monotonic(), sum(map(_processor_s, front))
        threading.Event().wait(seconds)
        # What the stack does while nobody asks it.
        idle_share = (sum(map(_processor_s, front)) - before) / (time.monotonic() - began_s)
        began_s, before = time.monotonic(), sum(map(_processor_s, front))
        sent = send(OpenLoad(addresses=[self.everyone.address], bodies=self.bodies, times_s=times_s))
        used_s = sum(map(_processor_s, front)) - before - idle_share * (time.monotonic() - began_s)
        return (max(used_s, 0.0) + sent.cpu_s) / len(times_s)

    def _processes(self) -> list[psutil.Process]:
        return [*find_stack_processes(self._stack.root), self._stack.process("cache")]

    def _worker_of(self, served: Served) -> psutil.Process:
        """The one that works when the deployment is asked."""
        workers = [p for p in self._processes() if _kind(p) == "inference"]
        before = [_processor_s(p) for p in workers]
        for _ in range(10):
            _ask(served.address, self._rows(MOST))
        used = [_processor_s(p) - b for p, b in zip(workers, before, strict=True)]
        return workers[used.index(max(used))]

    # ---- loads

    def load(self, policy: str, times_s: list[float], budget_s: float, seed: int) -> dict[str, Any]:
        """What became of queries that come at ``times_s``; each seed begins with another one."""
        first = seed * _STRIDE % len(self.bodies)
        bodies = self.bodies[first:] + self.bodies[:first]
        classes = self.queries.classes[first:] + self.queries.classes[:first]
        served = {
            "planner": [self.planned], "all members": [self.everyone], "best single": self.alone[:1],
            "round robin": self.alone,
        }[policy]  # fmt: skip
        sent = send(OpenLoad(addresses=[s.address for s in served], bodies=bodies, times_s=times_s))
        n_members = len(served[0].trial_ids)
        return _summary(sent.answers, classes, n_members, budget_s) | {
            "generator_cpu_share": round(sent.cpu_s / times_s[-1], 4)
        }


def _ask(address: str, body: bytes) -> dict[str, Any]:
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", "/predict", body)
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


@contextmanager
def _kept_busy(address: str, body: bytes) -> Iterator[None]:
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            _ask(address, body)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _kind(process: psutil.Process) -> str:
    return "inference" if "rafiki.worker.inference" in process.cmdline() else "other"


def _processor_s(process: psutil.Process) -> float:
    """To the nanosecond, of all its threads; the system's counters of times are of hundredths."""
    folder = Path(f"/proc/{process.pid}/task")
    total_ns = 0
    for thread in os.listdir(folder):
        try:
            total_ns += int((folder / thread / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return total_ns / 1e9


def _summary(answers: Sequence[Answer], classes: Sequence[int], n_members: int, budget_s: float) -> dict[str, Any]:
    n = len(answers)
    n_right = total_members = 0
    took_s = []
    for no, answer in enumerate(answers):
        if answer.status != 200:
            continue
        told = msgspec.json.decode(answer.body)
        prediction = told["prediction"]
        n_right += max(range(len(prediction)), key=prediction.__getitem__) == classes[no % len(classes)]
        total_members += n_members - len(told.get("left_out", ()))
        took_s.append(answer.took_s)
    took_s.sort()
    lags_s = sorted(answer.sent_late_s for answer in answers)
    late = sum(a.status not in (200, 429) or (a.status == 200 and a.took_s > budget_s) for a in answers)
    n_answered = max(1, len(took_s))
    return {
        "n": n,
        "late_share": late / n,
        "refused_share": sum(a.status == 429 for a in answers) / n,
        "score": n_right / n_answered,
        "mean_members": total_members / n_answered,
        "p50_s": took_s[n_answered // 2] if took_s else 0.0,
        "p99_s": took_s[int(0.99 * n_answered)] if took_s else 0.0,
        "sent_late_p99_s": lags_s[int(0.99 * n)],
        "statuses": dict(Counter(str(a.status) for a in answers)),
        "at": time.strftime("%H:%M:%S"),
    }
