"""All of Rafiki in containers, brought up with the files that people are given: a stack of a Swarm, and Compose."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from support.stacks.running_stack import MODELS, eventually
from support.swarm.docker_hosts import DockerHosts
from support.swarm.server_images import POSTGRES, VALKEY, build_servers
from support.swarm.worker_image import ADMIN_IMAGE, added_bytes, build_admin_image

from rafiki.client import Client
from rafiki.client.prediction import PredictorClient
from rafiki.distribution import IMAGE
from rafiki.utils.sockets import any_free_port

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
FILES = Path(__file__).parents[2] / "dockerfiles"


@pytest.fixture(scope="module")
def servers(docker_hosts: DockerHosts) -> docker.APIClient:
    client = docker.APIClient(base_url=docker_hosts.manager.socket, version="auto", timeout=600)
    build_servers(client)
    build_admin_image(docker_hosts)
    return client


@pytest.fixture
def environment(docker_hosts: DockerHosts, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of the commands, with a folder of secrets as the how-to makes it."""
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    database, cache = secrets.token_hex(24), secrets.token_hex(24)
    for name, text in {
        "postgres-password": database,
        "database-url": f"postgresql://rafiki:{database}@postgres/rafiki",
        "valkey.conf": f"requirepass {cache}\n",
        "cache-url": f"redis://:{cache}@valkey:6379/0",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o444)
    yield {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DOCKER_HOST": docker_hosts.manager.socket,
        "RAFIKI_IMAGE": ADMIN_IMAGE,
        # No machine but this one reaches the network of the hosts.
        "RAFIKI_INSECURE": "true",
        "RAFIKI_SECRETS": str(folder),
        "RAFIKI_PORT": str(any_free_port()),
        "RAFIKI_ADDRESS": docker_hosts.manager.address,
        "POSTGRES_IMAGE": POSTGRES,
        "VALKEY_IMAGE": VALKEY,
    }


def run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def container_of(api: docker.APIClient, service: str) -> dict[str, object] | None:
    """The container of a service that runs and is healthy."""
    found = api.containers(filters={"name": service, "health": "healthy"})
    return api.inspect_container(found[0]["Id"]) if found else None


def use(api: docker.APIClient, admin: dict[str, object], address: str, port: str, folder: Path) -> None:
    """Log in, train and predict, as somebody on another machine does."""
    exec_id = api.exec_create(admin["Id"], ["cat", "/var/lib/rafiki/superadmin-password"])
    password = api.exec_start(exec_id).decode().strip()
    client = Client(address, int(port))
    client.login("superadmin@rafiki", password)
    (folder / "data.bin").write_bytes(b"1" * 1000)
    dataset_id = client.create_dataset("data", "CUSTOM", str(folder / "data.bin"))["id"]
    model_id = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    budget = {"MODEL_TRIAL_COUNT": 3, "CPU_WORKER_COUNT": 2}
    client.create_train_job("app", "CUSTOM", dataset_id, dataset_id, budget, [model_id])
    eventually(lambda: client.get_train_job("app")["status"] == "STOPPED", "the end of the job", 240)
    assert [t["status"] for t in client.get_trials_of_train_job("app")] == ["COMPLETED"] * 3
    client.create_inference_job("app")
    job = eventually(
        lambda: (j := client.get_running_inference_job("app"))["status"] == "RUNNING" and j, "a deployment", 120
    )
    predictor_port = job["predictor_host"].rpartition(":")[2]
    assert PredictorClient(f"{address}:{predictor_port}").predict([1, 2]) is not None


def update_node(environment: dict[str, str], node: str, *change: str) -> None:
    """Change a node's labels. The Swarm may change the node at the same time, and then wants to be asked again."""

    def is_done() -> bool:
        command = ["docker", "node", "update", *change, node]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "out of sequence" in done.stderr, done.stderr
        return done.returncode == 0

    eventually(is_done, f"the change of node {node}", 60)


def check_walls(containers: list[dict[str, object]], environment: dict[str, str]) -> None:
    """Nobody is root or may become it, no root can be written to, and secrets are in files alone."""
    texts = [file.read_text().strip() for file in Path(environment["RAFIKI_SECRETS"]).iterdir()]
    for container in containers:
        config, host = container["Config"], container["HostConfig"]
        assert isinstance(config, dict)
        assert isinstance(host, dict)
        assert config["User"].split(":")[0] not in ("", "0", "root")
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not [t for t in texts if t in str(container)]


def test_the_image_of_all_programs_is_that_of_workers_with_less_than_100_mb_more(servers: docker.APIClient) -> None:
    assert added_bytes(servers, ADMIN_IMAGE) < added_bytes(servers, IMAGE) + 100e6
    layers, of_workers = (servers.inspect_image(i)["RootFS"]["Layers"] for i in (ADMIN_IMAGE, IMAGE))
    # The base and the files. What is compiled in the image is so again on an engine that did not build the other one.
    assert layers[:2] == of_workers[:2]


def test_a_stack_of_a_swarm_trains_serves_and_leaves_nothing(
    servers: docker.APIClient, environment: dict[str, str], docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    node = docker_hosts.manager.name
    update_node(environment, node, "--label-add", "rafiki.stack=rafiki")
    file = str(FILES / "stack.yaml")
    deploy = ("docker", "stack", "deploy", "--resolve-image", "never", "-c", file, "all")
    run(environment, *deploy)
    try:
        admin = eventually(lambda: container_of(servers, "all_admin"), "a healthy admin", 240)
        use(servers, admin, docker_hosts.manager.address, environment["RAFIKI_PORT"], tmp_path)
        names = ("all_admin", "all_postgres", "all_valkey")
        check_walls([eventually(lambda n=n: container_of(servers, n), n, 60) for n in names], environment)
    finally:
        print(subprocess.run(["docker", "service", "ps", "--no-trunc", "all_admin", "all_postgres", "all_valkey"],
                             env=environment, capture_output=True, text=True, check=False).stdout)  # fmt: skip
        print(subprocess.run(["docker", "service", "logs", "all_admin"], env=environment, capture_output=True,
                             text=True, check=False).stdout[-3000:])  # fmt: skip
        run(environment, "docker", "stack", "rm", "all")
        update_node(environment, node, "--label-rm", "rafiki.stack")
    gone(servers, "all_")


def test_compose_brings_the_same_up_on_one_machine(
    servers: docker.APIClient, environment: dict[str, str], docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    compose = find_compose()
    if compose is None:
        assert os.environ.get("CI", "").lower() != "true", "docker compose is not here: apt-get install docker-compose"
        pytest.skip("docker compose is not here")
    command = (*compose, "-p", "one", "-f", str(FILES / "compose.yaml"))
    run(environment, *command, "up", "-d")
    try:
        admin = eventually(lambda: container_of(servers, "one.admin"), "a healthy admin", 240)
        use(servers, admin, docker_hosts.manager.address, environment["RAFIKI_PORT"], tmp_path)
        names = ("one.admin", "one.postgres", "one.valkey")
        found = [eventually(lambda n=n: container_of(servers, n), n, 60) for n in names]
        check_walls(found, environment)
        assert all(c["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"] for c in found)
    finally:
        print(subprocess.run([*command, "logs", "admin"], env=environment, capture_output=True, text=True,
                             check=False).stdout[-3000:])  # fmt: skip
        run(environment, *command, "down")
    gone(servers, "one")


def find_compose() -> tuple[str, ...] | None:
    """How Compose is called here."""
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ("docker", "compose") if plugin.returncode == 0 else None


def gone(api: docker.APIClient, prefix: str) -> None:
    """Only volumes are left, which people keep; they are taken away."""

    def left() -> list[object]:
        return [*api.containers(all=True, filters={"name": prefix}), *api.services(), *api.secrets()]

    eventually(lambda: not left(), "the end of all", 120)
    networks: Callable[[], list[object]] = lambda: api.networks(names=[f"{prefix.rstrip('_')}_default"])  # noqa: E731
    eventually(lambda: not networks(), "the end of the network", 60)
    for volume in api.volumes()["Volumes"] or []:
        if volume["Name"].startswith(prefix):
            api.remove_volume(volume["Name"])
