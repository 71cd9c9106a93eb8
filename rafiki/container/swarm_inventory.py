"""What the nodes of a Swarm have: a service that looks at each of them once, and is taken away."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping

import msgspec

from rafiki.container.inventory import Inventory
from rafiki.container.swarm_engine import Engine
from rafiki.container.swarm_logs import payloads
from rafiki.container.swarm_tasks import Node, Task
from rafiki.errors import ContainerError
from rafiki.utils.clock import Deadline
from rafiki.utils.ids import new_id
from rafiki.utils.process import wait_until

_logger = logging.getLogger(__name__)

_EVERY_S = 600.0
_AGAIN_S = 60.0
"""After a look that has not found the image everywhere, or has failed: somebody may be about to mend it."""
_LOOK_TIMEOUT_S = 60.0
_LOG_TIMEOUT_S = 10.0
_MEMORY_BYTES = 256 << 20
_NO_IMAGE = "No such image"


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a node beyond what the Swarm tells."""

    inventory: Inventory | None = None
    has_image: bool | None = None
    problem: str | None = None
    """What is wrong there, for people."""


UNKNOWN = NodeFacts()


class _Created(msgspec.Struct):
    id: str = msgspec.field(name="ID")


class SwarmInventory:
    """Looks at the nodes when somebody wants to know, and from then on when nodes have come and at times.

    Safe to use from several threads.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        image: str,
        labels: Mapping[str, str],
        volume: str,
        list_nodes: Callable[[], list[Node]],
    ) -> None:
        """
        Args:
            labels: of the service that looks; by these it is found and taken away when an admin died.
            volume: where copies of datasets lie on each node.
        """
        self._engine = engine
        self._image = image
        self._labels = dict(labels)
        self._volume = volume
        self._list_nodes = list_nodes
        self._facts: dict[str, NodeFacts] = {}
        self._looked_at = 0.0
        self._lock = threading.Condition()
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def facts_of(self, node_id: str) -> NodeFacts:
        return self._facts.get(node_id, UNKNOWN)

    def want(self, node_ids: frozenset[str]) -> None:
        """Somebody asks what these nodes have. Those that are not known are looked at soon; nobody waits."""
        is_old = time.monotonic() - self._looked_at > self._every_s()
        if is_old or not node_ids <= self._facts.keys():
            self._begin()

    def keep_fresh(self, node_ids: frozenset[str]) -> None:
        """As :meth:`want`, once somebody has wanted to know: what was found then decides where services may go."""
        if self._thread is not None:
            self.want(node_ids)

    def refresh(self, older_than_s: float, timeout_s: float) -> None:
        """Look at all nodes now, unless that was done lately, and wait until it is done or the time is over."""
        asked_at = time.monotonic()
        if asked_at - self._looked_at <= older_than_s:
            return
        self._begin()
        deadline = Deadline(timeout_s)
        with self._lock:
            while self._looked_at < asked_at and not deadline.is_over() and not self._stopped.is_set():
                self._lock.wait(deadline.left_s())

    def _every_s(self) -> float:
        is_fine = all(facts.has_image for facts in self._facts.values())
        return _EVERY_S if is_fine else _AGAIN_S

    def _begin(self) -> None:
        with self._lock:
            self._wanted.set()
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="inventory", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wanted.wait()
            self._wanted.clear()
            if self._stopped.is_set():
                return
            try:
                self._look()
            except (ContainerError, OSError) as e:
                _logger.warning("cannot see what the nodes have: %s", e)
            with self._lock:
                self._looked_at = time.monotonic()
                self._lock.notify_all()

    def _look(self) -> None:
        self._clear_away()
        nodes = {node.id for node in self._list_nodes() if node.takes_work}
        for gone in self._facts.keys() - {node.id for node in self._list_nodes()}:
            del self._facts[gone]
        if not nodes:
            return
        body = msgspec.json.decode(self._engine.post("/services/create", self._spec()), type=_Created)
        try:
            found: list[Task] = []

            def have_looked() -> bool:
                found[:] = self._engine.get("/tasks", list[Task], filters=_filter(body.id))
                ended = {task.node_id for task in found if task.has_ended}
                return self._stopped.is_set() or nodes <= ended

            wait_until(have_looked, Deadline(_LOOK_TIMEOUT_S))
            for task in found:
                if task.node_id and (facts := self._read(task)) is not None:
                    self._facts[task.node_id] = facts
        finally:
            self._engine.delete(f"/services/{body.id}")

    def _clear_away(self) -> None:
        """What an admin left that was killed while it looked."""
        for service in self._engine.list("/services", _Created, [f"{k}={v}" for k, v in self._labels.items()]):
            self._engine.delete(f"/services/{service.id}")

    def _spec(self) -> dict[str, object]:
        return {
            "Name": f"rafiki-inventory-{new_id()}",
            "Labels": self._labels,
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": self._image,
                    "Command": ["python", "-m", "rafiki.container.inventory"],
                    "Labels": self._labels,
                    # Where NVIDIA's container runtime is the default one, it shows all GPUs and nvidia-smi.
                    "Env": ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=utility"],
                    "User": "10001:10001",
                    "ReadOnly": True,
                    "Init": True,
                    "CapabilityDrop": ["ALL"],
                    "Mounts": [{"Type": "volume", "Source": self._volume, "Target": "/var/tmp"}],
                },
                "Resources": {"Limits": {"MemoryBytes": _MEMORY_BYTES}},
                "RestartPolicy": {"Condition": "none"},
            },
            "Mode": {"GlobalJob": {}},
        }

    def _read(self, task: Task) -> NodeFacts | None:
        """What a task has found; None when nothing is known."""
        if task.status.state == "complete":
            inventory = self._read_log(task.id)
            return (
                None
                if inventory is None
                else NodeFacts(inventory=inventory, has_image=True, problem=_hidden(inventory))
            )
        told = task.status.err or task.status.message
        if task.status.state == "rejected" and _NO_IMAGE.lower() in told.lower():
            return NodeFacts(has_image=False)
        if task.has_ended:
            return NodeFacts(problem=f"what it has cannot be seen: {' '.join(told.split())[:200]}")
        return None

    def _read_log(self, task_id: str) -> Inventory | None:
        """The line that a task has printed, which may come a little after its end."""
        found: list[Inventory] = []

        def has_line() -> bool:
            stream = self._engine.stream(f"/tasks/{task_id}/logs", stdout="1", tail="all")
            # A node that was lost just now does not answer, and its log would have no end.
            timer = threading.Timer(_LOG_TIMEOUT_S, stream.close)
            timer.start()
            try:
                text = b"".join(payloads(stream)).decode(errors="replace")
            finally:
                timer.cancel()
            with contextlib.suppress(msgspec.DecodeError):
                found.append(msgspec.json.decode(text.strip().rpartition("\n")[2], type=Inventory))
            return bool(found)

        wait_until(has_line, Deadline(_LOG_TIMEOUT_S))
        return found[0] if found else None

    def close(self) -> None:
        self._stopped.set()
        self._wanted.set()
        with self._lock:
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join(_LOG_TIMEOUT_S)


def _filter(service_id: str) -> str:
    return msgspec.json.encode({"service": [service_id]}).decode()


def _hidden(inventory: Inventory) -> str | None:
    n = inventory.n_hidden_gpus
    if not n:
        return None
    return (
        f"it has {n} GPU{'' if n == 1 else 's'} that containers do not see: make NVIDIA's container runtime its default"
    )
