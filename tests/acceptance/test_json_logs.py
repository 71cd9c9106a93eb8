"""A stack whose log is JSON lines: a job of which a trial fails and a worker dies, found again in the logs alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client

pytestmark = pytest.mark.acceptance


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    running = RunningStack(tmp_path, {"logging": {"format": "json"}, "train": {"max_trial_attempts": 1}})
    running.up()
    yield running
    running.down()


def run_job(client: Client, app: str, do: str, data: str, model: str) -> dict[str, Any]:
    client.create_train_job(app, "CUSTOM", data, data, {"MODEL_TRIAL_COUNT": 1}, [model], train_args={"do": do})

    def ended() -> dict[str, Any] | None:
        job = client.get_train_job(app)
        return job if job["status"] in ("STOPPED", "ERRORED") else None

    found: dict[str, Any] = eventually(ended, f"the end of the job that does {do!r}")
    return found


def entries(stack: RunningStack, kind: str) -> list[dict[str, Any]]:
    files = sorted(stack.log.parent.glob(f"{kind}*.log"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def rafiki(stack: RunningStack, *arguments: str) -> str:
    command = [sys.executable, "-m", "rafiki_cli", *arguments]
    done = subprocess.run(command, cwd=stack.folder, env=stack.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_line_of_a_stacks_logs_is_json_that_names_what_it_is_about(stack: RunningStack, tmp_path: Path) -> None:
    client = stack.client()
    (tmp_path / "data.bin").write_bytes(b"anything")
    data = client.create_dataset("data", "CUSTOM", str(tmp_path / "data.bin"))["id"]
    model = client.create_model("hostile", "CUSTOM", str(MODELS / "hostile.py"), "Hostile")["id"]
    failed, killed = run_job(client, "fails", "raise", data, model), run_job(client, "dies", "hard exit", data, model)

    [trial] = [e for e in entries(stack, "train") if e["trial"] is not None and e["level"] == "WARNING"]
    assert (trial["job"], trial["kind"], trial["trial"]) == (failed["id"], "train", 1)
    assert trial["message"].startswith("failed: ValueError: the learning rate")
    assert "is too high" in trial["traceback"]

    admin = entries(stack, "admin")
    assert any(e["message"].startswith("admin: listens on http://127.0.0.1:") for e in admin)
    about = [e for e in admin if e["service"] == trial["service"]]
    assert [e["message"].partition(": ")[2] for e in about][:1] == ["started (attempt 1)"]
    assert all((e["kind"], e["job"]) == ("train", failed["id"]) for e in about)
    [end] = [e for e in admin if e["job"] == killed["id"] and "exit code 7" in e["message"] and e["kind"] == "train"]
    assert end["level"] == "ERROR"

    # Nothing that opens a door is in a log.
    secrets = json.loads((stack.root / "secrets.json").read_text())
    doors = [*secrets.values(), (stack.root / "superadmin-password").read_text().strip()]
    text = "".join(f.read_text(errors="replace") for f in stack.log.parent.glob("*.log"))
    assert [door for door in doors if door in text] == []

    # `rafiki logs` shows the lines as they are.
    shown = rafiki(stack, "logs", "admin", "-n", "1000").splitlines()
    assert shown == stack.log.read_text().splitlines()


def test_a_stack_that_cannot_start_says_why_whatever_the_format(stack: RunningStack) -> None:
    other = stack.folder / "other"
    other.mkdir()
    (other / "rafiki.yaml").write_text(
        "logging: {format: json}\nmeta_store: {url: 'sqlite:////no/such/folder/meta.db'}\n"
    )
    command = [sys.executable, "-m", "rafiki_cli", "up", "--port", "0"]
    done = subprocess.run(command, cwd=other, env=stack.environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.startswith("error: ")
    assert "{" not in done.stderr
