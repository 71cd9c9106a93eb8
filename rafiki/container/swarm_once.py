"""Programs that run once on a node of the Swarm, each as a service that is taken away when it has ended."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from rafiki.container.base import ContainerSetup
from rafiki.container.swarm_engine import Engine
from rafiki.container.swarm_logs import SwarmLogs
from rafiki.container.swarm_service import KIND_LABEL, STACK_LABEL, USER, environments_volume
from rafiki.container.swarm_tasks import Node, Task, find_ending, first_tasks
from rafiki.distribution import IMAGE, PACKAGES_LABEL
from rafiki.utils.clock import Deadline
from rafiki.utils.ids import new_id

_REQUEST_FILE = "/run/secrets/rafiki-request"
_POLL_S = 0.5
_SEEN_FOR_S = 5.0
"""For so long what the engine says of images counts."""


class _Made(msgspec.Struct):
    id: str = msgspec.field(name="ID")


class _ImageConfig(msgspec.Struct, rename="pascal"):
    labels: dict[str, str] | None = None


class _Image(msgspec.Struct, rename="pascal"):
    id: str
    config: _ImageConfig | None = None


class SwarmOneShots:
    """Runs programs on the nodes of one Swarm. Safe to use from several threads.

    Args:
        list_nodes: all nodes of the Swarm.
        network: what the programs join; None = a network of their own with a way out.
    """

    def __init__(
        self, engine: Engine, setup: ContainerSetup, list_nodes: Callable[[], Iterable[Node]], network: str | None
    ) -> None:
        self._engine = engine
        self._setup = setup
        self._list_nodes = list_nodes
        self._network = network
        self._logs = SwarmLogs(engine)
        self._seen_nodes: tuple[float, dict[str, str]] = (-_SEEN_FOR_S, {})
        self._seen_images: dict[str, tuple[float, tuple[str, Mapping[str, str]]]] = {}

    def list_nodes(self) -> Mapping[str, str]:
        """The names of hosts that take services, by the ids of their nodes.

        Raises:
            ContainerError: the engine does not answer.
        """
        seen_at, nodes = self._seen_nodes
        if time.monotonic() - seen_at >= _SEEN_FOR_S:
            nodes = {n.id: n.host for n in self._list_nodes() if n.takes_work}
            self._seen_nodes = (time.monotonic(), nodes)
        return nodes

    def identify_image(self, image: str | None) -> tuple[str, Mapping[str, str]]:
        """What an image is, and the versions of packages that it says it has; one that is not here, by its name.

        Raises:
            ContainerError: the engine does not answer.
        """
        name = image or self._setup.config.container.image or IMAGE
        seen_at, found = self._seen_images.get(name, (-_SEEN_FOR_S, (name, {})))
        if time.monotonic() - seen_at >= _SEEN_FOR_S:
            found = self._identify(name)
            self._seen_images[name] = (time.monotonic(), found)
        return found

    def find_image_id(self, image: str) -> str | None:
        """What the engine's node has under that name at this moment.

        Raises:
            ContainerError: the engine does not answer.
        """
        seen = self._engine.find(f"/images/{image}/json", _Image)
        return None if seen is None else seen.id

    def _identify(self, name: str) -> tuple[str, Mapping[str, str]]:
        seen = self._engine.find(f"/images/{name}/json", _Image)
        if seen is None:
            return name, {}
        labels = (seen.config.labels if seen.config is not None else None) or {}
        with contextlib.suppress(msgspec.DecodeError):
            return seen.id, msgspec.json.decode(labels.get(PACKAGES_LABEL, "{}"), type=dict[str, str])
        return seen.id, {}

    def run_once(
        self, node_id: str, image: str | None, program: Sequence[str], request: bytes, *, log: Callable[[bytes], None],
        timeout_s: float, stop: threading.Event, has_volume: bool = True,
    ) -> str | None:  # fmt: skip
        """Run a program of Python's on a node, with a file that holds ``request``; what it writes goes to ``log``.

        Args:
            program: Python's arguments before the name of that file.
            has_volume: whether it sees the node's environments, and may change them.

        Returns:
            Why it did not end well; None when it did.

        Raises:
            ContainerError: the engine refuses it, or does not answer.
        """
        name = f"rafiki-once-{new_id()}"
        labels = {STACK_LABEL: self._setup.stack_id or str(self._setup.stack_root), KIND_LABEL: "once"}
        image = image or self._setup.config.container.image or IMAGE
        body = {"Name": name, "Labels": labels, "Data": base64.b64encode(request).decode()}
        secret = msgspec.json.decode(self._engine.post("/secrets/create", body), type=_Made).id
        file = self._setup.run_folder / f"{name}.log"
        swarm_id = ""
        try:
            spec = self._spec(name, labels, node_id, image, program, secret, has_volume)
            swarm_id = self._engine.create_service(spec, image)
            return self._wait(swarm_id, file, log, timeout_s, stop)
        finally:
            if swarm_id:
                self._logs.finish(swarm_id, file, can_ask=False)
                self._engine.delete(f"/services/{swarm_id}")
            self._engine.delete(f"/secrets/{secret}")
            file.unlink(missing_ok=True)

    def _wait(
        self, swarm_id: str, file: Path, log: Callable[[bytes], None], timeout_s: float, stop: threading.Event
    ) -> str | None:
        deadline, position, began_at = Deadline(timeout_s), 0, time.monotonic()
        self._logs.follow(swarm_id, file)
        while True:
            task = self._find_task(swarm_id)
            nodes = {node.id: node for node in self._list_nodes()}
            ending = None if task is None else find_ending(task, nodes, None, time.monotonic() - began_at)
            if ending is not None:
                self._logs.finish(swarm_id, file, can_ask=ending.has_log)
            position = _pass_on(file, position, log)
            if ending is not None:
                return None if ending.code == 0 else ending.how
            if deadline.is_over():
                return f"it was not finished within {timeout_s:g} s"
            if stop.wait(_POLL_S):
                return "the stack was stopped meanwhile"

    def _find_task(self, swarm_id: str) -> Task | None:
        tasks = self._engine.get("/tasks", list[Task], filters=json.dumps({"service": [swarm_id]}))
        return first_tasks(tasks).get(swarm_id)

    def _spec(
        self,
        name: str,
        labels: dict[str, str],
        node_id: str,
        image: str,
        program: Sequence[str],
        secret: str,
        has_volume: bool,
    ) -> dict[str, object]:
        settings = self._setup.config.container
        memory_bytes = (settings.memory_limit_mb or 0) << 20
        volume = environments_volume(self._setup)
        return {
            "Name": name,
            "Labels": labels,
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": image,
                    "Command": ["python", *program, _REQUEST_FILE],
                    "Env": ["HOME=/tmp", "PYTHONUNBUFFERED=1"],
                    "User": USER,
                    "Dir": "/tmp",
                    "Labels": labels,
                    "Init": True,
                    "ReadOnly": True,
                    "CapabilityDrop": ["ALL"],
                    "Mounts": [
                        {"Type": "tmpfs", "Target": "/tmp"},
                        *([{"Type": "volume", "Source": volume, "Target": "/var/tmp"}] if has_volume else []),
                    ],
                    "Secrets": [
                        {
                            "SecretID": secret,
                            "SecretName": name,
                            "File": {"Name": Path(_REQUEST_FILE).name, "UID": "10001", "GID": "10001", "Mode": 0o400},
                        }
                    ],
                },
                "Resources": {"Limits": {"MemoryBytes": memory_bytes, "Pids": settings.max_processes}},
                "RestartPolicy": {"Condition": "none"},
                "Placement": {"Constraints": [f"node.id=={node_id}"]},
                "Networks": [{"Target": self._network}] if self._network else [],
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "EndpointSpec": {"Mode": "dnsrr"},
        }

    def close(self) -> None:
        self._logs.close()


def _pass_on(file: Path, position: int, log: Callable[[bytes], None]) -> int:
    """Hand on what was appended since the position; the new one."""
    try:
        with file.open("rb") as f:
            f.seek(position)
            data = f.read()
    except FileNotFoundError:
        return position
    if data:
        log(data)
    return position + len(data)
