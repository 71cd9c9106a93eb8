"""Two Docker hosts in one Swarm, with workers on both, one of which is cut off in the middle of a job."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually
from support.swarm.docker_hosts import DockerHosts
from support.swarm.worker_image import TEST_IMAGE

from rafiki.client import Client
from rafiki.client.prediction import PredictorClient

# Bringing up the hosts and building their image takes a minute, on a busy machine several.
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
N_TRIALS = 12


@pytest.fixture
def stack(docker_hosts: DockerHosts, tmp_path: Path) -> Iterator[RunningStack]:
    running = RunningStack(
        tmp_path / "stack",
        {
            "container": {"backend": "swarm", "engine": docker_hosts.manager.socket, "image": TEST_IMAGE},
            "cluster": {"advertise_host": docker_hosts.address},
            "admin": {"host": "0.0.0.0"},
        },
    )
    running.up()
    yield running
    docker_hosts.connect()
    running.down()
    manager = docker.APIClient(base_url=docker_hosts.manager.socket, version="auto")
    assert running.processes() == [], "a process was left behind"
    assert (manager.services(), manager.secrets()) == ([], []), "something was left in the Swarm"
    manager.close()


def start_job(client: Client, folder: Path) -> None:
    datasets = []
    for name in ("train", "val"):
        (folder / f"{name}.bin").write_bytes(name.encode() * 1000)
        datasets.append(client.create_dataset(name, "CUSTOM", str(folder / f"{name}.bin"))["id"])
    model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    client.create_train_job(
        "app", "CUSTOM", *datasets, {"MODEL_TRIAL_COUNT": N_TRIALS, "CPU_WORKER_COUNT": 2}, [model],
        train_args={"sleep_s": 2.0},
    )  # fmt: skip


def completed(client: Client) -> int:
    return sum(t["status"] == "COMPLETED" for t in client.get_trials_of_train_job("app"))


def hosts_with(kind: str, hosts: DockerHosts) -> list[str]:
    """The hosts on which services of a kind run."""
    found = []
    for host in hosts.hosts:
        client = docker.APIClient(base_url=host.socket, version="auto")
        found += [host.name for _ in client.containers(filters={"label": f"rafiki.kind={kind}"})]
        client.close()
    return sorted(found)


def test_a_job_on_two_hosts_survives_the_admin_and_one_host_and_is_served(
    stack: RunningStack, docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    client = stack.client()
    start_job(client, tmp_path)
    both = [host.name for host in docker_hosts.hosts]
    eventually(lambda: hosts_with("train", docker_hosts) == both, "a worker on each host", 120)
    eventually(lambda: completed(client) >= 2, "two completed trials", 120)
    assert sorted(s["host"] for s in client.get_services() if s["service_type"] == "TRAIN") == both

    stack.kill_admin()
    stack.up()
    client = stack.client()
    eventually(lambda: completed(client) >= 4, "four completed trials", 120)
    docker_hosts.cut_off()
    eventually(lambda: client.get_train_job("app")["status"] == "STOPPED", "the end of the job", 240)
    trials = client.get_trials_of_train_job("app")
    assert [t["status"] for t in trials] == ["COMPLETED"] * N_TRIALS, stack.logs()
    assert sorted(t["no"] for t in trials) == list(range(1, N_TRIALS + 1))
    docker_hosts.connect()

    assert "is lost" in stack.log.read_text()

    # What workers wrote is read on this machine, that of the lost host up to when it was lost.
    logs = [file.read_text() for file in (stack.root / "logs").glob("train-*.log")]
    assert len([text for text in logs if text.strip()]) >= 2

    client.create_inference_job("app")
    job = eventually(
        lambda: (j := client.get_running_inference_job("app"))["status"] == "RUNNING" and j, "a deployment", 120
    )
    assert PredictorClient(job["predictor_host"]).predict([1, 2]) is not None
    assert hosts_with("inference", docker_hosts)
    assert not stack.processes("inference")


def test_down_takes_away_what_a_killed_admin_left(
    stack: RunningStack, docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    client = stack.client()
    start_job(client, tmp_path)
    eventually(lambda: completed(client) >= 1, "a completed trial", 120)
    assert hosts_with("train", docker_hosts)
    stack.kill_admin()
    command = [sys.executable, "-m", "rafiki_cli", "down"]
    subprocess.run(command, cwd=stack.folder, env=stack.environment, check=True, timeout=120)
    eventually(lambda: not hosts_with("train", docker_hosts), "the end of all workers", 60)
