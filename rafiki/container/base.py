"""The law for every back end that runs services."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from rafiki.container.cluster import Cluster
from rafiki.container.hosts import Host
from rafiki.entities import Gpu
from rafiki.sandbox.sandbox import Sandbox
from rafiki.settings import Config


class Address(msgspec.Struct, frozen=True):
    """Where a service listens, or is to."""

    host: str
    port: int

    def __str__(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class CheckedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a model names, and that its workers can run in."""

    digest: str | None = None
    """What the name means now; None where no service runs in it."""
    note: str | None = None
    """What its owner should know."""


class NodePackages(msgspec.Struct, frozen=True, kw_only=True):
    """Packages that were installed on nodes."""

    folder: str
    """In the volume of environments, or in the image."""
    node_ids: list[str]
    """The nodes that have them: the service runs on one of these."""
    image: str | None = None
    """That has them, by its digest, in that folder of it; then any node will do. None = volumes of these nodes."""


class BuiltImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that was built, and is in a registry."""

    image: str
    """By its digest."""
    size_bytes: int
    """What it takes beyond the image that it was built on."""


class OneShots(Protocol):
    """Runs programs on nodes, each once: see :class:`rafiki.environments.nodes.NodeRunner`."""

    def list_nodes(self) -> Mapping[str, str]: ...

    def identify_image(self, image: str | None) -> tuple[str, Mapping[str, str]]: ...

    def run_once(
        self, node_id: str, image: str | None, program: Sequence[str], request: bytes, *, log: Callable[[bytes], None],
        timeout_s: float, stop: threading.Event,
    ) -> str | None: ...  # fmt: skip


class PackageImages(Protocol):
    """Builds images with packages: see :class:`rafiki.environments.images.PackageImages`."""

    @property
    def registry(self) -> str: ...

    def identify_image(self, image: str | None) -> tuple[str, Mapping[str, str]]: ...

    def find(self, tag: str) -> str | None: ...

    def build(
        self, tag: str, image: str | None, program: Sequence[str], request: bytes, *, log: Callable[[bytes], None],
        is_wanted: Callable[[], bool], timeout_s: float, stop: threading.Event,
    ) -> BuiltImage | None: ...  # fmt: skip

    def remove(self, tag: str) -> None: ...


class ServiceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A service to start."""

    service_id: str
    kind: str
    """``advisor``, ``train``, ``predict`` or ``inference``: names the log."""
    module: str
    """The program: a Python module that is run with the path of a file that holds the spec."""
    make_spec: Callable[[Address | None], bytes]
    """What the service reads at its start. The back end allocates where the service is to listen, and then asks for it;
    None = it listens nowhere. A spec may hold credentials: it travels where its service alone can read it."""
    listens: bool = False
    """Whether others connect to it."""
    last_port: int | None = None
    """The port that its predecessor had. It is given again if it is free, so that clients find the service again."""
    gpus: list[Gpu]
    """The GPUs that it may see, of the host that it is to run on; none = it sees none."""
    host: str | None = None
    """The name of the host that it is to run on, of :meth:`ContainerManager.hosts`; None = any will do."""
    runs_model_code: bool
    """Then it gets the allow-listed environment and the memory limit."""
    python: str | None = None
    """The interpreter to run with, where the back end has no images; None = Rafiki's own."""
    image: str | None = None
    """The image to run in, where the back end has images; None = Rafiki's own."""
    image_digest: str | None = None
    """What that name meant when it was checked."""
    packages: NodePackages | None = None
    """The packages that its model depends on, where the back end has images; None = the image has them."""
    reads: list[Path] = []
    """Files of this machine that it reads, where it runs in a box: see :meth:`ContainerManager.is_boxed`."""
    direct_folder: Path | None = None
    """A folder of this machine in which its job's predictors listen; a box sees it as ``DIRECT`` in ``BOX_FOLDER``."""
    sharing: int = 1
    """How many workers of its job, it included, share the machine's cores."""


class StartedService(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a service that runs."""

    handle: str
    """Finds it again. The back end that made this text alone reads it; the caller keeps it."""
    address: Address | None = None
    """Where others reach it: not always where it listens itself. None = it does not listen."""


class ServiceExit(msgspec.Struct, frozen=True, kw_only=True):
    """How a service ended."""

    code: int | None
    """Exit code; negative = killed by that signal; None = not known, because it was adopted."""
    reason: str
    """For people: the code or signal in words, with the last lines of its log."""
    refused_by: str | None = None
    """The host that could not start it, or did not take it: another may."""
    has_run: bool = True
    """False: it was never started, and its end says nothing of it."""


class ServiceUsage(msgspec.Struct, frozen=True, kw_only=True):
    pid: int | None
    """None where it is no process of this machine, too."""
    memory_bytes: int | None
    host: str | None = None
    """Where it runs; None for a process of this machine."""


class ContainerManager(ABC):
    """Starts, watches and stops services.

    A service is known by its id and by its *handle*: a text that :meth:`start` returns, and that the caller keeps. With
    the handle a later process can poll and stop what an earlier one started; without it (the caller died before it
    could keep it) :meth:`find` finds the service by its id alone. A handle that this back end has not made (the stack
    had another one before) names a service that has ended. Handles that an earlier version has made are read as well.

    All methods may be called from any thread; those for different services, at once. Failures of the back end raise
    ContainerError.
    """

    def is_elsewhere(self, kind: str) -> bool:
        """Whether services of a kind see no file of this machine, or run on another one.

        Then their specs name stores and the cache by addresses that are reached from there, and they fetch these specs
        from the admin: see :class:`ServiceDoor`.
        """
        return False

    def is_boxed(self, kind: str) -> bool:
        """Whether services of a kind run on this machine in a box, which holds what their requests name.

        They reach the cache and the admin by the doors in ``BOX_FOLDER``, through which only what is their job's goes.
        """
        return False

    def one_shots(self) -> OneShots | None:
        """Runs programs on nodes, where services run in images there; None where they are processes beside the admin.

        Then what models depend on is installed by such programs, into a volume of each node.
        """
        return None

    def package_images(self) -> PackageImages | None:
        """Builds images with what models depend on, where a registry for them is configured; None elsewhere."""
        return None

    def on_missing_packages(self, listener: Callable[[str], None]) -> None:  # noqa: B027 - no duty of all
        """Have ``listener`` called with a node's id when a service ended there because its packages were gone."""

    def check_image(self, image: str) -> CheckedImage:
        """Look at an image that a model names, before it is recorded.

        Raises:
            InvalidImageError: no worker could run in it.
        """
        return CheckedImage(note="it is not used: workers are processes beside the admin, in its own Python")

    def find_image_problem(self, image: str, digest: str) -> str | None:
        """Why no worker can run in an image that was checked; None when they can. Cheap: asked at each look."""
        return None

    def find_image_change(self, image: str, digest: str) -> str | None:
        """What is to be said when the name of an image means another one by now; None where it does not."""
        return None

    @abstractmethod
    def start(self, request: ServiceRequest) -> StartedService:
        """Start a service; its handle, and its address if it is one that listens. Does not wait until it is ready.

        Nothing listens at the address when it is allocated. A service that finds its port taken all the same ends with
        an error, as one that fails in any other way, and the caller starts another.
        """

    @abstractmethod
    def find(self, service_id: str) -> StartedService | None:
        """What :meth:`start` returned for a service that runs; None when none runs under this id."""

    @abstractmethod
    def poll(self, service_id: str, handle: str) -> ServiceExit | None:
        """None while the service runs, else how it ended. An unknown service has ended."""

    def poll_all(self, handles: Mapping[str, str]) -> dict[str, ServiceExit | None]:
        """:meth:`poll` of many services, by their ids. A back end that can list its services does so in one call."""
        return {service_id: self.poll(service_id, handle) for service_id, handle in handles.items()}

    def find_waiting(self, service_ids: Iterable[str]) -> dict[str, str]:
        """Those of the services whose programs had not begun at the last poll, and what each waits for: ``a node``.

        The time does not count as one that their programs take to start. None, where a program begins with its service.
        """
        return {}

    def on_end(self, listener: Callable[[], None]) -> None:  # noqa: B027 - not every back end is told
        """Have ``listener`` called, from another thread, when a service may have ended. A back end that is not told of
        it leaves it to :meth:`poll_all`."""

    @abstractmethod
    def stop(self, service_id: str, handle: str, timeout_s: float) -> None:
        """End a service and everything it started: ask first, kill after ``timeout_s``. Returns when all is gone.

        Stopping what has ended already is no error.
        """

    @abstractmethod
    def usage(self, service_id: str, handle: str) -> ServiceUsage:
        """What a service uses now; None for what is not known."""

    @abstractmethod
    def gpus(self) -> list[Gpu]:
        """The GPUs that can be shared out, those of a host together. Always the same ones by the same names."""

    def hosts(self) -> list[Host]:
        """The machines that train and inference services may be given, as of the last look; none = the back end itself
        chooses where they run."""
        return []

    def look_at_hosts(self, timeout_s: float) -> list[Host]:
        """:meth:`hosts`, with what they have looked at anew, for whoever is about to show or to count it. Takes no
        longer than told, and with 0 asks the back end alone; what is not known then is left out."""
        return self.hosts()

    def find_hosts(self, service_ids: Iterable[str]) -> dict[str, str]:
        """Where those of the services are, or are to be, of which it was known at the last poll: names of
        :meth:`hosts`."""
        return {}

    @property
    def cluster(self) -> Cluster | None:
        """What changes the set of hosts; None where there is one machine."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Let go of the back end. Services run on."""


class ServiceDoor(Protocol):
    """Where services that run elsewhere come in: over HTTP, each with a token of its own."""

    @property
    def spec_url(self) -> str:
        """Where they fetch their specs: the only argument of their programs."""

    def admit(self, service_id: str, spec: bytes) -> str:
        """Keep a service's spec until it is fetched, and after; the token that it comes in with.

        It is a text of one line, or of several where the door speaks TLS: below the token are the authorities that may
        have signed its certificate. It travels where its service alone can read it: in a file that the variable
        ``RAFIKI_SERVICE_TOKEN_FILE`` names.
        """

    def dismiss(self, service_id: str) -> None:
        """The service has ended: forget its spec."""


class ContainerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What a back end is opened with."""

    config: Config
    stack_root: Path
    """Names the stack: two stacks may use one back end, and never see each other's services."""
    stack_id: str = ""
    """Stays with the stack when its folder is moved; other than ``stack_root``, no two stacks of a network share it."""
    run_folder: Path
    """For files that do not outlive the services they belong to."""
    log_folder: Path
    """Where the logs of services are read: ``<kind>-<service id>.log``."""
    model_environment: dict[str, str]
    """All variables of the environment that model code may see."""
    door: ServiceDoor
    """For services that run elsewhere."""
    sandbox: Sandbox | None = None
    """For model code that runs on this machine; None = it sees what the user of the stack sees."""


class ContainerBackend(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of :data:`rafiki.container.BACKENDS`."""

    about: str
    """For people: ``processes of this machine``."""
    open: Callable[[ContainerSetup], ContainerManager]
    """Opens a manager. Raises ContainerError when the technology cannot be reached, ConfigError for its settings."""
    sweep: Callable[[Config, str], None] | None = None
    """Takes away what runs elsewhere of the stack with this id, when no admin is there to do so. Raises ContainerError
    when it cannot be reached. None = all services are processes of this machine, which are found without it."""
    uses_docker: bool = False
    """Whether a Docker that does not answer is a problem of the stack, for `rafiki doctor`."""


Handle = TypeVar("Handle", bound=msgspec.Struct)


def read_handle(handle: str, kind: type[Handle]) -> Handle | None:
    """A handle that is a struct as JSON; None when another back end has made it."""
    try:
        return msgspec.json.decode(handle, type=kind)
    except msgspec.DecodeError:
        return None
