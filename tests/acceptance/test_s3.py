"""A stack with its datasets and parameters on S3: workers use signed requests, and never see the credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually
from support.stores.s3_server import S3Server

pytestmark = pytest.mark.acceptance
SECRET = "a-secret-of-the-admin"


@pytest.fixture
def server() -> Iterator[S3Server]:
    made = S3Server()
    made.secret = SECRET
    yield made
    made.close()


@pytest.fixture
def stack(server: S3Server, tmp_path: Path) -> Iterator[RunningStack]:
    stores = {name: server.location(name).url for name in ("datasets", "params")}
    variables = {"AWS_ACCESS_KEY_ID": "admin", "AWS_SECRET_ACCESS_KEY": SECRET}
    variables["RAFIKI_COPIES_FOLDER"] = str(tmp_path / "copies")
    running = RunningStack(tmp_path / "stack", {"stores": stores, "train": {"checkpoint_s": 0.01}}, variables)
    running.up()
    yield running
    running.down()
    assert running.processes() == [], "a process was left behind"


def test_a_job_with_a_checkpoint_and_a_deployment(stack: RunningStack, server: S3Server, tmp_path: Path) -> None:
    client = stack.client()
    (tmp_path / "data.bin").write_bytes(b"anything")
    dataset = client.create_dataset("data", "CUSTOM", str(tmp_path / "data.bin"))["id"]
    model = client.create_model("steps", "CUSTOM", str(MODELS / "steps.py"), "Steps")["id"]
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    client.create_train_job(
        "app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 1, "CPU_WORKER_COUNT": 1}, [model],
        train_args={"notes": str(notes), "gate": str(gate), "waits_at": 20},
    )  # fmt: skip
    eventually(lambda: notes.exists() and len(notes.read_text().splitlines()) >= 20, "a training in its middle")
    (worker,) = stack.processes("train")
    assert not [value for name, value in worker.environ().items() if name.startswith("AWS_") or SECRET in value]

    def has_saved() -> bool:
        (trial,) = client.get_trials_of_train_job("app")
        messages = client.get_trial_logs(trial["id"])["messages"]
        return any("Checkpoint at step" in m["message"] for m in messages)

    eventually(has_saved, "a checkpoint")
    stack.kill_one("train")
    gate.touch()
    eventually(lambda: client.get_train_job("app")["status"] in ("STOPPED", "ERRORED"), "the end of the job", 120)
    (trial,) = client.get_trials_of_train_job("app")
    assert (trial["status"], trial["attempt"]) == ("COMPLETED", 2), stack.logs()
    deployed = client.create_inference_job("app")
    answer = httpx.post(f"http://{deployed['predictor_host']}/predict", json={"query": "q"}, timeout=30).json()
    assert answer["prediction"] == "q"
    assert SECRET not in stack.logs() and "X-Amz-Signature" not in stack.logs()
    # The dataset came, the parameters went and came without the admin in between.
    travelled = {
        (method, path.split("/")[2]) for method, path in server.signed if method in ("GET", "PUT") and path[-1] != "/"
    }
    assert travelled == {("GET", "datasets"), ("PUT", "params"), ("GET", "params")}
    assert "travel through the admin" not in stack.logs()
