"""What a Swarm says of its tasks and nodes, read as how services are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from rafiki.container import endings

NODE_CONSTRAINT = "node.id=="
PENDING_AT_MOST_S = 60.0
"""A service that no node takes for so long has ended, with the Swarm's reason: whoever waits for it is told."""
_ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
_WAITS_FOR_A_NODE = "pending"
_BEFORE_ITS_PROGRAM = frozenset(
    {"", "new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"}
)
_READY = "ready"
_SIGNAL_BASE = 128
_KILLED = -9
_NO_PROGRAM = 127
"""Of whoever starts a service's program."""


class ContainerStatus(msgspec.Struct, rename="pascal"):
    container_id: str = msgspec.field(name="ContainerID", default="")
    exit_code: int = 0


class TaskStatus(msgspec.Struct, rename="pascal"):
    state: str = ""
    err: str = ""
    message: str = ""
    container_status: ContainerStatus = msgspec.field(default_factory=ContainerStatus)


class _Reservations(msgspec.Struct, rename="pascal"):
    memory_bytes: int = 0


class _Resources(msgspec.Struct, rename="pascal"):
    reservations: _Reservations | None = None


class _Placement(msgspec.Struct, rename="pascal"):
    constraints: list[str] | None = None


class _ContainerSpec(msgspec.Struct, rename="pascal"):
    labels: dict[str, str] | None = None


class _TaskSpec(msgspec.Struct, rename="pascal"):
    container_spec: _ContainerSpec | None = None
    resources: _Resources | None = None
    placement: _Placement | None = None


class Task(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(name="ID")
    service_id: str = msgspec.field(name="ServiceID")
    created_at: str
    node_id: str = msgspec.field(name="NodeID", default="")
    desired_state: str = ""
    status: TaskStatus = msgspec.field(default_factory=TaskStatus)
    spec: _TaskSpec = msgspec.field(default_factory=_TaskSpec)

    @property
    def has_ended(self) -> bool:
        return self.status.state in _ENDED

    @property
    def labels(self) -> dict[str, str]:
        """Those of its container."""
        return (self.spec.container_spec and self.spec.container_spec.labels) or {}

    @property
    def reserved_bytes(self) -> int:
        resources = self.spec.resources
        return resources.reservations.memory_bytes if resources and resources.reservations else 0

    @property
    def wanted_node_id(self) -> str:
        """The node that it runs on, or that it is for; empty where any will do."""
        if self.node_id:
            return self.node_id
        constraints = (self.spec.placement and self.spec.placement.constraints) or []
        return next((c.removeprefix(NODE_CONSTRAINT) for c in constraints if c.startswith(NODE_CONSTRAINT)), "")

    @property
    def waits_for_a_node(self) -> bool:
        return self.status.state == _WAITS_FOR_A_NODE

    def find_wait(self, host: str | None) -> str | None:
        """What keeps its program from beginning; None when it has begun, or has ended."""
        if self.status.state not in _BEFORE_ITS_PROGRAM:
            return None
        if not self.node_id:
            return f"a node ({self.status.err})" if self.status.err else "a node"
        return f"its image and its volume, on {host or 'its node'}"


class NodeResources(msgspec.Struct, rename="pascal"):
    nano_cpus: int = msgspec.field(name="NanoCPUs", default=0)
    memory_bytes: int = 0


class NodeDescription(msgspec.Struct, rename="pascal"):
    hostname: str = "?"
    resources: NodeResources = msgspec.field(default_factory=NodeResources)


class NodeStatus(msgspec.Struct, rename="pascal"):
    state: str = ""
    addr: str = ""


class ManagerStatus(msgspec.Struct, rename="pascal"):
    addr: str = ""


class NodeSpec(msgspec.Struct, rename="pascal"):
    labels: dict[str, str] | None = None
    availability: str = "active"
    role: str = "worker"


class Node(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(name="ID")
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    description: NodeDescription = msgspec.field(default_factory=NodeDescription)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)
    manager_status: ManagerStatus | None = None

    @property
    def is_ready(self) -> bool:
        return self.status.state == _READY

    @property
    def takes_work(self) -> bool:
        return self.is_ready and self.spec.availability == "active"

    @property
    def host(self) -> str:
        return self.description.hostname


class Ending(msgspec.Struct, frozen=True):
    """How the task of a service ended."""

    code: int | None
    how: str
    """Without the last lines of its log."""
    has_log: bool
    """Whether its host can still be asked for its log."""
    is_refusal: bool = False
    """It has not begun: the node did not take it, or could not start it."""


def first_tasks(tasks: Iterable[Task]) -> dict[str, Task]:
    """The task that ran, by the Swarm's id of its service: the oldest. A service that is being stopped has another
    one, which never starts."""
    found: dict[str, Task] = {}
    for task in sorted(tasks, key=lambda t: t.created_at):
        found.setdefault(task.service_id, task)
    return found


def find_ending(task: Task, nodes: Mapping[str, Node], memory_limit_mb: int | None, waited_s: float) -> Ending | None:
    """How a task ended; None while it runs, or is on its way to do so.

    Args:
        waited_s: how long it has waited for a node, if it does.
    """
    node = nodes.get(task.node_id)
    is_there = node is not None and node.is_ready
    status = task.status
    if status.state not in _ENDED:
        if task.desired_state in ("shutdown", "remove") and not is_there:
            # A host that is cut off cannot say that the task ended; for the Swarm it has.
            return Ending(None, f"its host {node.host if node else task.node_id or '?'} is lost", has_log=False)
        if task.waits_for_a_node and status.err and waited_s > PENDING_AT_MOST_S:
            return Ending(None, f"no node of the Swarm takes it: {status.err}", has_log=False, is_refusal=True)
        return None
    if not status.container_status.container_id:
        told = status.err or status.message or status.state
        where = node.host if node else "?"
        return Ending(None, f"it could not be started on {where}: {told}", has_log=False, is_refusal=True)
    if status.state == "orphaned":
        return Ending(None, "its host was lost", has_log=False)
    code = status.container_status.exit_code
    if code > _SIGNAL_BASE:
        code = _SIGNAL_BASE - code
    how = endings.in_words(code)
    if code == _NO_PROGRAM:
        how = f"{how}: its image has no program `python`. Build it FROM the image of `rafiki image build`"
    if code == _KILLED and memory_limit_mb and status.state == "failed":
        # All that the Swarm says is 137; nothing else kills so as a rule.
        how = (
            f"{how}, as one is that uses more than its limit of {memory_limit_mb} MB of memory "
            "(container.memory_limit_mb in rafiki.yaml)"
        )
    return Ending(code, how, has_log=is_there)
