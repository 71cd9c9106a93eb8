"""A real deployment whose load decides how many workers it has."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

N_CLIENTS = 6


class Clients:
    """Clients that send one query after the other, until they are told to stop."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/predict"
        self._stopped = threading.Event()
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(N_CLIENTS)
        self._ends = [self._pool.submit(self._ask, i) for i in range(N_CLIENTS)]

    def _ask(self, no: int) -> None:
        with httpx.Client(timeout=60) as http:
            sent = 0
            while not self._stopped.is_set():
                sent += 1
                query = f"{no}:{sent}"
                response = http.post(self._url, json={"query": query})
                is_right = response.status_code == 200 and response.json()["prediction"] == {"echo": query}
                with self._lock:
                    self.answers["right" if is_right else f"{response.status_code} {response.text}"] += 1

    def stop(self) -> Counter[str]:
        """What their answers were."""
        self._stopped.set()
        for end in self._ends:
            end.result(60)
        self._pool.shutdown()
        return self.answers


def wanted(client: Client) -> int:
    (member,) = client.get_running_inference_job("app")["scaling"]["members"]
    return int(member["wanted"])


def changes(client: Client) -> list[tuple[int, int, str]]:
    scaling: dict[str, Any] = client.get_running_inference_job("app")["scaling"]
    return [(c["before"], c["after"], c["reason"]) for c in scaling["changes"]]


def test_a_load_brings_a_worker_which_goes_in_order_and_without_one_all_sleep_until_they_are_asked(
    tmp_path: Path,
) -> None:
    stack = RunningStack(tmp_path / "stack", {})
    stack.up()
    try:
        client = stack.client()
        data = tmp_path / "data.bin"
        data.write_bytes(b"anything")
        dataset = client.create_dataset("data", "CUSTOM", str(data))["id"]
        model = client.create_model("slow", "CUSTOM", str(MODELS / "slow.py"), "Slow")["id"]
        client.create_train_job("app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 1}, [model])
        eventually(lambda: client.get_train_job("app")["status"] == "STOPPED", "the end of the job")
        replicas = {"min": 1, "max": 2, "idle_s": 3}
        created = client.create_inference_job("app", deployment={"latency_budget_ms": 20_000, "replicas": replicas})
        address = created["predictor_host"]

        clients = Clients(address)
        eventually(lambda: len(stack.processes("inference")) == 2, "a second worker")
        eventually(lambda: wanted(client) == 2, "a number that is told")
        count = clients.answers["right"]
        eventually(lambda: clients.answers["right"] > count + 100, "more answers")
        assert client.scale_inference_job("app", min=0, max=1)["replicas"] == {"min": 0, "max": 1, "idle_s": 3}
        eventually(lambda: len(stack.processes("inference")) == 1, "the end of the second worker")
        assert clients.stop().keys() == {"right"}

        eventually(lambda: not stack.processes("inference"), "the end of the last worker")
        asleep = client.get_running_inference_job("app")
        assert (asleep["status"], asleep["scaling"]["is_asleep"], asleep["error"]) == ("RUNNING", True, None)
        assert len(stack.processes("predict")) == 1
        late = httpx.post(f"http://{address}/predict", json={"query": 1, "timeout_ms": 20}, timeout=60)
        assert (late.status_code, late.json()["error"]) == (503, "NoPredictionError"), late.text
        assert int(late.headers["retry-after"]) >= 1 and "being started" in late.json()["message"]
        woken = httpx.post(f"http://{address}/predict", json={"query": 2}, timeout=60)
        assert (woken.status_code, woken.json()["prediction"]) == (200, {"echo": 2}), woken.text

        told = changes(client)
        # A slow machine may let it sleep once more.
        assert [(before, after) for before, after, _ in told[:4]] == [(1, 2), (2, 1), (1, 0), (0, 1)]
        reasons = [reason for _, _, reason in told]
        assert reasons[1:4] == ["set to 0 to 1, none when idle for 3 s", "nobody asked for 3 s", "a query came"]
        assert "replicas of slow#1: 0 -> 1: a query came" in stack.log.read_text()
        assert client.get_running_inference_job("app")["scaling"]["members"][0]["start_s"] > 0
    finally:
        stack.down()
