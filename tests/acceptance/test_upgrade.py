"""A stack is upgraded while a job trains and an app is served; and is kept from a version that its database is too new
for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.stacks.other_version import REPO, copy_packages
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki import __version__
from rafiki.client import Client
from rafiki.constants import ExitCode
from rafiki.utils.process import find_stack_processes

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

OLD, LATER = "0.0.1", "99.0"


def rafiki(stack: RunningStack, packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the version in ``packages``, without a terminal."""
    environment = {**stack.environment, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-P", "-m", "rafiki_cli", *arguments]
    return subprocess.run(
        command, cwd=stack.folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )  # fmt: skip


@pytest.fixture
def old_stack(tmp_path: Path) -> Iterator[RunningStack]:
    """A stack of an earlier version, started as `rafiki up` of that version does."""
    packages = copy_packages(tmp_path / "old", OLD)
    running = RunningStack(tmp_path / "stack", variables={"PYTHONPATH": str(packages)})
    started = rafiki(running, packages, "up")
    assert started.returncode == 0, started.stderr
    yield running
    rafiki(running, REPO, "down")
    assert find_stack_processes(running.root) == [], "a process was left behind"


def start(client: Client, stack: RunningStack, app: str, n_trials: int, **train_args: Any) -> None:
    file = stack.folder / "data.bin"
    file.write_bytes(b"anything")
    dataset = client.create_dataset(app, "CUSTOM", str(file))["id"]
    model = client.create_model(f"tiny-{app}", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    budget = {"MODEL_TRIAL_COUNT": n_trials, "CPU_WORKER_COUNT": 2}
    client.create_train_job(app, "CUSTOM", dataset, dataset, budget, [model], train_args=train_args)


def trials_of(client: Client, app: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get_trials_of_train_job(app)
    return found


def has_ended(client: Client, app: str) -> bool:
    return client.get_train_job(app)["status"] in ("STOPPED", "ERRORED")


def test_an_upgrade_under_a_running_job_and_a_served_app_loses_nothing(old_stack: RunningStack) -> None:
    client = old_stack.client()
    start(client, old_stack, "served", 2)
    eventually(lambda: has_ended(client, "served"), "the end of the first job")
    predictor = f"http://{client.create_inference_job('served')['predictor_host']}/predict"
    answering = httpx.post(predictor, json={"query": "q"}, timeout=30).json()["prediction"]["pid"]
    gate = old_stack.folder / "gate"
    start(client, old_stack, "training", 8, gate=str(gate), n_free=2)
    eventually(
        lambda: [t["status"] for t in trials_of(client, "training")] == ["COMPLETED"] * 2 + ["RUNNING"] * 2,
        "two trials that run",
    )
    old_workers = {t["worker_id"] for t in trials_of(client, "training")}

    told = rafiki(old_stack, REPO, "up")
    assert told.returncode == 0
    assert f"version {OLD}" in told.stderr
    assert "rafiki up --restart" in told.stderr
    assert client.get_health()["version"] == OLD

    done = rafiki(old_stack, REPO, "up", "--restart")
    assert done.returncode == 0, f"{done.stderr}\n{old_stack.logs()}"
    health = client.get_health()
    assert (health["version"], health["status"]) == (__version__, "ok")
    assert json.loads(rafiki(old_stack, REPO, "version", "-o", "json").stdout)["admin"]["version"] == __version__

    # The trials that ran still do, in the processes that they began in.
    client = old_stack.client()
    running = trials_of(client, "training")[2:]
    assert [t["status"] for t in running] == ["RUNNING"] * 2
    assert {t["worker_id"] for t in running} == old_workers
    eventually(lambda: old_stack.log.read_text().count("ends after its trial") == 2, "two workers that are to end")
    gate.touch()
    eventually(lambda: has_ended(client, "training"), f"the end of the job\n{old_stack.logs()}", 120)
    trials = trials_of(client, "training")
    assert [(t["no"], t["status"], t["attempt"]) for t in trials] == [(i, "COMPLETED", 1) for i in range(1, 9)]
    # Whoever trained under the old version ended after that trial, and workers of this one did the rest.
    assert {t["worker_id"] for t in trials[2:4]} == old_workers
    assert not old_workers & {t["worker_id"] for t in trials[4:]}
    assert httpx.post(predictor, json={"query": "q"}, timeout=30).json()["prediction"]["pid"] == answering


def test_an_older_version_is_kept_from_a_database_that_a_newer_one_has_migrated(
    old_stack: RunningStack, tmp_path: Path
) -> None:
    later = copy_packages(tmp_path / "later", LATER, adds_migration=True)
    told = rafiki(old_stack, later, "up")
    assert "database is migrated" in told.stderr
    assert rafiki(old_stack, later, "up", "--restart").returncode == 0
    client = old_stack.client()
    assert client.get_health()["version"] == LATER

    back = rafiki(old_stack, REPO, "up", "--restart")
    assert back.returncode == ExitCode.FAILURE
    assert f"Rafiki {LATER} used it last" in back.stderr
    assert "was left alone" in back.stderr
    assert client.get_health()["status"] == "ok"
    assert rafiki(old_stack, REPO, "down").returncode == 0
    cold = rafiki(old_stack, REPO, "up")
    assert cold.returncode == ExitCode.FAILURE
    assert f"Rafiki {LATER} used it last" in cold.stderr
