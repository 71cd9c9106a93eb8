"""Workers as services of a Docker Swarm, on one host or many; advisors and predictors stay beside the admin."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from rafiki.constants import ExitCode
from rafiki.container import endings
from rafiki.container.base import (
    Address,
    CheckedImage,
    ContainerBackend,
    ContainerManager,
    ContainerSetup,
    ServiceExit,
    ServiceRequest,
    ServiceUsage,
    StartedService,
    read_handle,
)
from rafiki.container.cluster import Cluster
from rafiki.container.hosts import Host
from rafiki.container.process import ProcessContainerManager
from rafiki.container.swarm_engine import AnswerError, Engine, EngineInfo, is_conflict, missing_is_fine
from rafiki.container.swarm_images import SwarmImages
from rafiki.container.swarm_logs import SwarmLogs
from rafiki.container.swarm_nodes import SwarmCluster
from rafiki.container.swarm_once import SwarmOneShots
from rafiki.container.swarm_packages import SwarmPackageImages, check_registry, remove_containers
from rafiki.container.swarm_service import (
    KIND_LABEL,
    SERVICE_LABEL,
    STACK_LABEL,
    Limits,
    image_of,
    labels_of,
    service_name,
    service_spec,
    stack_label,
)
from rafiki.container.swarm_tasks import Ending, Node, Task, find_ending
from rafiki.container.swarm_view import Listing, SwarmView
from rafiki.distribution import IMAGE, LOCAL_REGISTRY
from rafiki.entities import Gpu
from rafiki.errors import ConfigError, ContainerError
from rafiki.settings import Config
from rafiki.utils.addresses import find_public, is_loopback
from rafiki.utils.clock import Deadline
from rafiki.utils.process import wait_until

logger = logging.getLogger(__name__)
_KINDS = frozenset({"train", "inference"})
_NOWHERE = "node.id==none"
"""A constraint that no node meets: the Swarm ends the task of a service that is given it, and keeps how it ended."""
_STOP_TAKES_S = 15.0
"""What a Swarm needs to end a service, beyond the service's own time."""
_MOST_REMEMBERED = 10_000
_MOST_LOGS = 16
"""Whose rest is fetched at the same time."""
_MOST_ATTEMPTS = 5
"""To change what others change, too."""
_UNKNOWN = ServiceExit(code=None, reason="it is not in the Swarm (any more)")


class _Handle(msgspec.Struct, frozen=True):
    """A service of this back end, as JSON: these fields are in databases."""

    swarm_service: str
    secret: str
    kind: str


class _ServiceVersion(msgspec.Struct, rename="pascal"):
    index: int


class _SwarmService(msgspec.Struct, rename="pascal"):
    """As the engine lists it; the specification is passed back as it came."""

    id: str = msgspec.field(name="ID")
    version: _ServiceVersion
    spec: dict[str, msgspec.Raw]


class _ServiceLabels(msgspec.Struct, rename="pascal"):
    labels: dict[str, str]


class _Whereabouts(msgspec.Struct, frozen=True):
    host: str | None
    """Where it is, or is to be."""
    waits_for: str | None


def _read_handle(handle: str) -> _Handle | None:
    """None when another back end has made it."""
    return read_handle(handle, _Handle)


class SwarmContainerManager(ContainerManager):
    """Back end for the hosts of one Swarm."""

    def __init__(self, setup: ContainerSetup) -> None:
        """
        Raises:
            ContainerError: there is no engine to work with, or it lacks the image.
            ConfigError: other hosts could not reach this one.
        """
        self._setup = setup
        self._local = ProcessContainerManager(setup)
        self._engine = Engine(setup.config.container.engine)
        try:
            self._check_way()
            if setup.config.container.registry is not None:
                check_registry(setup.config.container.registry)
            self._own_node_id = self._join()
            self._view = SwarmView(self._engine, setup, self._own_node_id)
            nodes = self._view.nodes()
            self._network = _network(setup, nodes)
            self._check_image()
        except BaseException:
            self._engine.close()
            raise
        self._limits = Limits(
            cores_of_a_node=max(1, min(_cores(node) for node in nodes.values())),
            cores_of_all=max(1, sum(_cores(node) for node in nodes.values())),
            takes_no_new_privileges=self._engine.has_api(1, 46),
        )
        self._logs = SwarmLogs(self._engine)
        self._one_shots = SwarmOneShots(self._engine, setup, lambda: self._view.nodes().values(), self._network)
        self._package_images = (
            SwarmPackageImages(self._engine, setup, self._one_shots, self._network)
            if setup.config.container.registry
            else None
        )
        self._images = SwarmImages(self._engine, self._one_shots, self._view.own_node_id)
        self._packages_missing: Callable[[str], None] = lambda node_id: None
        self._ends: dict[str, ServiceExit] = {}
        """Of services whose logs are complete, by their ids."""
        self._waits_since: dict[str, float] = {}
        """When services that wait for a node were first seen to, in monotonic time."""
        self._whereabouts: dict[str, _Whereabouts] = {}
        """Of services that run, by their ids, as of the last poll."""
        self._lock = threading.Lock()

    # ---- the Swarm

    def _check_way(self) -> None:
        """Who reads what an engine is told has the secrets of services; who writes it has the nodes."""
        host = self._engine.plain_host
        if host is None or self._setup.config.cluster.insecure or (public := find_public(host)) is None:
            return
        raise ConfigError(
            f"container.engine leads to {public}, which is in no private network, without TLS. Write "
            f"ssh://USER@{host}, or name its certificates with DOCKER_CERT_PATH and DOCKER_TLS_VERIFY=1; to have it "
            "without all the same, set cluster.insecure: true."
        )

    def _join(self) -> str:
        """The id of the engine's node; makes the Swarm where there is none."""
        info = self._info()
        if info.swarm.local_node_state == "inactive":
            host = self._setup.config.cluster.advertise_host or "127.0.0.1"
            logger.warning(
                "The Docker engine at %s is in no Swarm: a Swarm of this one node is made, for services to run in. "
                "`docker swarm leave --force` undoes it.", self._engine.place,
            )  # fmt: skip
            # Nobody joins a Swarm that its owner did not make: it is heard at the address that is advertised alone.
            body = {"ListenAddr": str(Address(host, 2377)), "AdvertiseAddr": host}
            self._engine.post("/swarm/init", body)
            info = self._info()
        if not info.swarm.control_available:
            raise ContainerError(
                f"The Docker engine at {self._engine.place} is a worker of its Swarm ({info.swarm.local_node_state}). "
                "Name the engine of a manager with container.engine in rafiki.yaml, or make this one a manager with "
                "`docker node promote`."
            )
        return info.swarm.node_id

    def _info(self) -> EngineInfo:
        return self._engine.get("/info", EngineInfo)

    def _check_image(self) -> None:
        """What no registry has must be on the nodes; that of the manager is the one that can be asked."""
        image = self._setup.config.container.image or IMAGE
        if not image.startswith(LOCAL_REGISTRY):
            return
        try:
            self._engine.get(f"/images/{image}/json", _Image)
        except AnswerError as e:
            raise ContainerError(
                f"The image {image} is not on the node of {self._engine.place}. Make it with `rafiki image "
                "build`, and bring it to the other nodes with `rafiki image spread`; or name one with container.image."
            ) from e

    # ---- programs that run once

    def one_shots(self) -> SwarmOneShots:
        return self._one_shots

    def package_images(self) -> SwarmPackageImages | None:
        return self._package_images

    def on_missing_packages(self, listener: Callable[[str], None]) -> None:
        self._packages_missing = listener

    # ---- images of models

    def check_image(self, image: str) -> CheckedImage:
        return self._images.check(image)

    def find_image_problem(self, image: str, digest: str) -> str | None:
        try:
            return self._images.find_problem(image, digest)
        except ContainerError:
            # The engine does not answer: what cannot be seen is not decided.
            return None

    def find_image_change(self, image: str, digest: str) -> str | None:
        return self._images.find_change(image, digest)

    # ---- start

    def on_end(self, listener: Callable[[], None]) -> None:
        # A Swarm is asked at each look.
        self._local.on_end(listener)

    def is_elsewhere(self, kind: str) -> bool:
        return kind in _KINDS

    def start(self, request: ServiceRequest) -> StartedService:
        if not self.is_elsewhere(request.kind):
            return self._local.start(request)
        token = self._setup.door.admit(request.service_id, request.make_spec(None))
        secret_id = ""
        try:
            node_id = self._node_for(request)
            secret_id = self._make_secret(request, token)
            spec = service_spec(
                self._setup, request, secret_id=secret_id, network=self._network, limits=self._limits, node_id=node_id,
                not_on=self._nodes_without(request),
            )  # fmt: skip
            swarm_id = self._engine.create_service(spec, image_of(self._setup, request))
        except ContainerError:
            if secret_id:
                self._engine.delete(f"/secrets/{secret_id}")
            self._setup.door.dismiss(request.service_id)
            raise
        handle = _Handle(swarm_id, secret_id, request.kind)
        self._follow(request.service_id, handle)
        return StartedService(handle=msgspec.json.encode(handle).decode())

    def _node_for(self, request: ServiceRequest) -> str | None:
        """The id of the node that it is to run on; None = any that has its packages.

        Raises:
            ContainerError: the node is gone, or lacks the packages and is the one with the GPU.
        """
        host = request.host or next((gpu.host for gpu in request.gpus), None)
        if host is None:
            return None
        node_id = self._view.find_node_id(host)
        if node_id is None:
            raise ContainerError(f"There is no node {host!r} in the Swarm (any more). See `rafiki node list`.")
        if request.packages is None or request.packages.image or node_id in request.packages.node_ids:
            return node_id
        if request.gpus:
            raise ContainerError(
                f"The node {host} lacks the packages of this model: they could not be installed there (`rafiki "
                "environment list` says why)."
            )
        # Another node has them: the Swarm chooses one of these.
        return None

    def _nodes_without(self, request: ServiceRequest) -> list[str]:
        """The ids of the nodes that lack the packages that a service needs."""
        if request.packages is None or request.packages.image is not None:
            return []
        return sorted(self._view.nodes().keys() - set(request.packages.node_ids))

    def _make_secret(self, request: ServiceRequest, token: str) -> str:
        body = {
            "Name": service_name(request),
            "Labels": labels_of(self._setup, request),
            "Data": base64.b64encode(token.encode()).decode(),
        }
        return msgspec.json.decode(self._engine.post("/secrets/create", body), type=_Made).id

    # ---- watch

    def find(self, service_id: str) -> StartedService | None:
        if (started := self._local.find(service_id)) is not None:
            return started
        labels = [stack_label(self._setup), f"{SERVICE_LABEL}={service_id}"]
        for service in self._engine.list("/services", _SwarmService, labels):
            kind = msgspec.json.decode(service.spec["Labels"], type=dict[str, str])[KIND_LABEL]
            secrets = self._engine.list("/secrets", _Made, labels)
            handle = _Handle(service.id, secrets[0].id if secrets else "", kind)
            text = msgspec.json.encode(handle).decode()
            if self.poll(service_id, text) is None:
                return StartedService(handle=text)
        return None

    def poll(self, service_id: str, handle: str) -> ServiceExit | None:
        return self._poll_all({service_id: handle}, only=service_id)[service_id]

    def poll_all(self, handles: Mapping[str, str]) -> dict[str, ServiceExit | None]:
        return self._poll_all(handles)

    def _poll_all(self, handles: Mapping[str, str], only: str | None = None) -> dict[str, ServiceExit | None]:
        exits: dict[str, ServiceExit | None] = {}
        asked: dict[str, _Handle] = {}
        for service_id, handle in handles.items():
            if (known := _read_handle(handle)) is None:
                exits[service_id] = self._local.poll(service_id, handle)
            elif (end := self._ends.get(service_id)) is not None:
                exits[service_id] = end
            else:
                asked[service_id] = known
        if asked:
            listing = self._view.look(only)
            missing = asked.keys() - {i for i, known in asked.items() if known.swarm_service in listing.tasks}
            young = self._without_tasks() if missing else frozenset()
            # Side by side: the rest of a log is fetched from the host, and many services end with a host.
            with ThreadPoolExecutor(max_workers=_MOST_LOGS, thread_name_prefix="last words") as pool:
                last_words: dict[str, Future[ServiceExit]] = {}
                for service_id, known in asked.items():
                    found = self._how(service_id, known, listing, young)
                    if isinstance(found, Ending):
                        last_words[service_id] = pool.submit(self._note_end, service_id, known, found)
                    else:
                        exits[service_id] = found
            exits.update({service_id: end.result() for service_id, end in last_words.items()})
        return exits

    def hosts(self) -> list[Host]:
        return self._view.hosts()

    def look_at_hosts(self, timeout_s: float) -> list[Host]:
        return self._view.look_at_hosts(timeout_s)

    def find_hosts(self, service_ids: Iterable[str]) -> dict[str, str]:
        with self._lock:
            seen = {i: at.host for i in service_ids if (at := self._whereabouts.get(i)) is not None}
        return {service_id: host for service_id, host in seen.items() if host is not None}

    @property
    def cluster(self) -> Cluster:
        return SwarmCluster(self._engine, self._view.own_node_id())

    def _without_tasks(self) -> frozenset[str]:
        """Services of the stack: one that was just made has no task yet."""
        services = self._engine.list("/services", _SwarmService, [stack_label(self._setup)])
        return frozenset(service.id for service in services)

    def _how(
        self, service_id: str, known: _Handle, listing: Listing, there: frozenset[str]
    ) -> Ending | ServiceExit | None:
        task = listing.tasks.get(known.swarm_service)
        if task is None:
            return None if known.swarm_service in there else _UNKNOWN
        limit_mb = self._setup.config.container.memory_limit_mb
        ending = find_ending(task, listing.nodes, limit_mb, self._waited_s(service_id, task))
        host = self._view.names.get(task.wanted_node_id)
        with self._lock:
            self._whereabouts[service_id] = _Whereabouts(host, task.find_wait(host) if ending is None else None)
        if ending is None:
            self._follow(service_id, known)
            return None
        if ending.code == ExitCode.NO_PACKAGES:
            self._packages_missing(task.node_id)
        return ending

    def _note_end(self, service_id: str, known: _Handle, ending: Ending) -> ServiceExit:
        log_file = self._log_file(service_id, known)
        self._logs.finish(known.swarm_service, log_file, can_ask=ending.has_log)
        reason = ending.how if ending.code == 0 else endings.with_last_words(ending.how, log_file)
        with self._lock:
            at = self._whereabouts.get(service_id)
        end = ServiceExit(code=ending.code, reason=reason, refused_by=at.host if at and ending.is_refusal else None)
        self._remember(service_id, end)
        return end

    def _waited_s(self, service_id: str, task: Task) -> float:
        """How long a service has waited for a node, since it was first seen to: the manager may have another clock."""
        with self._lock:
            if not task.waits_for_a_node:
                self._waits_since.pop(service_id, None)
                return 0.0
            return time.monotonic() - self._waits_since.setdefault(service_id, time.monotonic())

    def _remember(self, service_id: str, end: ServiceExit) -> None:
        with self._lock:
            self._waits_since.pop(service_id, None)
            self._whereabouts.pop(service_id, None)
            self._ends.setdefault(service_id, end)
            while len(self._ends) > _MOST_REMEMBERED:
                del self._ends[next(iter(self._ends))]

    def _follow(self, service_id: str, known: _Handle) -> None:
        self._logs.follow(known.swarm_service, self._log_file(service_id, known))

    def _log_file(self, service_id: str, known: _Handle) -> Path:
        return self._setup.log_folder / f"{known.kind}-{service_id}.log"

    def find_waiting(self, service_ids: Iterable[str]) -> dict[str, str]:
        with self._lock:
            seen = {i: at.waits_for for i in service_ids if (at := self._whereabouts.get(i)) is not None}
        return {service_id: waits_for for service_id, waits_for in seen.items() if waits_for is not None}

    def usage(self, service_id: str, handle: str) -> ServiceUsage:
        """Where it runs, as of the last poll. What it uses it tells itself: a manager cannot ask other nodes."""
        if _read_handle(handle) is None:
            return self._local.usage(service_id, handle)
        with self._lock:
            at = self._whereabouts.get(service_id)
        return ServiceUsage(pid=None, memory_bytes=None, host=at.host if at else None)

    # ---- stop

    def stop(self, service_id: str, handle: str, timeout_s: float) -> None:
        """A service that is deaf has the time of its start, ``container.stop_timeout_s``: a Swarm takes no other."""
        if (known := _read_handle(handle)) is None:
            self._local.stop(service_id, handle, timeout_s)
            return
        if self.poll(service_id, handle) is None:
            self._ask_to_end(known)
            limit_s = self._setup.config.container.stop_timeout_s + _STOP_TAKES_S
            if not wait_until(lambda: self._is_gone(service_id, handle, known), Deadline(limit_s)):
                logger.warning("service %s does not end on its host; it is taken out of the Swarm", service_id)
        self._logs.finish(known.swarm_service, self._log_file(service_id, known), can_ask=False)
        self._engine.delete(f"/services/{known.swarm_service}")
        if known.secret:
            self._engine.delete(f"/secrets/{known.secret}")
        self._setup.door.dismiss(service_id)

    def _ask_to_end(self, known: _Handle) -> None:
        """The Swarm keeps the task, its exit code and its log until the service is removed."""
        with missing_is_fine():
            # Somebody else may change the service at the same time: then its version is another.
            for attempt in range(_MOST_ATTEMPTS):
                service = self._engine.get(f"/services/{known.swarm_service}", _SwarmService)
                template = msgspec.json.decode(service.spec["TaskTemplate"], type=dict[str, msgspec.Raw])
                template["Placement"] = msgspec.Raw(msgspec.json.encode({"Constraints": [_NOWHERE]}))
                spec = {**service.spec, "TaskTemplate": template}
                body = msgspec.json.decode(msgspec.json.encode(spec))
                try:
                    self._engine.post(
                        f"/services/{known.swarm_service}/update", body, version=str(service.version.index)
                    )
                    return
                except AnswerError as e:
                    if attempt == _MOST_ATTEMPTS - 1 or not (is_conflict(e) or "out of sequence" in e.message):
                        raise

    def _is_gone(self, service_id: str, handle: str, known: _Handle) -> bool:
        if self.poll(service_id, handle) is not None:
            return True
        # One that no node had taken has nothing to end.
        task = self._view.look(service_id).tasks.get(known.swarm_service)
        return task is not None and not task.node_id

    def gpus(self) -> list[Gpu]:
        """Those of all nodes, also of one that takes no work now: by its label ``rafiki.gpus``, else those that were
        found there. ``container.gpus`` is for the node of the engine."""
        return self._view.gpus()

    def close(self) -> None:
        self._one_shots.close()
        self._view.close()
        self._logs.close()
        self._engine.close()
        self._local.close()


class _Made(msgspec.Struct):
    id: str = msgspec.field(name="ID")


class _Image(msgspec.Struct):
    id: str = msgspec.field(name="Id")


def _cores(node: Node) -> int:
    return node.description.resources.nano_cpus // 1_000_000_000


def _network(setup: ContainerSetup, nodes: Mapping[str, Node]) -> str | None:
    """What services join: their host's own network where the admin is reached by the loopback, else one of their own.

    Raises:
        ConfigError: services come in by the loopback, and there are other hosts.
    """
    host = setup.config.cluster.advertise_host or "127.0.0.1"
    if not is_loopback(host):
        return None
    if len(nodes) > 1:
        others = ", ".join(sorted(node.host for node in nodes.values()))
        raise ConfigError(
            f"The Swarm has {len(nodes)} nodes ({others}), which do not reach this machine by {host}. Set "
            "cluster.advertise_host in rafiki.yaml to its address in their network."
        )
    return "host"


def sweep(config: Config, stack_id: str) -> None:
    """Remove a stack's services and secrets from the Swarm. It gives each service its own time to end."""
    engine = Engine(config.container.engine)
    label = [f"{STACK_LABEL}={stack_id}"]
    try:
        for service in engine.list("/services", _SwarmService, label):
            engine.delete(f"/services/{service.id}")
        for secret in engine.list("/secrets", _Made, label):
            engine.delete(f"/secrets/{secret.id}")
        remove_containers(engine, stack_id)
    finally:
        engine.close()


SWARM = ContainerBackend(
    about="services of a Docker Swarm, on one host or many", open=SwarmContainerManager, sweep=sweep, uses_docker=True
)
