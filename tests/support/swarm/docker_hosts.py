"""Two Docker hosts on one machine: each an engine in a network namespace of its own, joined by a switch that this
machine is at, too. They make one Swarm, whose manager is the first. Needs root, Debian's docker.io and iptables.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import psutil
from support.swarm.base_image import write_base

from rafiki.utils.clock import Deadline
from rafiki.utils.process import wait_until

_NEEDED = ("dockerd", "ip", "iptables", "nsenter", "unshare", "ldd")
_START_TIMEOUT_S = 120.0
BASE = "python:3.11-slim"


class DockerUnavailableError(Exception):
    """The machine lacks what two Docker hosts need."""


def check_docker() -> None:
    """
    Raises:
        DockerUnavailableError: saying what is missing.
    """
    if os.getuid() != 0:
        raise DockerUnavailableError("Two Docker hosts need root, for namespaces of the network.")
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        raise DockerUnavailableError(f"Two Docker hosts need {', '.join(missing)}: apt-get install docker.io iptables")


class DockerHost:
    """One engine."""

    def __init__(self, folder: Path, name: str, address: str, hostname: str | None = None) -> None:
        """
        Args:
            name: of its links and its namespace, as nothing else on this machine is called.
            hostname: what the Swarm calls it; None = the name.
        """
        self.name = name
        self.hostname = hostname or name
        self.address = address
        self.socket = f"unix://{folder / name}.sock"
        self.folder = folder / name
        self._log = folder / f"{name}.log"
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        # Not `ip netns exec`, which hides the cgroups behind a new /sys.
        with self._log.open("ab") as log:
            self._daemon = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--uts", "sh", "-c",
                 'hostname "$0"; exec dockerd "$@"', self.hostname,
                 f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec",
                 f"--pidfile={self.folder}/pid", f"--host={self.socket}", "--storage-driver=overlay2",
                 # The tests' own registry has no TLS.
                 f"--insecure-registry={self.address.rpartition('.')[0]}.0/24"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> docker.APIClient:
        """A client, once the engine answers."""
        found: list[docker.APIClient] = []

        def answers() -> bool:
            with contextlib.suppress(docker.errors.DockerException, OSError):
                found[:] = [docker.APIClient(base_url=self.socket, version="auto", timeout=600)]
            return bool(found)

        assert wait_until(answers, Deadline(_START_TIMEOUT_S)), self._log.read_text()
        return found[0]

    def is_on(self) -> bool:
        return self._daemon is not None and self._daemon.poll() is None

    def stop(self) -> None:
        """End the engine, and whatever is left in its namespace."""
        if self._daemon is not None:
            self._daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._daemon.wait(20)
            self._daemon.kill()
            self._daemon.wait()
        self.empty()
        self._unmount()

    def kill(self) -> None:
        """End the engine and all its containers with SIGKILL, as a power cut does."""
        self.empty()
        if self._daemon is not None:
            self._daemon.wait()
        self._unmount()
        # What a machine that starts anew finds of its containers: nothing runs.
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        (self.folder / "pid").unlink(missing_ok=True)

    def _unmount(self) -> None:
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounted if m.startswith(f"{self.folder}/")), reverse=True):
            _run("umount", "-l", mount, check=False)

    def empty(self) -> None:
        """End whatever runs in the namespace and below it, that of a run which was killed, too."""
        own = [int(pid) for pid in _run("ip", "netns", "pids", self.name, check=False).split()]
        # Containers have a namespace of their own.
        pids = {pid for parent in own for pid in (parent, *_below(parent))}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(_runs, pids)), Deadline(10.0))


def _below(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _take_number() -> tuple[int, int]:
    """The open lock of a pair's number, and the number: it names the pair's links and networks."""
    for number in range(100):
        lock = os.open(Path(tempfile.gettempdir()) / f"rafiki-hosts-{number}.lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return lock, number
    raise DockerUnavailableError("100 pairs of Docker hosts are up on this machine")


class DockerHosts:
    """The two hosts. Several pairs may be up on one machine, also of several test runs.

    Raises:
        DockerUnavailableError: when the machine lacks what they need, or 100 pairs are up.
    """

    def __init__(self, hostnames: tuple[str, str] | None = None) -> None:
        check_docker()
        self._lock, number = _take_number()
        self.folder = Path(tempfile.mkdtemp(prefix="rafiki-hosts-"))
        self._switch = f"rfbr{number}"
        self._net = f"10.{100 + number}.0"
        self.address = f"{self._net}.254"
        """This machine's, where both hosts reach it."""
        self.hosts = [
            DockerHost(self.folder, f"rfh{number}-{i}", f"{self._net}.{i}", hostnames[i - 1] if hostnames else None)
            for i in (1, 2)
        ]

    @property
    def manager(self) -> DockerHost:
        return self.hosts[0]

    @property
    def other(self) -> DockerHost:
        return self.hosts[1]

    def up(self) -> None:
        """Start both, with an image like Python's on each."""
        self.start()
        self.import_base()

    def start(self) -> None:
        """Start both, without images."""
        self._take_away_links()
        _run("ip", "link", "add", self._switch, "type", "bridge")
        _run("ip", "addr", "add", f"{self.address}/24", "dev", self._switch)
        _run("ip", "link", "set", self._switch, "up")
        for host in self.hosts:
            _run("ip", "netns", "add", host.name)
            _run("ip", "link", "add", host.name, "type", "veth", "peer", "name", "wire", "netns", host.name)
            _run("ip", "link", "set", host.name, "master", self._switch, "up")
            _run("ip", "-n", host.name, "link", "set", "lo", "up")
            _run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", "wire")
            _run("ip", "-n", host.name, "link", "set", "wire", "up")
            _run("ip", "-n", host.name, "route", "add", "default", "via", self.address)
        for host in self.hosts:
            host.start()
        for client in self.make_swarm():
            client.close()

    def import_base(self) -> None:
        """Bring :data:`BASE` to both hosts."""
        base = self.folder / "base.tar"
        write_base(base)
        repository, tag = BASE.split(":")
        for host in self.hosts:
            client = host.wait()
            client.import_image_from_file(
                str(base), repository=repository, tag=tag,
                changes=["ENV PATH=/usr/local/bin:/usr/bin:/bin", 'CMD ["python3"]'],
            )  # fmt: skip
            client.close()
        base.unlink()

    def make_swarm(self) -> tuple[docker.APIClient, docker.APIClient]:
        """One Swarm of both; clients of their engines."""
        manager, other = (host.wait() for host in self.hosts)
        manager.init_swarm(advertise_addr=self.manager.address, listen_addr=f"{self.manager.address}:2377")
        token = manager.inspect_swarm()["JoinTokens"]["Worker"]
        other.join_swarm(
            [f"{self.manager.address}:2377"], token, listen_addr=f"{self.other.address}:2377",
            advertise_addr=self.other.address,
        )  # fmt: skip
        return manager, other

    @contextlib.contextmanager
    def firewall(self, port: int) -> Iterator[None]:
        """Meanwhile nothing of the other host's reaches this port of this machine."""
        rule = ["-p", "tcp", "-d", self.address, "--dport", str(port), "-j", "DROP"]
        chains = ("FORWARD", "OUTPUT")
        for chain in chains:
            self._in_other("iptables", "-I", chain, *rule)
        try:
            yield
        finally:
            for chain in chains:
                self._in_other("iptables", "-D", chain, *rule)

    def _in_other(self, *command: str) -> None:
        _run("nsenter", f"--net=/run/netns/{self.other.name}", *command)

    def tear_down_swarm(self) -> None:
        """Whoever owns the hosts has it no more, as with `docker swarm leave --force` on each."""
        for host in reversed(self.hosts):
            client = host.wait()
            client.leave_swarm(force=True)
            client.close()

    def kill_other(self) -> None:
        """Take the power from the other host."""
        self.other.kill()

    def start_other(self) -> None:
        """Give the other host its power back, and wait until it is in the Swarm again."""
        self.other.start()
        self.other.wait().close()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Both nodes are in the Swarm."""
        client = self.manager.wait()
        assert wait_until(lambda: _are_ready(client), Deadline(_START_TIMEOUT_S)), "a node is not back"
        client.close()

    def cut_off(self) -> None:
        """Take the other host off the network."""
        _run("ip", "link", "set", self.other.name, "down")

    def connect(self) -> None:
        """Bring the other host back."""
        _run("ip", "link", "set", self.other.name, "up")

    def bring_back(self) -> None:
        """Give back whatever a test that failed took away: the network, power, the Swarm, and nodes that take work."""
        self.connect()
        if not self.other.is_on():
            self.other.start()
            self.other.wait().close()
        manager = self.manager.wait()
        if manager.info()["Swarm"]["LocalNodeState"] != "active" or len(manager.nodes()) != len(self.hosts):
            self.tear_down_swarm()
            for client in self.make_swarm():
                client.close()
        for node in manager.nodes():
            if node["Spec"]["Availability"] != "active":
                manager.update_node(node["ID"], node["Version"]["Index"], {**node["Spec"], "Availability": "active"})
        manager.close()
        self.wait_until_ready()

    def down(self) -> None:
        for host in reversed(self.hosts):
            host.stop()
        self._take_away_links()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def _take_away_links(self) -> None:
        for host in self.hosts:
            host.empty()
            _run("ip", "link", "del", host.name, check=False)
            _run("ip", "netns", "del", host.name, check=False)
        _run("ip", "link", "del", self._switch, check=False)


def _are_ready(client: docker.APIClient) -> bool:
    return all(node["Status"]["State"] == "ready" for node in client.nodes())


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
