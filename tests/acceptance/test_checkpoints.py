"""A trial of many steps goes on from its last checkpoint, whatever was killed in its middle."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from models.steps import N_STEPS
from support.data.plugin_packages import install_elsewhere
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client
from rafiki.entities import TrialCheckpoint

pytestmark = [pytest.mark.acceptance, pytest.mark.long]
REPO = Path(__file__).parents[2]
WAITS_AT = 20


@pytest.fixture(params=["process", "elsewhere"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningStack]:
    """One whose workers share the admin's disk, and one whose workers reach it over HTTP."""
    settings: dict[str, Any] = {"train": {"checkpoint_s": 0.01}}
    variables = {}
    if request.param == "elsewhere":
        install_elsewhere(tmp_path / "packages")
        settings["container"] = {"backend": "elsewhere"}
        variables["PYTHONPATH"] = os.pathsep.join([str(REPO), str(tmp_path / "packages")])
    running = RunningStack(tmp_path / "stack", settings, variables)
    running.up()
    yield running
    running.down()
    assert running.processes() == [], "a process was left behind"


def start_job(client: Client, folder: Path) -> None:
    (folder / "data.bin").write_bytes(b"anything")
    dataset = client.create_dataset("data", "CUSTOM", str(folder / "data.bin"))["id"]
    model = client.create_model("steps", "CUSTOM", str(MODELS / "steps.py"), "Steps")["id"]
    client.create_train_job(
        "app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 1, "CPU_WORKER_COUNT": 1}, [model],
        train_args={"notes": str(folder / "notes"), "gate": str(folder / "gate"), "waits_at": WAITS_AT},
    )  # fmt: skip


def find_checkpoint(stack: RunningStack) -> TrialCheckpoint | None:
    with sqlite3.connect(f"file:{stack.root / 'meta.db'}?mode=ro", uri=True) as database:
        row = database.execute("SELECT checkpoint FROM trials").fetchone()
    return msgspec.json.decode(row[0], type=TrialCheckpoint) if row and row[0] else None


def has_saved_the_step(stack: RunningStack) -> bool:
    found = find_checkpoint(stack)
    return found is not None and found.step == WAITS_AT


@pytest.mark.parametrize("others", [(), ("advisor",), ("admin",)])
def test_a_trial_goes_on_from_its_last_checkpoint(stack: RunningStack, tmp_path: Path, others: tuple[str, ...]) -> None:
    client = stack.client()
    start_job(client, tmp_path)
    eventually(lambda: has_saved_the_step(stack), "a checkpoint at the step at which the trial waits")

    if "advisor" in others:
        stack.kill_one("advisor")
    if "admin" in others:
        stack.kill_admin()
    stack.kill_one("train")
    if "admin" in others:
        stack.up()
        client = stack.client()
    (tmp_path / "gate").touch()

    def ended() -> bool:
        return client.get_train_job("app")["status"] in ("STOPPED", "ERRORED")

    eventually(ended, "the end of the job", 120)
    (trial,) = client.get_trials_of_train_job("app")
    assert (trial["status"], trial["attempt"]) == ("COMPLETED", 2), stack.logs()
    assert trial["score"] == sum(range(N_STEPS + 1)) / 1000
    # Every step was done once, by two processes.
    notes = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    assert Counter(int(step) for _, step in notes) == Counter(range(1, N_STEPS + 1))
    assert len({pid for pid, _ in notes}) == 2
    # Nothing but the trial's own parameters is left.
    assert find_checkpoint(stack) is None
    stored = list((stack.root / "params").glob("*.safetensors"))
    assert len(stored) == 1, stored
    logs = client.get_trial_logs(trial["id"])
    assert any(f"at step {WAITS_AT}" in m["message"] for m in logs["messages"])
