"""Workers that share no disk with the admin: specs, datasets and parameters come over HTTP, with a token a service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from support.data.plugin_packages import install_elsewhere
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client
from rafiki.client.prediction import PredictorClient
from rafiki.messages import InferenceWorkerSpec, TrainWorkerSpec

pytestmark = pytest.mark.acceptance
REPO = Path(__file__).parents[2]
N_TRIALS = 12


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    install_elsewhere(tmp_path / "packages")
    path = os.pathsep.join([str(REPO), str(tmp_path / "packages")])
    running = RunningStack(tmp_path / "stack", {"container": {"backend": "elsewhere"}}, {"PYTHONPATH": path})
    running.up()
    yield running
    running.down()
    assert running.processes() == [], "a process was left behind"


def start_job(client: Client, folder: Path, gate: Path) -> None:
    datasets = []
    for name in ("train", "val"):
        (folder / f"{name}.bin").write_bytes(name.encode() * 1000)
        datasets.append(client.create_dataset(name, "CUSTOM", str(folder / f"{name}.bin"))["id"])
    model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    client.create_train_job(
        "app", "CUSTOM", *datasets, {"MODEL_TRIAL_COUNT": N_TRIALS, "CPU_WORKER_COUNT": 2}, [model],
        train_args={"gate": str(gate), "n_free": 4},
    )  # fmt: skip


def completed(client: Client) -> int:
    return sum(t["status"] == "COMPLETED" for t in client.get_trials_of_train_job("app"))


def tokens(stack: RunningStack) -> dict[str, str]:
    """The tokens on the other host, by the ids of services."""
    return {file.name: file.read_text().strip() for file in (stack.folder / "other-host").glob("*-*-*")}


def ask(
    stack: RunningStack, path: str, token: str, method: str = "GET", content: bytes | None = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.request(
        method, f"http://127.0.0.1:{stack.port}{path}", headers=headers, content=content, timeout=30
    )  # fmt: skip


def test_a_job_and_a_deployment_with_workers_elsewhere_while_the_admin_is_killed(
    stack: RunningStack, tmp_path: Path
) -> None:
    client, gate = stack.client(), tmp_path / "gate"
    start_job(client, tmp_path, gate)
    eventually(lambda: completed(client) >= 4, "four completed trials")
    workers = [s["id"] for s in client.get_services() if s["service_type"] == "TRAIN"]
    training = tokens(stack)
    assert set(workers) <= set(training)

    # What a worker is given names no file of the stack, and the admin's door alone.
    spec = msgspec.msgpack.decode(ask(stack, "/services/self/spec", training[workers[0]]).content, type=TrainWorkerSpec)
    assert spec.datasets.url == spec.params.url == f"http://127.0.0.1:{stack.port}/stores"
    copies = sorted(file.name for file in (stack.folder / "other-host" / "copies").glob("*.*[0-9a-f]"))
    assert copies == sorted([spec.train_store_id, spec.val_store_id])

    stack.kill_admin()
    gate.touch()
    stack.up()
    client = stack.client()
    eventually(lambda: client.get_train_job("app")["status"] == "STOPPED", "the end of the job", 120)
    trials = client.get_trials_of_train_job("app")
    assert [t["status"] for t in trials] == ["COMPLETED"] * N_TRIALS

    # The services have ended: nobody comes in with their tokens any more.
    eventually(
        lambda: ask(stack, "/services/self/spec", training[workers[0]]).status_code == 401, "tokens that are void"
    )
    client.create_inference_job("app")
    job = eventually(
        lambda: (j := client.get_running_inference_job("app"))["status"] == "RUNNING" and j, "a deployment", 60
    )
    assert PredictorClient(job["predictor_host"]).predict([1, 2]) is not None
    serving = [tokens(stack)[s["id"]] for s in client.get_services() if s["service_type"] == "INFERENCE"]
    decoded = msgspec.msgpack.decode(ask(stack, "/services/self/spec", serving[0]).content, type=InferenceWorkerSpec)
    other = next(t["id"] for t in trials if t["id"] != decoded.trial_id)
    other_params = client.get_trial_parameters(other)
    assert other_params is not None

    # An inference worker reads its own parameters, and nothing else.
    assert ask(stack, f"/stores/params/{decoded.params_id}", serving[0]).status_code == 200
    for method, path in (
        ("GET", f"/stores/datasets/{spec.train_store_id}"),
        ("PUT", f"/stores/params/{decoded.params_id}"),
        ("PUT", f"/stores/validation/{decoded.params_id}"),
        ("DELETE", f"/stores/params/{decoded.params_id}"),
        ("POST", f"/stores/params/{decoded.params_id}/upload"),
        ("POST", f"/stores/params/{decoded.params_id}/stored"),
        ("GET", "/users"),
        ("GET", "/train_jobs"),
    ):
        content = {"PUT": b"x", "POST": b'{"size_bytes": 1}'}.get(method)
        answer = ask(stack, path, serving[0], method, content)
        # Its service is known where services come in, and nobody where people do.
        assert answer.status_code in (401, 403), (method, path, answer.text)
    # Nobody looks after the stores from elsewhere.
    for path in ("/stores/datasets", "/stores/params"):
        assert ask(stack, path, serving[0]).status_code == 404
    for token in ("none", "rfs_", f"rfs_{workers[0]}.{'0' * 64}"):
        assert ask(stack, f"/stores/params/{decoded.params_id}", token).status_code == 401
