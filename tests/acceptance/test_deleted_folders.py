"""Folders of a running stack that somebody deletes: made again, and the work that was lost is done again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machines.bubblewrap import needs_bubblewrap
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client

pytestmark = [pytest.mark.acceptance, pytest.mark.long]


@pytest.fixture
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RunningStack]:
    gates = tmp_path / "gates"
    gates.mkdir()
    container = {"sandbox": getattr(request, "param", "none"), "readable": [str(gates)]}
    running = RunningStack(tmp_path, {"container": container, "train": {"keep_params": None}})
    running.up()
    yield running
    running.down()
    assert running.processes() == [], "a process was left behind"


def finished(client: Client) -> int:
    return sum(t["status"] == "COMPLETED" for t in client.get_trials_of_train_job("app"))


def test_a_job_goes_on_when_its_parameters_run_files_and_logs_are_deleted(stack: RunningStack, tmp_path: Path) -> None:
    client = stack.client()
    (tmp_path / "data.bin").write_bytes(b"data" * 100)
    dataset = client.create_dataset("data", "CUSTOM", str(tmp_path / "data.bin"))["id"]
    model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    gate = tmp_path / "gate"
    client.create_train_job(
        "app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 20, "CPU_WORKER_COUNT": 2}, [model],
        train_args={"gate": str(gate), "n_free": 5},
    )  # fmt: skip
    eventually(lambda: finished(client) == 5, "trials", 120)
    for name in ("params", "run", "logs"):
        shutil.rmtree(stack.root / name)
    gate.touch()
    # The first blow after it: a worker that has to be started where its spec and its log were.
    stack.kill_one("train")
    eventually(lambda: client.get_train_job("app")["status"] in ("STOPPED", "ERRORED"), "the end of the job", 120)
    trials = client.get_trials_of_train_job("app")
    assert [t["status"] for t in trials] == ["COMPLETED"] * 20, stack.logs()
    assert client.get_health()["status"] == "ok"
    # People and the next `rafiki up` find the admin again.
    eventually(lambda: (stack.root / "run" / "admin.json").exists(), "the admin's file")
    # What is gone is named.
    best = max(trials[5:], key=lambda t: t["score"])
    assert client.get_trial_parameters(best["id"])
    client.create_dataset("more", "CUSTOM", str(tmp_path / "data.bin"))


@needs_bubblewrap
@pytest.mark.parametrize("stack", ["bubblewrap"], indirect=True)
def test_workers_in_boxes_that_lose_their_way_to_the_stack_are_replaced_and_the_job_ends_well(
    stack: RunningStack, tmp_path: Path
) -> None:
    client = stack.client()
    (tmp_path / "data.bin").write_bytes(b"data" * 100)
    dataset = client.create_dataset("data", "CUSTOM", str(tmp_path / "data.bin"))["id"]
    model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    gate = tmp_path / "gates" / "open"
    client.create_train_job(
        "app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 4, "CPU_WORKER_COUNT": 2}, [model],
        train_args={"gate": str(gate)},
    )  # fmt: skip

    def attempts() -> list[int]:
        running = [t for t in client.get_trials_of_train_job("app") if t["status"] == "RUNNING"]
        return [t["attempt"] for t in running]

    eventually(lambda: attempts() == [1, 1], "trials", 120)
    shutil.rmtree(stack.root / "run")
    eventually(lambda: attempts() == [2, 2], "other workers in their place", 120)
    gate.touch()
    eventually(lambda: client.get_train_job("app")["status"] in ("STOPPED", "ERRORED"), "the end of the job", 120)
    assert [t["status"] for t in client.get_trials_of_train_job("app")] == ["COMPLETED"] * 4, stack.logs()
    assert "cut off from the stack, as the folder run/doors was deleted" in stack.log.read_text()
