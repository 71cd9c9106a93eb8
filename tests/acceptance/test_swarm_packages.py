"""What models depend on is installed once on each node of a Swarm, and workers there run with it."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from support.data.wheels import make_wheel
from support.stacks.running_stack import MODELS, RunningStack, eventually
from support.swarm.docker_hosts import DockerHosts
from support.swarm.image_registry import PASSWORD, USER, ImageRegistry
from support.swarm.worker_image import TEST_IMAGE

from rafiki.client import Client
from rafiki.environments.build import HEADING

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
TASK = "GLIMMER"


@pytest.fixture
def index(docker_hosts: DockerHosts, tmp_path: Path) -> Iterator[str]:
    """Where pip of both hosts finds the tests' packages."""
    make_wheel(tmp_path / "wheels", "glimmer", "1.0")
    make_wheel(tmp_path / "wheels", "glimmer", "2.0")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "wheels"))
    server = http.server.ThreadingHTTPServer((docker_hosts.address, 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{docker_hosts.address}:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def stack(docker_hosts: DockerHosts, index: str, tmp_path: Path) -> Iterator[RunningStack]:
    yield from run_stack(docker_hosts, index, tmp_path / "stack")


@pytest.fixture
def stack_with_registry(
    docker_hosts: DockerHosts, index: str, image_registry: ImageRegistry, tmp_path: Path
) -> Iterator[RunningStack]:
    """Its user has not the right password yet."""
    login = image_registry.login(tmp_path / "login", "nonsense-password")
    yield from run_stack(
        docker_hosts, index, tmp_path / "stack", {"registry": f"{image_registry.address}/team"},
        {"DOCKER_CONFIG": str(login)},
    )  # fmt: skip


def run_stack(
    docker_hosts: DockerHosts, index: str, folder: Path, container: dict[str, str] | None = None,
    variables: dict[str, str] | None = None,
) -> Iterator[RunningStack]:  # fmt: skip
    pip = {
        "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": index, "PIP_TRUSTED_HOST": docker_hosts.address,
        "PIP_CONFIG_FILE": "/dev/null",
    }  # fmt: skip
    running = RunningStack(
        folder,
        {
            "container": {
                "backend": "swarm",
                "engine": docker_hosts.manager.socket,
                "image": TEST_IMAGE,
                **(container or {}),
            },
            "cluster": {"advertise_host": docker_hosts.address},
            "admin": {"host": "0.0.0.0"},
            "tls": {"insecure": True},
        },
        variables={**pip, **(variables or {})},
    )
    running.up()
    yield running
    running.down()
    manager = docker.APIClient(base_url=docker_hosts.manager.socket, version="auto")
    assert (manager.services(), manager.secrets()) == ([], []), "something was left in the Swarm"
    manager.close()


def upload(client: Client, name: str, version: str) -> str:
    model = client.create_model(name, TASK, MODELS / "glimmering.py", "Glimmering", {"glimmer": version})
    return str(model["id"])


def train(client: Client, app: str, model_id: str, dataset_id: str) -> dict[str, Any]:
    """The job when it has ended."""
    client.create_train_job(
        app, TASK, dataset_id, dataset_id, {"MODEL_TRIAL_COUNT": 2, "CPU_WORKER_COUNT": 2}, [model_id]
    )

    def job() -> dict[str, Any] | None:
        found = client.get_train_job(app)
        return found if found["status"] in ("STOPPED", "ERRORED") else None

    found: dict[str, Any] = eventually(job, f"the end of {app}", 300)
    return found


def environment(client: Client, version: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in client.get_environments() if e["requirements"] == [f"glimmer=={version}"])
    return found


def fill_volume(hosts: DockerHosts, name: str) -> None:
    """Have a volume of that name on both hosts in which there is no room."""
    for host in hosts.hosts:
        client = docker.APIClient(base_url=host.socket, version="auto")
        client.remove_volume(name, force=True)
        client.create_volume(name, driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=64k,mode=1777"})
        client.close()


def test_packages_are_installed_once_a_node_missed_when_they_are_gone_and_told_when_there_is_no_room(
    stack: RunningStack, docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    client = stack.client()
    (tmp_path / "data.bin").write_bytes(b"1")
    dataset_id = client.create_dataset("data", TASK, tmp_path / "data.bin")["id"]
    model_id = upload(client, "old", "1.0")
    ended = train(client, "first", model_id, dataset_id)
    assert [t["status"] for t in client.get_trials_of_train_job("first")] == ["COMPLETED"] * 2, (ended, stack.logs())
    log = (stack.root / "logs" / f"environment-{environment(client, '1.0')['key']}.log").read_text()
    for host in docker_hosts.hosts:
        assert f"{host.name}: " in log, "pip's words of each host"
    n_installs = log.count(HEADING.decode())
    volume = next(
        v["Name"]
        for v in docker.APIClient(base_url=docker_hosts.manager.socket, version="auto").volumes()["Volumes"]
        if v["Name"].startswith("rafiki-environments-")
    )

    # Somebody takes the volumes away: workers miss their packages, and these are installed again.
    for host in docker_hosts.hosts:
        api = docker.APIClient(base_url=host.socket, version="auto")
        eventually(lambda api=api: not api.containers(all=True, filters={"volume": volume}), "no use of the volume", 60)
        api.remove_volume(volume)
        api.close()
    train(client, "second", model_id, dataset_id)
    assert [t["status"] for t in client.get_trials_of_train_job("second")] == ["COMPLETED"] * 2, stack.logs()
    log = (stack.root / "logs" / f"environment-{environment(client, '1.0')['key']}.log").read_text()
    assert log.count(HEADING.decode()) > n_installs

    for host in docker_hosts.hosts:
        api = docker.APIClient(base_url=host.socket, version="auto")
        eventually(lambda api=api: not api.containers(all=True, filters={"volume": volume}), "no use of the volume", 60)
        api.close()
    fill_volume(docker_hosts, volume)
    failed = train(client, "third", upload(client, "new", "2.0"), dataset_id)
    assert failed["status"] == "ERRORED"
    error = failed["error"]
    assert "could not be installed on any node" in error
    assert "no space is left" in error.lower()
    assert all(host.name in error for host in docker_hosts.hosts)
    services = [s for s in client.get_services() if s["service_type"] == "TRAIN"]
    assert not [s for s in services if s["train_job_id"] == failed["id"]], "no worker was started in vain"


def test_with_a_registry_a_set_becomes_one_image_that_all_nodes_pull(
    stack_with_registry: RunningStack, docker_hosts: DockerHosts, image_registry: ImageRegistry, tmp_path: Path
) -> None:
    stack = stack_with_registry
    client = stack.client()
    (tmp_path / "data.bin").write_bytes(b"1")
    dataset_id = client.create_dataset("data", TASK, tmp_path / "data.bin")["id"]
    model_id = upload(client, "old", "1.0")
    failed = train(client, "first", model_id, dataset_id)
    assert failed["status"] == "ERRORED"
    assert "could not be installed into an image" in failed["error"]
    assert f"docker login {image_registry.address}" in failed["error"]
    assert "nonsense-password" not in failed["error"]

    # Somebody logs in: it is tried again with the next job, while the stack runs on.
    image_registry.login(tmp_path / "login")
    ended = train(client, "second", model_id, dataset_id)
    assert [t["status"] for t in client.get_trials_of_train_job("second")] == ["COMPLETED"] * 2, (ended, stack.logs())
    pushed = tags_of(image_registry)
    assert len(pushed) == 1
    log_file = stack.root / "logs" / f"environment-{environment(client, '1.0')['key']}.log"
    log = log_file.read_text()
    assert "pushed as sha256:" in log
    assert f"{image_registry.address}/team: Successfully installed glimmer-1.0" in log
    assert PASSWORD not in log
    having = set()
    for host in docker_hosts.hosts:
        api = docker.APIClient(base_url=host.socket, version="auto")
        volumes = [v["Name"] for v in api.volumes()["Volumes"] or []]
        assert f"rafiki-environments-{client.get_health()['stack_id']}" not in volumes
        digests = [digest for image in api.images() for digest in image["RepoDigests"] or []]
        having |= {host.name for digest in digests if digest.startswith(image_registry.address)}
        assert not api.containers(all=True, filters={"label": "rafiki.kind=packages"})
        api.close()

    assert having, "some node has it by its digest"

    # An admin that knows nothing of it finds it in the registry.
    n_installs = log.count(HEADING.decode())
    stack.down()
    (stack.root / "image-environments.json").unlink()
    stack.up()
    client = stack.client()
    train(client, "third", model_id, dataset_id)
    assert [t["status"] for t in client.get_trials_of_train_job("third")] == ["COMPLETED"] * 2, stack.logs()
    assert (log_file.read_text().count(HEADING.decode()), tags_of(image_registry)) == (n_installs, pushed)


def tags_of(registry: ImageRegistry) -> list[str]:
    answer = httpx.get(
        f"http://{registry.address}/v2/team/rafiki-packages/tags/list", auth=(USER, PASSWORD), timeout=30
    )
    found: list[str] = answer.json()["tags"]
    return found
