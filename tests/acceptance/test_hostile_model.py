"""A model that tries every way out of its box that we know: at upload, in training, in serving, it reaches nothing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.machines.bubblewrap import needs_bubblewrap
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client
from rafiki.client.prediction import PredictorClient
from rafiki.utils.files import read_text

pytestmark = [pytest.mark.acceptance, pytest.mark.long, needs_bubblewrap]
TMP_MB = 32
DAEMONS_S = {"upload": "7771", "training": "7772", "serving": "7773"}
"""How long the daemons that it leaves sleep: they are found by it."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    box = {"sandbox": "bubblewrap", "tmp_mb": TMP_MB}
    # All its attempts are one prediction.
    running = RunningStack(tmp_path / "stack", {"container": box, "predictor": {"deadline_s": 60.0}})
    running.up()
    yield running
    running.down()


@pytest.fixture
def listeners() -> Iterator[dict[str, object]]:
    """Servers of this machine that a model must not reach."""
    with socket.create_server(("0.0.0.0", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        name = f"rafiki-test-{os.getpid()}"
        abstract.bind("\0" + name)
        abstract.listen()
        addresses = [a.address for found in psutil.net_if_addrs().values() for a in found if a.family == socket.AF_INET]
        other = next((a for a in addresses if not a.startswith("127.")), "127.0.0.2")
        yield {"server_port": tcp.getsockname()[1], "address": other, "abstract": name}


def daemons() -> list[str]:
    """What the model has left behind."""
    return [
        line for p in psutil.process_iter()
        if (line := " ".join(_arguments(p))).startswith("sleep ") and line.split()[-1] in DAEMONS_S.values()
    ]  # fmt: skip


def _arguments(p: psutil.Process) -> list[str]:
    try:
        return p.cmdline()
    except psutil.Error:
        return []


def others(client: Client, folder: Path) -> dict[str, str]:
    """A job of somebody else: its dataset and parameters."""
    (folder / "other.bin").write_bytes(b"other" * 1000)
    dataset = client.create_dataset("other", "CUSTOM", str(folder / "other.bin"))["id"]
    model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    client.create_train_job("other", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 1}, [model])
    eventually(lambda: client.get_train_job("other")["outcome"] == "COMPLETED", "the job of somebody else")
    return {"dataset": dataset}


def test_a_hostile_model_reaches_nothing(stack: RunningStack, listeners: dict[str, object], tmp_path: Path) -> None:
    client = stack.client()
    others(client, tmp_path)
    user_file = tmp_path / "diary.txt"
    user_file.write_text("dear diary")
    (stored,) = [f for f in (stack.root / "datasets").rglob("*") if f.is_file()]
    params = [f.name for f in (stack.root / "params").rglob("*") if f.is_file()]
    assert stack._admin is not None
    facts = {
        "root": str(stack.root), "other_dataset": str(stored), "other_store_id": stored.name, "other_params": params[0],
        "user_file": str(user_file), "home": str(Path.home()), "admin_pid": stack._admin.pid, "admin_port": stack.port,
        "cache_port": int(read_text(stack.root / "cache-port") or 0), "tmp_mb": TMP_MB, "daemon_s": DAEMONS_S,
        "login": {"email": "superadmin@rafiki", "password": read_text(stack.root / "superadmin-password")}, **listeners,
    }  # fmt: skip
    source = (MODELS / "prisoner.py").read_text().replace("FACTS = {}", f"FACTS = {facts!r}")
    (tmp_path / "prisoner.py").write_text(source)

    made = client.create_model("prisoner", "CUSTOM", str(tmp_path / "prisoner.py"), "Prisoner")
    model = client.get_model(made["id"])
    assert model["load_error"] is None
    at_upload = json.loads(model["knob_config"]["report"]["value"])
    assert at_upload["n_ways"] >= 20
    assert at_upload["reached"] == {}
    assert daemons() == []

    (tmp_path / "own.bin").write_bytes(b"own" * 1000)
    dataset = client.create_dataset("own", "CUSTOM", str(tmp_path / "own.bin"))["id"]
    client.create_train_job("app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 1}, [made["id"]])
    job = eventually(lambda: (j := client.get_train_job("app"))["outcome"] and j, "its job")
    assert job["outcome"] == "COMPLETED", stack.logs()
    (trial,) = client.get_trials_of_train_job("app")
    logs = client.get_trial_logs(trial["id"])
    lines = [m["message"] for m in logs["messages"] if "REPORT" in m["message"]]
    in_training = json.loads(lines[0].partition("REPORT ")[2])
    assert in_training["reached"] == {}
    eventually(lambda: daemons() == [], "nothing left of training")

    host = client.create_inference_job("app")["predictor_host"]
    in_serving = PredictorClient(host).predict(query=1)
    assert in_serving["reached"] == {}, in_serving
    client.stop_inference_job("app")
    eventually(lambda: daemons() == [], "nothing left of serving")

    # It has changed nothing, either.
    assert user_file.read_text() == "dear diary"
    assert client.get_train_job("other")["outcome"] == "COMPLETED"
    assert not (stack.root / "marker").exists()
