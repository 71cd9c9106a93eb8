"""A disk that fills up under a stack at work: what is refused, what waits, what goes on, and that all recovers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.machines.small_disk import NoSmallDiskError, SmallDisk
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client
from rafiki.errors import RafikiError, StoreFullError
from rafiki.utils.ids import new_id

pytestmark = [pytest.mark.acceptance, pytest.mark.long]


def make_disk(folder: Path) -> SmallDisk:
    try:
        return SmallDisk(folder, 64)
    except NoSmallDiskError as e:
        pytest.fail(str(e)) if os.environ.get("CI") == "true" else pytest.skip(str(e))


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[str, SmallDisk]]:
    made: dict[str, SmallDisk] = {}
    for name, folder in (("root", ".rafiki"), ("params", "params"), ("datasets", "datasets")):
        made[name] = make_disk(tmp_path / folder)
    yield made
    for disk in made.values():
        disk.unmount()


def start(tmp_path: Path, min_free_mb: int) -> RunningStack:
    stores = {f"{name}_folder": str(tmp_path / name) for name in ("params", "datasets")}
    settings = {"stores": stores, "stack": {"min_free_mb": min_free_mb}}
    stack = RunningStack(tmp_path, settings)
    stack.up()
    return stack


def start_job(client: Client, folder: Path, app: str, n_trials: int, **train_args: Any) -> None:
    if not client.get_available_models("CUSTOM"):
        (folder / "data.bin").write_bytes(b"data" * 100)
        client.create_dataset("data", "CUSTOM", str(folder / "data.bin"))
        client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")
    dataset, [model] = client.get_datasets()[0], client.get_available_models("CUSTOM")
    budget = {"MODEL_TRIAL_COUNT": n_trials, "CPU_WORKER_COUNT": 2}
    client.create_train_job(app, "CUSTOM", dataset["id"], dataset["id"], budget, [model["id"]], train_args=train_args)


def finished(client: Client, app: str) -> int:
    return sum(t["status"] == "COMPLETED" for t in client.get_trials_of_train_job(app))


def health(stack: RunningStack) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{stack.port}/", timeout=30).json()
    return found


@pytest.mark.parametrize("which", ["root", "params"])
def test_below_the_limit_no_trial_starts_and_nothing_is_taken_but_serving_goes_on(
    tmp_path: Path, disks: dict[str, SmallDisk], which: str
) -> None:
    stack = start(tmp_path, 16)
    try:
        client = stack.client()
        start_job(client, tmp_path, "served", 1)
        eventually(lambda: client.get_train_job("served")["status"] == "STOPPED", "a first job", 120)
        address = client.create_inference_job("served")["predictor_host"]
        gate = tmp_path / "gate"
        start_job(client, tmp_path, "app", 40, gate=str(gate), n_free=4)
        eventually(lambda: finished(client, "app") == 4, "trials that wait at the gate", 120)
        disks[which].fill(leave_bytes=8 << 20)
        shortage = eventually(lambda: health(stack)["notices"], "a notice")
        assert "stack.min_free_mb asks for 16" in shortage[0] and health(stack)["status"] == "ok"
        eventually(lambda: "stack.min_free_mb" in advisor_logs(stack), "a word of the advisor")
        # Those that run end; none begins.
        gate.touch()
        eventually(lambda: not [t for t in client.get_trials_of_train_job("app") if t["status"] == "RUNNING"], "an end")
        n_trials = len(client.get_trials_of_train_job("app"))
        assert n_trials < 10
        [model] = client.get_train_job("app")["models"]
        assert "stack.min_free_mb" in model["waits_for"]
        with pytest.raises(StoreFullError, match="min_free_mb"):
            client.create_dataset("more", "CUSTOM", str(tmp_path / "data.bin"))
        with pytest.raises(StoreFullError, match="min_free_mb"):
            client.create_model("more", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")
        answer = httpx.post(f"http://{address}/predict", json={"query": [1, 2]}, timeout=30)
        assert answer.json()["prediction"] is not None
        assert len(client.get_trials_of_train_job("app")) == n_trials
        disks[which].free()
        eventually(lambda: client.get_train_job("app")["status"] == "STOPPED", "the end of the job", 120)
        assert finished(client, "app") == 40
        assert health(stack)["notices"] == []
        client.create_dataset("more", "CUSTOM", str(tmp_path / "data.bin"))
    finally:
        disks[which].free()
        stack.down()


def test_disks_that_are_full_to_the_last_byte_cost_what_they_must_and_all_goes_on_afterwards(
    tmp_path: Path, disks: dict[str, SmallDisk]
) -> None:
    """The database, the logs and the cache's files; the parameters; the datasets: one after another, and then all."""
    stack = start(tmp_path, 0)
    try:
        client = stack.client()
        start_job(client, tmp_path, "first", 3)
        eventually(lambda: client.get_train_job("first")["status"] == "STOPPED", "a first job", 120)
        for round_no, full in enumerate((["root"], ["params"], ["datasets"], list(disks))):
            fill_and_free(stack, client, f"app-{round_no}", [disks[name] for name in full])
            client.create_dataset(f"d{round_no}", "CUSTOM", str(tmp_path / "data.bin"))
        assert [t["status"] for t in client.get_trials_of_train_job("app-3") if t["status"] == "RUNNING"] == []
    finally:
        for disk in disks.values():
            disk.free()
        stack.down()
    assert stack.processes() == []


def advisor_logs(stack: RunningStack) -> str:
    return "".join(file.read_text() for file in stack.log.parent.glob("advisor-*.log"))


def fill_and_free(stack: RunningStack, client: Client, app: str, full: list[SmallDisk]) -> None:
    """Under a job: it goes on by itself when there is space again."""
    start_job(client, stack.folder, app, 100_000)
    eventually(lambda: finished(client, app) >= 3, "trials", 120)
    waited = count_waits(stack)
    for disk in full:
        disk.fill()
    # Long enough for every loop to run into it.
    eventually(lambda: "No space is left" in trouble(stack, client, app) or count_waits(stack) > waited, "trouble", 60)
    for disk in full:
        disk.free()
    eventually(lambda: health(stack)["status"] == "ok", "a healthy stack", 120)
    n_finished = finished(client, app)
    eventually(lambda: finished(client, app) > n_finished + 3, "trials that finish again", 120)
    client.stop_train_job(app)


def count_waits(stack: RunningStack) -> int:
    """How often workers have waited for space for what they had trained."""
    return sum(file.read_text().count("wait for it") for file in stack.log.parent.glob("train-*.log"))


def trouble(stack: RunningStack, client: Client, app: str) -> str:
    """Everything that says what is wrong."""
    told = [health(stack)["status"]]
    try:
        told += [t["error"] or "" for t in client.get_trials_of_train_job(app)]
        client.create_dataset(new_id(), "CUSTOM", str(stack.folder / "data.bin"))
    except RafikiError as e:
        told.append(e.message)
    return " ".join(told)
