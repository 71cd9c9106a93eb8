"""Workers on two hosts, with a PostgreSQL and a Redis of others that speak TLS, and a door that does."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import httpx
import msgspec
import psutil
import psycopg2
import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually
from support.swarm.docker_hosts import DockerHost, DockerHosts
from support.swarm.worker_image import TEST_IMAGE
from support.tls import redis_server
from support.tls.authority import Authority
from support.tls.postgres_server import TlsPostgres, open_tls_server
from support.tls.redis_server import TlsRedis

from rafiki.cache.connection import connect
from rafiki.client import Client
from rafiki.client.prediction import PredictorClient
from rafiki.errors import RafikiError
from rafiki.messages import TrainWorkerSpec

# Bringing up the hosts and building their image takes a minute, on a busy machine several.
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]
N_TRIALS, N_WORKERS = 30, 20
FOREIGN = {"rafiki": "1", "rafikix:1": "1", "somebody:else": "1"}


class Outside:
    """A stack on both hosts, and the servers that it uses."""

    def __init__(self, hosts: DockerHosts, folder: Path) -> None:
        self.hosts = hosts
        self.authority = Authority(folder / "authority")
        pair = self.authority.issue("server", hosts.address)
        self.postgres: TlsPostgres = open_tls_server(pair, host=hosts.address)
        self.database = self.postgres.create_database()
        self.redis = TlsRedis(folder / "redis", pair, authority=self.authority.file, host=hosts.address)
        self.put_foreign_keys()
        self.users_before = self.users()
        self.stack = RunningStack(
            folder / "stack",
            {
                "container": {"backend": "swarm", "engine": hosts.manager.socket, "image": TEST_IMAGE},
                "cluster": {"advertise_host": hosts.address, "tls": True},
                "meta_store": {"ca": str(self.authority.file)},
                "cache": {"ca": str(self.authority.file)},
            },
            {
                "RAFIKI_META_STORE__URL": self.postgres.tls_url(self.database),
                "RAFIKI_CACHE__URL": self.redis.url,
            },
        )

    def put_foreign_keys(self) -> None:
        with connect(self.redis.address(user="default")) as owner:
            owner.mset(FOREIGN)

    def users(self) -> list[bytes]:
        with connect(self.redis.address(user="default")) as owner:
            return sorted(owner.execute_command("ACL USERS"))

    def n_connections(self) -> tuple[int, int]:
        """At the database and at the cache, without this one."""
        with closing(psycopg2.connect(self.postgres.own_url)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [self.database])
            [at_database] = cursor.fetchone() or [0]
        with connect(self.redis.address(user="default")) as owner:
            return int(at_database), int(owner.info("clients")["connected_clients"]) - 1

    def secrets(self) -> list[str]:
        """What nobody but the admin and its advisors may know."""
        own = msgspec.json.decode((self.stack.root / "secrets.json").read_bytes(), type=dict[str, str])
        return ["pass:word/1", "pass%3Aword%2F1", redis_server.PASSWORD, *own.values()]

    def close(self) -> None:
        self.stack.down()
        self.redis.close()
        self.postgres.close()


@pytest.fixture
def outside(docker_hosts: DockerHosts, tmp_path: Path) -> Iterator[Outside]:
    made = Outside(docker_hosts, tmp_path)
    try:
        made.stack.up()
        yield made
    finally:
        made.close()


def start_job(client: Client, app: str, folder: Path, n_trials: int, n_workers: int) -> None:
    file = folder / "data.bin"
    file.write_bytes(b"x" * 1000)
    dataset = client.create_dataset(app, "CUSTOM", str(file))["id"]
    model = client.create_model(f"tiny-{app}", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    client.create_train_job(
        app, "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": n_trials, "CPU_WORKER_COUNT": n_workers}, [model],
        train_args={"sleep_s": 3.0},
    )  # fmt: skip


def told_of(host: DockerHost) -> str:
    """All that an engine tells of its containers, and its services where it is the manager."""
    client = docker.APIClient(base_url=host.socket, version="auto")
    found: list[object] = [client.inspect_container(c["Id"]) for c in client.containers(all=True)]
    if client.info()["Swarm"]["ControlAvailable"]:
        found += [client.services(), client.tasks(), client.secrets()]
    client.close()
    return json.dumps(found)


def run_in(host: DockerHost, *command: str) -> str:
    """What a command says in the first train worker of a host."""
    client = docker.APIClient(base_url=host.socket, version="auto")
    [container, *_] = client.containers(filters={"label": "rafiki.kind=train"})
    made = client.exec_create(container["Id"], list(command))
    said = client.exec_start(made["Id"])
    client.close()
    return bytes(said).decode()


def arguments_and_environments() -> Iterator[tuple[str, str]]:
    """Of all processes of this machine, those in containers of both hosts among them."""
    for process in psutil.process_iter():
        try:
            variables = process.environ()
            yield " ".join(process.cmdline()), " ".join(f"{k}={v}" for k, v in variables.items())
        except psutil.Error:
            continue


def check_secrets(outside: Outside) -> None:
    secrets = outside.secrets()

    def holds(text: str) -> bool:
        return any(secret in text for secret in secrets)

    assert not [host.name for host in outside.hosts.hosts if holds(told_of(host))]
    assert not [command for command, _ in arguments_and_environments() if holds(command)]
    workers = [v for command, v in arguments_and_environments() if "rafiki.worker.train" in command]
    assert len(workers) >= N_WORKERS
    assert not [variables for variables in workers if holds(variables)]
    assert not [file for file in (outside.stack.root / "logs").glob("*.log") if holds(file.read_text())]
    token, _, authorities = run_in(outside.hosts.other, "cat", "/run/secrets/rafiki-token").partition("\n")
    assert "BEGIN CERTIFICATE" in authorities
    port = (outside.stack.root / "door-port").read_text().strip()
    fetched = httpx.get(
        f"https://{outside.hosts.address}:{port}/services/self/spec",
        headers={"Authorization": f"Bearer {token}"}, verify=ssl.create_default_context(cadata=authorities),
    ).content  # fmt: skip
    assert not holds(fetched.decode("latin-1"))
    spec = msgspec.msgpack.decode(fetched, type=TrainWorkerSpec)
    assert (spec.cache.username or "").startswith("rafiki-job-")
    assert spec.cache.tls is not None
    assert spec.cache.tls.authorities == outside.authority.file.read_text()


def test_twenty_workers_on_two_hosts_and_two_deployments(outside: Outside, tmp_path: Path) -> None:
    client, hosts = outside.stack.client(), outside.hosts
    start_job(client, "app", tmp_path, N_TRIALS, N_WORKERS)

    def placed() -> dict[str | None, int]:
        services = client.get_services()
        return Counter(s["host"] for s in services if s["service_type"] == "TRAIN" and s["status"] == "RUNNING")

    wanted = {host.name: N_WORKERS // 2 for host in hosts.hosts}
    eventually(lambda: placed() == wanted, "ten workers on each host", 240)
    check_secrets(outside)
    at_database, at_cache = outside.n_connections()
    print(f"connections with {N_WORKERS} workers: {at_database} to the database, {at_cache} to the cache")
    # An admin, an advisor; each worker keeps a heartbeat, a queue and shared parameters.
    assert (at_database <= 17, at_cache <= 4 * N_WORKERS + 20) == (True, True), (at_database, at_cache)

    # The servers of others restart in the middle: all connections die, and the cache forgets everything.
    outside.postgres.restart()
    outside.redis.restart()
    outside.put_foreign_keys()
    eventually(lambda: client.get_train_job("app")["status"] == "STOPPED", "the end of the job", 240)
    trials = client.get_trials_of_train_job("app")
    assert [t["status"] for t in trials] == ["COMPLETED"] * N_TRIALS, outside.stack.logs()
    assert sorted(t["no"] for t in trials) == list(range(1, N_TRIALS + 1))

    start_job(client, "other", tmp_path, 2, 2)
    eventually(lambda: client.get_train_job("other")["status"] == "STOPPED", "the end of the other job", 120)
    predictors = {}
    for app in ("app", "other"):
        client.create_inference_job(app, budget={"REPLICA_COUNT": 2})
        job = eventually(
            lambda app=app: (j := client.get_running_inference_job(app))["status"] == "RUNNING" and j, "an app", 120
        )
        predictors[app] = PredictorClient(job["predictor_host"])
    best = {app: client.get_best_trials_of_train_job(app)[0]["proposal"]["knobs"]["x"] for app in predictors}

    def are_right() -> bool:
        try:
            return all(
                p.predict_many(list(range(20))) and p.predict([1])["x"] == best[app] for app, p in predictors.items()
            )
        except RafikiError:
            return False

    assert are_right()
    outside.redis.restart()
    outside.put_foreign_keys()
    eventually(are_right, "right predictions after the cache forgot everything", 60)

    outside.stack.down()
    assert dict.fromkeys(map(bytes.decode, outside.redis.keys())) == dict.fromkeys(sorted(FOREIGN))
    assert outside.users() == outside.users_before
