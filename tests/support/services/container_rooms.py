"""Every container back end, with the means to look into its services: the suite of containers runs over all of them.

A new back end is one class here, and one entry in :data:`BACK_ENDS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import docker
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support.http.threaded_server import ThreadedServer
from support.stacks.running_stack import eventually
from support.swarm.docker_hosts import DockerHosts
from support.swarm.worker_image import TEST_IMAGE

from rafiki.config import worker_environment
from rafiki.container import ContainerManager, ContainerSetup, open_container_manager
from rafiki.container.base import ServiceExit, ServiceRequest, StartedService
from rafiki.entities import Gpu
from rafiki.sandbox.bubblewrap import open_sandbox
from rafiki.sandbox.sandbox import DOORS
from rafiki.settings import ClusterConfig, Config, ContainerConfig
from rafiki.utils.ids import new_id
from rafiki.utils.process import end_processes, find_stack_processes

TESTS = str(Path(__file__).resolve().parents[2])
"""Where the program of the tests' services is found from."""
FOREVER = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
DEAF = "import signal\nfor s in (signal.SIGTERM, signal.SIGINT): signal.signal(s, signal.SIG_IGN)\n" + FOREVER
SPAWN = """
import os, subprocess, sys
for apart in (False, True):
    p = subprocess.Popen(["sleep", "600"], start_new_session=apart)
    print("child", p.pid, flush=True)
"""
"""Starts two processes, the second in a session of its own."""


class Doorstep:
    """A door that keeps what is left there."""

    spec_url = "http://127.0.0.1:1/services/self/spec"

    def __init__(self) -> None:
        self.specs: dict[str, bytes] = {}

    def admit(self, service_id: str, spec: bytes) -> str:
        self.specs[service_id] = spec
        return service_id

    def dismiss(self, service_id: str) -> None:
        self.specs.pop(service_id, None)


class OpenDoor(Doorstep):
    """A door that services on other hosts reach."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self._server = ThreadedServer(Starlette(routes=[Route("/services/self/spec", self._get)]), host=host)
        self.spec_url = f"{self._server.url}/services/self/spec"

    async def _get(self, request: Request) -> Response:
        service_id = request.headers["authorization"].rpartition(" ")[2]
        return Response(self.specs[service_id])

    def close(self) -> None:
        self._server.close()


class ContainerRoom(ABC):
    """One stack's services, which run whatever Python code a test gives them (see ``container_service.py``)."""

    backend: str
    """The value of ``container.backend``."""
    gpus_variable = "CUDA_VISIBLE_DEVICES"
    """What tells model code which devices of its host it sees."""
    no_gpus = "-1"
    """The value of it that shows none."""
    knows_memory = True
    """Whether what a worker uses is known."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.run, self.logs = folder / "run", folder / "logs"
        for f in (self.run, self.logs):
            f.mkdir(parents=True)
        self.door = self.make_door()

    def make_door(self) -> Doorstep:
        """Where services that run elsewhere fetch their specs."""
        return Doorstep()

    def setup(self, *, model_environment: dict[str, str] | None = None, **settings: object) -> ContainerSetup:
        """As a (re)started admin makes it; ``settings`` are of the section ``container``."""
        section = msgspec.convert({"gpus": [], **settings, "backend": self.backend}, ContainerConfig)
        return ContainerSetup(
            config=Config(container=section), stack_root=self.root, run_folder=self.run, log_folder=self.logs,
            model_environment=model_environment or worker_environment(["PASSED_ON"]), door=self.door,
        )  # fmt: skip

    def manager(self, *, model_environment: dict[str, str] | None = None, **settings: object) -> ContainerManager:
        return open_container_manager(self.setup(model_environment=model_environment, **settings))

    def request(self, code: str, *, model: bool = True, gpus: list[Gpu] | None = None) -> ServiceRequest:
        """A service that runs the code."""
        return ServiceRequest(
            service_id=new_id(), kind="train" if model else "advisor", module="support.services.container_service",
            make_spec=lambda _: code.encode(), gpus=gpus or [], runs_model_code=model,
        )  # fmt: skip

    @abstractmethod
    def log(self, request: ServiceRequest) -> str:
        """All that a service has written."""

    @abstractmethod
    def count_processes(self, request: ServiceRequest) -> int:
        """How many processes of a service run, those that it has started included."""

    @abstractmethod
    def gpus(self) -> list[Gpu]:
        """Two GPUs that services can be given, whether they are there or not."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing of the stack."""

    def wait_for_log(self, request: ServiceRequest, text: str = "ready") -> None:
        eventually(lambda: text in self.log(request), f"{text!r} in the service's log")


class ProcessRoom(ContainerRoom):
    """Processes of this machine. ``PYTHONPATH`` has to lead to the program."""

    backend = "process"

    def log(self, request: ServiceRequest) -> str:
        return (self.logs / f"{request.kind}-{request.service_id}.log").read_text()

    def count_processes(self, request: ServiceRequest) -> int:
        return len(find_stack_processes(self.root, service_id=request.service_id))

    def gpus(self) -> list[Gpu]:
        return [Gpu("local", "3"), Gpu("local", "0")]

    def close(self) -> None:
        end_processes(find_stack_processes(self.root), 0.0)


class BoxedRoom(ProcessRoom):
    """Processes of this machine; those that run model code are in boxes."""

    def setup(self, *, model_environment: dict[str, str] | None = None, **settings: object) -> ContainerSetup:
        setup = super().setup(model_environment=model_environment, **settings)
        (self.run / DOORS).mkdir(exist_ok=True)
        sandbox = open_sandbox(setup.config.container, self.root, self.root)
        return msgspec.structs.replace(setup, sandbox=sandbox)

    def count_processes(self, request: ServiceRequest) -> int:
        found = find_stack_processes(self.root, service_id=request.service_id)
        return sum(p.name() != "bwrap" for p in found)


class SwarmRoom(ContainerRoom):
    """Two Docker hosts. What runs no model code are processes of this machine."""

    backend = "swarm"
    gpus_variable = "NVIDIA_VISIBLE_DEVICES"
    no_gpus = "void"
    knows_memory = False
    hosts: DockerHosts
    """Set by the suite's fixture, which brings them up once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._processes = ProcessRoom(folder / "beside")
        self._processes.root, self._processes.logs = self.root, self.logs
        self._clients = [docker.APIClient(base_url=host.socket, version="auto") for host in self.hosts.hosts]

    def make_door(self) -> Doorstep:
        return OpenDoor(self.hosts.address)

    def setup(self, *, model_environment: dict[str, str] | None = None, **settings: object) -> ContainerSetup:
        # Little time for the deaf: a Swarm is told it when a service starts, and not when it is stopped.
        own = {"engine": self.hosts.manager.socket, "image": TEST_IMAGE, "stop_timeout_s": 1.0, "gpus": []}
        setup = super().setup(model_environment=model_environment, **{**own, **settings})
        return msgspec.structs.replace(
            setup,
            config=msgspec.structs.replace(setup.config, cluster=ClusterConfig(advertise_host=self.hosts.address)),
        )

    def log(self, request: ServiceRequest) -> str:
        file = self.logs / f"{request.kind}-{request.service_id}.log"
        return file.read_text() if file.exists() else ""

    def count_processes(self, request: ServiceRequest) -> int:
        return self._processes.count_processes(request) + sum(
            len(client.top(container["Id"])["Processes"]) - 1  # its first process starts and reaps the others
            for client in self._clients
            for container in client.containers(filters={"label": f"rafiki.service={request.service_id}"})
        )

    def gpus(self) -> list[Gpu]:
        return [Gpu(self.hosts.other.name, "3"), Gpu(self.hosts.other.name, "0")]

    def close(self) -> None:
        self._processes.close()
        label = {"label": f"rafiki.stack={self.root}"}
        for service in self._clients[0].services(filters=label):
            self._clients[0].remove_service(service["ID"])
        for secret in self._clients[0].secrets(filters=label):
            self._clients[0].remove_secret(secret["ID"])
        for client in self._clients:
            client.close()
        assert isinstance(self.door, OpenDoor)
        self.door.close()


BACK_ENDS: dict[str, Callable[[Path], ContainerRoom]] = {
    "process": ProcessRoom,
    "boxes": BoxedRoom,
    "swarm": SwarmRoom,
}
"""A room in a folder that is not there yet, by the back end's name."""


def wait_for_end(manager: ContainerManager, request: ServiceRequest, started: StartedService) -> ServiceExit:
    """How a service ended that ends by itself."""
    found: ServiceExit = eventually(lambda: manager.poll(request.service_id, started.handle), "the end of the service")
    return found


def run(room: ContainerRoom, manager: ContainerManager, request: ServiceRequest) -> str:
    """The log of a service that ends by itself."""
    wait_for_end(manager, request, manager.start(request))
    return room.log(request)
