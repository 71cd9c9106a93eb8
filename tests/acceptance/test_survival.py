"""The main job goes on whatever dies: `kill -9` of each process in the middle of a 12-trial job with two workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client

pytestmark = pytest.mark.acceptance

N_TRIALS = 12


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def own_stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningStack]:
    settings: dict[str, Any] = {}
    if request.param == "postgres":
        settings["meta_store"] = {"url": request.getfixturevalue("postgres_url")}
    running = RunningStack(tmp_path, settings)
    running.up()
    yield running
    running.down()
    assert running.processes() == [], "a process was left behind"


def start_job(client: Client, tmp_path: Path, n_free: int = N_TRIALS, **budget: int) -> str:
    """Starts the job; all trials but the first ``n_free`` wait for :func:`open_gate`."""
    file = tmp_path / "data.bin"
    file.write_bytes(b"anything")
    dataset = client.create_dataset("data", "CUSTOM", str(file))["id"]
    model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    client.create_train_job(
        "app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": N_TRIALS, "CPU_WORKER_COUNT": 2, **budget}, [model],
        train_args={"gate": str(tmp_path / "gate"), "n_free": n_free},
    )  # fmt: skip
    return str(dataset)


def open_gate(tmp_path: Path) -> None:
    (tmp_path / "gate").touch()


def completed(client: Client) -> int:
    return sum(t["status"] == "COMPLETED" for t in client.get_trials_of_train_job("app"))


def wait_for_end(client: Client) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        job = client.get_train_job("app")
        return job if job["status"] in ("STOPPED", "ERRORED") else None

    found: dict[str, Any] = eventually(ended, "the end of the job", 120)
    return found


@pytest.mark.parametrize("victim", ["advisor", "train", "admin", "cache"])
def test_a_job_ends_with_all_its_trials_when_one_process_is_killed(
    own_stack: RunningStack, tmp_path: Path, victim: str
) -> None:
    client = own_stack.client()
    start_job(client, tmp_path, n_free=3)
    eventually(lambda: completed(client) == 3, "three completed trials")
    before = {t["id"]: t for t in client.get_trials_of_train_job("app") if t["status"] == "COMPLETED"}

    if victim == "admin":
        own_stack.kill_admin()
        open_gate(tmp_path)
        own_stack.up()
        client = own_stack.client()
    elif victim == "cache":
        own_stack.kill_cache()
    else:
        own_stack.kill_one(victim)
    open_gate(tmp_path)

    job = wait_for_end(client)
    trials = client.get_trials_of_train_job("app")
    assert job["status"] == "STOPPED", f"{job}\n{own_stack.logs()}"
    assert [t["no"] for t in trials] == list(range(1, N_TRIALS + 1))
    assert {t["status"] for t in trials} == {"COMPLETED"}, trials
    # What was finished before stands as it was: neither lost nor run again.
    after = {t["id"]: t for t in trials}
    assert {i: after[i] for i in before} == before
    # A trial is run twice only when the worker in the middle of it was lost.
    assert sum(t["attempt"] - 1 for t in trials) <= (1 if victim == "train" else 0)
    assert all(t["is_params_saved"] for t in trials)

    deployed = client.create_inference_job("app")
    best = client.get_best_trials_of_train_job("app", max_count=1)[0]
    answer = httpx.post(f"http://{deployed['predictor_host']}/predict", json={"query": "q"}, timeout=30).json()
    assert answer["prediction"]["x"] == best["proposal"]["knobs"]["x"]


def test_a_job_goes_on_where_it_was_after_the_stack_was_down(own_stack: RunningStack, tmp_path: Path) -> None:
    client = own_stack.client()
    start_job(client, tmp_path, n_free=2)
    eventually(lambda: completed(client) == 2, "two completed trials")
    before = {t["id"] for t in client.get_trials_of_train_job("app") if t["status"] == "COMPLETED"}
    own_stack.down()
    assert own_stack.processes() == []
    open_gate(tmp_path)
    own_stack.up()
    client = own_stack.client()
    assert wait_for_end(client)["status"] == "STOPPED"
    trials = client.get_trials_of_train_job("app")
    assert [(t["no"], t["status"]) for t in trials] == [(i, "COMPLETED") for i in range(1, N_TRIALS + 1)]
    assert all(t["attempt"] == 1 for t in trials if t["id"] in before)
    # What ran when the stack went down was given out again, and by the admin's word: long before a heartbeat's.
    assert "no heartbeat" not in own_stack.logs()


def test_a_killed_inference_worker_is_replaced_under_load_and_no_request_hangs(
    own_stack: RunningStack, tmp_path: Path
) -> None:
    client = own_stack.client()
    start_job(client, tmp_path)
    wait_for_end(client)
    url = f"http://{client.create_inference_job('app')['predictor_host']}/predict"
    deadline_s = 10.0
    with httpx.Client(timeout=deadline_s + 20) as http:
        pid = http.post(url, json={"query": 0}).json()["prediction"]["pid"]
        assert own_stack.kill_one("inference") == pid
        answers = [http.post(url, json={"query": i}) for i in range(50)]
    assert {a.status_code for a in answers} <= {200, 503}
    assert all(a.elapsed.total_seconds() < deadline_s + 10 for a in answers)
    assert answers[-1].status_code == 200
    assert answers[-1].json()["prediction"]["pid"] != pid
