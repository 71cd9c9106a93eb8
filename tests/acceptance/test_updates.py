"""An app under steady clients goes over to other versions and back: no request fails for it, and its address stays."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client
from rafiki.errors import RafikiError

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

N_CLIENTS = 4


class Clients:
    """They ask one after another, and note what comes."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/predict"
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.answers = Counter[str]()
        """By the version that answered, since the last :meth:`forget`."""
        self.failures: list[str] = []
        """All, from the beginning on."""
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(N_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._stop.is_set():
                try:
                    response = client.post(self._url, json={"query": 1})
                except httpx.HTTPError as e:
                    self._note(f"{type(e).__name__}: {e}", None)
                    self._stop.wait(0.05)
                    continue
                problem = None if response.status_code == 200 else f"{response.status_code} {response.text}"
                self._note(problem, response.headers.get("x-rafiki-version"))

    def _note(self, problem: str | None, version: str | None) -> None:
        with self._lock:
            if problem is not None:
                self.failures.append(problem)
            elif version is not None:
                self.answers[version] += 1

    def forget(self) -> None:
        with self._lock:
            self.answers.clear()

    def wait_for(self, *versions: int) -> None:
        """Until these versions answer, and no others."""

        def do_these() -> bool:
            self.forget()
            eventually(lambda: sum(self.answers.values()) >= 20 * N_CLIENTS, "answers")
            return set(self.answers) == {str(v) for v in versions}

        eventually(do_these, f"answers of the versions {versions}")

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def train(client: Client, folder: Path, n_versions: int) -> None:
    data = folder / "data.bin"
    data.write_bytes(b"anything")
    dataset = client.create_dataset("data", "CUSTOM", str(data))["id"]
    model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    for version in range(1, n_versions + 1):
        client.create_train_job("app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 1}, [model])
        eventually(lambda v=version: client.get_train_job("app", v)["status"] == "STOPPED", "the end of the job")


def damage_params(stack: RunningStack, trial_id: str) -> None:
    with contextlib.closing(sqlite3.connect(stack.root / "meta.db")) as db:
        [params_id] = db.execute("SELECT params_id FROM trials WHERE id = ?", [trial_id]).fetchone()
    (stack.root / "params" / f"{params_id}.safetensors").unlink()


def status_of(client: Client) -> str:
    return str(client.get_rollouts("app")[0]["status"])


def test_updates_canaries_promotions_and_rollbacks_cost_no_request(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "stack", {})
    stack.up()
    try:
        client = stack.client()
        train(client, tmp_path, 3)
        address = client.create_inference_job("app", 1)["predictor_host"]
        eventually(lambda: not httpx.get(f"http://{address}/").json()["absent"], "a member that serves")
        clients = Clients(address)
        check = clients.wait_for
        check(1)
        updated = client.update_inference_job("app", 2)
        assert (updated["status"], updated["reason"], updated["predictor_host"]) == ("PROMOTED", None, address)
        check(2)
        eventually(lambda: len(stack.processes("inference")) == 1, "the end of the version before")
        jobs = client.get_inference_jobs_of_app("app")
        assert [(j["app_version"], j["status"], j["role"]) for j in jobs] == [
            (2, "RUNNING", "PRIMARY"), (1, "STOPPED", "LEAVING"),
        ]  # fmt: skip
        assert client.get_running_inference_job("app", 2)["predictor_host"] == address

        canary = client.update_inference_job("app", 1, kind="canary", share=0.5, rollback={"errors": 0.5})
        assert (canary["status"], canary["from_version"], canary["to_version"]) == ("RUNNING", 2, 1)
        check(1, 2)
        eventually(lambda: client.get_rollouts("app")[0]["comparison"]["after"]["requests"], "figures of the canary")
        assert client.rollback_inference_job("app")["status"] == "ROLLED_BACK"
        check(2)
        client.update_inference_job("app", 1, kind="canary", share=0.5)
        check(1, 2)
        assert client.promote_inference_job("app")["status"] == "PROMOTED"
        check(1)
        back = client.rollback_inference_job("app")
        assert (back["status"], back["is_rollback"], back["to_version"]) == ("PROMOTED", True, 2)
        check(2)
        shadow = client.update_inference_job("app", 1, kind="shadow")
        assert shadow["status"] == "RUNNING"
        compared = eventually(
            lambda: (c := client.get_rollouts("app")[0]["comparison"]) and c["compared"] and c, "compared answers"
        )
        assert compared["agreed"] == 0  # they name other processes
        check(2)
        client.rollback_inference_job("app")

        damage_params(stack, client.get_trials_of_train_job("app", 3)[0]["id"])
        client.update_inference_job("app", 3)
        eventually(lambda: status_of(client) == "ERRORED", "the end of the update")
        [failed, *_] = client.get_rollouts("app")
        assert "parameters" in failed["reason"]
        assert client.get_running_inference_job("app", 2)["update"]["reason"] == failed["reason"]
        check(2)
        assert clients.failures == []

        # An admin that dies in the middle of an update: the next one ends it.
        def begin() -> None:
            with contextlib.suppress(RafikiError):
                client.update_inference_job("app", 1)

        beginning = threading.Thread(target=begin)
        beginning.start()
        eventually(lambda: Counter(p.pid for p in stack.processes("inference")).total() == 2, "the new worker")
        stack.kill_admin()
        stack.up()
        beginning.join(60)
        client = stack.client()
        eventually(lambda: status_of(client) == "PROMOTED", "the end of the update")
        check(1)
        assert clients.failures == []

        # A predictor that is killed is back at its address, with the versions that it had.
        client.update_inference_job("app", 2, kind="canary", share=0.5)
        check(1, 2)
        assert clients.failures == []
        stack.kill_one("predict")
        clients.wait_for(1, 2)
        clients.stop()
        assert client.get_running_inference_job("app", 1)["predictor_host"] == address
        client.stop_inference_job("app", 1)
        eventually(lambda: stack.processes("inference") == stack.processes("predict") == [], "the end of both")
        assert status_of(client) == "ERRORED"
    except BaseException:
        print(stack.logs())
        raise
    finally:
        stack.down()
    assert stack.processes() == [], "a process was left behind"


def test_a_worse_canary_is_taken_back_with_the_reason(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "stack", {})
    stack.up()
    try:
        client = stack.client()
        data = tmp_path / "data.bin"
        data.write_bytes(b"anything")
        dataset = client.create_dataset("data", "CUSTOM", str(data))["id"]
        for version, source in enumerate(["", "raise ValueError('worse')"], 1):
            file = tmp_path / f"model{version}.py"
            file.write_text(
                (MODELS / "tiny.py").read_text().replace("        return [{", f"        {source}\n        return [{{")
            )
            model: Any = client.create_model(f"tiny{version}", "CUSTOM", str(file), "Tiny")["id"]
            client.create_train_job("app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 1}, [model])
            eventually(lambda v=version: client.get_train_job("app", v)["status"] == "STOPPED", "the end of the job")
        address = client.create_inference_job("app", 1)["predictor_host"]
        eventually(lambda: not httpx.get(f"http://{address}/").json()["absent"], "a member that serves")
        clients = Clients(address)
        clients.wait_for(1)
        canary = client.update_inference_job(
            "app", 2, kind="canary", share=0.2, rollback={"errors": 0.01, "min_requests": 20}
        )
        assert canary["status"] in ("RUNNING", "ROLLED_BACK")
        eventually(lambda: status_of(client) == "ROLLED_BACK", "the end of the canary")
        clients.stop()
        [ended] = client.get_rollouts("app")
        assert "rollback.errors" in ended["reason"]
        assert ended["comparison"]["after"]["errors"] >= 20
        # What failed was answered by the version before.
        assert clients.failures == []
    except BaseException:
        print(stack.logs())
        raise
    finally:
        stack.down()
