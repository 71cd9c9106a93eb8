"""Servers that answer, and cannot serve: what health says of them, on every server that is here, each brought into that
state for real."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from support.stacks.running_stack import eventually
from support.stores.own_cache import each_server, server_programs

from rafiki.admin.health import Health
from rafiki.cache.connection import connect
from rafiki.cache.credentials import Credentials
from rafiki.cache.pulse import Pulse
from rafiki.errors import CacheUnavailableError
from rafiki.messages import CacheAddress
from rafiki.utils.sockets import any_free_port

PASSWORD = "a-password-of-the-server"
BUSY_SCRIPT = "while true do end"
LOADED_AT_ONCE_BYTES = 2 * 1024 * 1024
"""How much a server loads between two times that it answers; Redis 6.2 has no setting for it."""


class Server:
    """One server that somebody else runs, with these settings beside what it needs."""

    def __init__(self, program: str, folder: Path, *settings: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.address = CacheAddress(
            host="127.0.0.1", port=any_free_port(), db=0, username=None, password=PASSWORD, prefix=""
        )
        command = [
            program, "--port", str(self.address.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD,
            "--masterauth", PASSWORD, "--dir", str(folder), "--daemonize", "no", *settings,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers, "a server that answers")

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the server has ended"
        try:
            connect(self.address).ping()
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            return False
        return True

    @property
    def admin(self) -> redis.Redis:
        return connect(self.address)

    @property
    def version(self) -> str:
        return str(self.admin.info("server")["redis_version"])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Servers:
    """Servers of one program, which end with the test."""

    def __init__(self, program: str, folder: Path, stack: contextlib.ExitStack) -> None:
        self._program, self._folder, self._stack = program, folder, stack
        self._n = 0

    def start(self, *settings: str, folder: Path | None = None) -> Server:
        self._n += 1
        server = Server(self._program, folder or self._folder / f"server-{self._n}", *settings)
        self._stack.callback(server.stop)
        return server


@pytest.fixture(params=each_server())
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Servers]:
    with contextlib.ExitStack() as stack:
        yield Servers(server_programs()[request.param], tmp_path, stack)


Hurting = Callable[[Servers], tuple[Server, Pulse]]


def pulse_of(server: Server) -> Pulse:
    """As the admin has it, whose user is known already."""
    pulse = Pulse(server.address, Credentials(server.address, "a key"), "stack")
    pulse.begin()
    return pulse


def could_not_save(servers: Servers) -> tuple[Server, Pulse]:
    server = servers.start("--save", "3600", "1", "--stop-writes-on-bgsave-error", "yes")
    pulse = pulse_of(server)
    shutil.rmtree(server.folder)
    server.admin.bgsave()
    eventually(lambda: server.admin.info("persistence")["rdb_last_bgsave_status"] == "err", "a save that fails")
    return server, pulse


def is_full(servers: Servers) -> tuple[Server, Pulse]:
    server = servers.start()
    pulse = pulse_of(server)
    server.admin.config_set("maxmemory", 1)
    return server, pulse


def is_a_replica(servers: Servers) -> tuple[Server, Pulse]:
    primary, server = servers.start("--repl-diskless-sync-delay", "0"), servers.start()
    pulse = pulse_of(server)
    server.admin.replicaof("127.0.0.1", primary.address.port)
    eventually(lambda: server.admin.info("replication")["master_link_status"] == "up", "a replica in touch")
    return server, pulse


def is_a_replica_without_its_primary(servers: Servers) -> tuple[Server, Pulse]:
    server = servers.start("--replica-serve-stale-data", "no")
    pulse = pulse_of(server)
    server.admin.replicaof("127.0.0.1", any_free_port())
    return server, pulse


def lacks_replicas(servers: Servers) -> tuple[Server, Pulse]:
    server = servers.start()
    pulse = pulse_of(server)
    server.admin.config_set("min-replicas-to-write", 1)
    return server, pulse


def is_of_a_cluster(servers: Servers) -> tuple[Server, Pulse]:
    server = servers.start("--cluster-enabled", "yes")
    return server, pulse_of(server)


def still_loads(servers: Servers) -> tuple[Server, Pulse]:
    before = servers.start("--save", "", "--rdbcompression", "no")
    admin = before.admin
    for no in range(50):
        admin.set(f"key-{no}", bytes(LOADED_AT_ONCE_BYTES))
    admin.save()
    before.stop()
    # Each key takes half a second; between two of them commands are answered.
    server = servers.start("--key-load-delay", "500000", folder=before.folder)
    return server, Pulse(server.address, Credentials(server.address, "a key"), "stack")


def is_busy(servers: Servers) -> tuple[Server, Pulse]:
    server = servers.start("--lua-time-limit", "50")
    pulse = pulse_of(server)

    def run_script() -> None:
        with contextlib.suppress(redis.RedisError):
            connect(server.address, socket_timeout_s=60.0).eval(BUSY_SCRIPT, 0)

    threading.Thread(target=run_script, daemon=True).start()

    def is_refusing() -> bool:
        try:
            server.admin.ping()
        except redis.ResponseError:
            return True
        return False

    eventually(is_refusing, "a server that is busy")
    return server, pulse


def asks_for_a_password(servers: Servers) -> tuple[Server, Pulse]:
    server = servers.start()
    pulse_of(server)
    nobody = CacheAddress(host="127.0.0.1", port=server.address.port, db=0, username=None, password=None, prefix="")
    return server, Pulse(nobody, Credentials(nobody, "a key"), "stack")


@pytest.mark.parametrize(
    ("hurting", "reason"),
    [
        (could_not_save, "it refuses to write, because it could not save its data to the disk"),
        (is_full, "it is full (maxmemory), and refuses to write"),
        (is_a_replica, "it is a replica, which cannot be written to"),
        (is_a_replica_without_its_primary, "it is a replica that has lost its primary server, and answers nobody"),
        (lacks_replicas, "it refuses to write, because it lacks the replicas that it wants"),
        (is_of_a_cluster, "it is one of a cluster, which does not serve: a single server is needed"),
        (still_loads, "it is still loading its data"),
        (is_busy, "it is busy with a script, and answers nobody"),
        (asks_for_a_password, "it asks for a password"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_server_that_cannot_serve_is_told_in_plain_words(servers: Servers, hurting: Hurting, reason: str) -> None:
    server, pulse = hurting(servers)
    if hurting is is_a_replica_without_its_primary and server.version.startswith("6."):
        # It answers PING, and refuses to write before it looks for its primary.
        reason = "it is a replica, which cannot be written to"
    health = Health([("The cache", pulse.take)])
    health.start()
    try:
        told = eventually(lambda: [e for e in health.find_errors() if "has not answered yet" not in e.message], "it")
    finally:
        health.shut_down()
    assert len(told) == 1
    assert isinstance(told[0], CacheUnavailableError)
    assert f"failed: {reason}" in told[0].message
