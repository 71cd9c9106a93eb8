"""What a predictor has in hand is answered when its deployment is stopped or replaced, and when the stack is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client

pytestmark = pytest.mark.acceptance

N_QUERIES = 3


class InHand:
    """Queries that a worker predicts, until the gate is opened."""

    def __init__(self, address: str, folder: Path, pool: ThreadPoolExecutor) -> None:
        folder.mkdir()
        self.address = address
        self.gate = folder / "gate"
        begun = [folder / f"begun{i}" for i in range(N_QUERIES)]
        self.answers: list[Future[httpx.Response]] = []
        for file in begun:
            query = {"query": {"begun": str(file), "gate": str(self.gate)}}
            self.answers.append(pool.submit(httpx.post, f"http://{address}/predict", json=query, timeout=60))
        # The worker is at the first; the others wait in its queue.
        eventually(lambda: any(file.exists() for file in begun), "a prediction that has begun")

    def takes_no_more(self) -> bool:
        try:
            httpx.get(f"http://{self.address}/", timeout=5)
        except httpx.ConnectError:
            return True
        return False

    def check_all_are_answered_after(self, end: Callable[[], Any], pool: ThreadPoolExecutor) -> None:
        ending = pool.submit(end)
        eventually(self.takes_no_more, "a predictor that takes no more queries")
        self.gate.touch()
        for answer in self.answers:
            response = answer.result(60)
            assert (response.status_code, response.json()["prediction"]) == (200, {"ok": 1}), response.text
        ending.result(60)


def deploy(client: Client) -> str:
    address: str = client.create_inference_job("app", deployment={"latency_budget_ms": 40_000})["predictor_host"]
    eventually(lambda: not httpx.get(f"http://{address}/").json()["absent"], "a member that serves")
    return address


def test_what_is_in_hand_is_answered_when_a_deployment_or_the_stack_ends(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "stack", {})
    stack.up()
    try:
        client = stack.client()
        data = tmp_path / "data.bin"
        data.write_bytes(b"anything")
        dataset = client.create_dataset("data", "CUSTOM", str(data))["id"]
        model = client.create_model("gated", "CUSTOM", str(MODELS / "gated.py"), "Gated")["id"]
        client.create_train_job("app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 1}, [model])
        eventually(lambda: client.get_train_job("app")["status"] == "STOPPED", "the end of the job")
        with ThreadPoolExecutor(8) as pool:
            stopped = InHand(deploy(client), tmp_path / "stop", pool)
            stopped.check_all_are_answered_after(lambda: client.stop_inference_job("app"), pool)
            replaced = InHand(deploy(client), tmp_path / "replace", pool)
            replaced.check_all_are_answered_after(lambda: client.create_inference_job("app", replace=True), pool)
            client.stop_inference_job("app")
            put_down = InHand(deploy(client), tmp_path / "down", pool)
            put_down.check_all_are_answered_after(stack.down, pool)
    finally:
        stack.down()
    assert stack.processes() == [], "a process was left behind"
