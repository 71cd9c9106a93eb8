"""The nodes of a Swarm as hosts, and what changes them."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from rafiki.constants import NodeRole
from rafiki.container.cluster import Cluster, JoinOrder
from rafiki.container.hosts import GpuFacts, Host
from rafiki.container.swarm_engine import AnswerError, Engine
from rafiki.container.swarm_inventory import NodeFacts
from rafiki.container.swarm_tasks import Node, Task
from rafiki.entities import Gpu
from rafiki.errors import InvalidNodeError, NodeInUseError

GPUS_LABEL = "rafiki.gpus"
"""Of a node: the names of the GPUs to share out, ``0,1``, in the place of those that are found."""
DRAIN_LABEL = "rafiki.drain"
"""Of a node that is to run empty: the Swarm's own ``drain`` would end what runs at once."""
_ID_LETTERS = 5
_MOST_ATTEMPTS = 5
"""To change what others change, too."""


def names_of(nodes: Iterable[Node]) -> dict[str, str]:
    """What nodes are called, by their ids: by their host, with letters of the id where two have the same.

    A machine that has left a Swarm and joined it again is there twice, once as lost: then the one that is there has the
    plain name.
    """
    by_host: defaultdict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        by_host[node.host].append(node)
    names = {}
    for host, same in by_host.items():
        plain = same if len(same) == 1 else [node for node in same if node.is_ready]
        for node in same:
            is_plain = len(plain) == 1 and node is plain[0]
            names[node.id] = host if is_plain else f"{host}-{node.id[:_ID_LETTERS]}"
    return names


def reserved_by_others(tasks: Iterable[Task], is_ours: Mapping[str, object]) -> dict[str, int]:
    """Bytes of memory, by node, that tasks of others have reserved.

    Args:
        is_ours: the Swarm's ids of this stack's services.
    """
    found: defaultdict[str, int] = defaultdict(int)
    for task in tasks:
        if task.node_id and not task.has_ended and task.service_id not in is_ours:
            found[task.node_id] += task.reserved_bytes
    return found


def host_of(
    node: Node,
    name: str,
    *,
    others_bytes: int,
    facts: NodeFacts,
    own_gpus: list[int] | None,
    is_engine: bool,
    can_fetch_image: bool,
) -> Host:
    """A node as a host.

    Args:
        others_bytes: what others have reserved of its memory.
        own_gpus: the setting ``container.gpus``, for the node of the engine.
    """
    labels = node.spec.labels or {}
    found = facts.inventory
    memory_bytes = node.description.resources.memory_bytes
    return Host(
        name=name,
        role=node.spec.role,
        address=node.status.addr or None,
        is_reached=node.is_ready,
        is_paused=node.spec.availability != "active",
        is_draining=DRAIN_LABEL in labels or node.spec.availability == "drain",
        is_engine=is_engine,
        labels={k: v for k, v in labels.items() if k != DRAIN_LABEL},
        gpus=_gpus_of(name, labels, facts, own_gpus if is_engine else None),
        cores=node.description.resources.nano_cpus / 1e9,
        memory_bytes=memory_bytes,
        reservable_bytes=memory_bytes - others_bytes,
        free_disk_bytes=found.free_disk_bytes if found else None,
        has_image=facts.has_image,
        can_fetch_image=can_fetch_image,
        note=facts.problem,
    )


def _gpus_of(name: str, labels: Mapping[str, str], facts: NodeFacts, own: list[int] | None) -> list[GpuFacts]:
    found = {gpu.name: gpu for gpu in (facts.inventory.gpus if facts.inventory else [])}
    if own is not None:
        names = [str(index) for index in own]
    elif GPUS_LABEL in labels:
        names = [n.strip() for n in labels[GPUS_LABEL].split(",") if n.strip()]
    else:
        names = list(found)
    return [
        GpuFacts(
            gpu=Gpu(name, n), model=found[n].model if n in found else None,
            memory_bytes=found[n].memory_bytes if n in found else None,
        )
        for n in names
    ]  # fmt: skip


class _Version(msgspec.Struct, rename="pascal"):
    index: int


class _NodeRecord(msgspec.Struct, rename="pascal"):
    """A node with its specification, which is passed back as it came."""

    id: str = msgspec.field(name="ID")
    version: _Version
    spec: dict[str, msgspec.Raw]


class _JoinTokens(msgspec.Struct, rename="pascal"):
    worker: str
    manager: str


class _Swarm(msgspec.Struct, rename="pascal"):
    version: _Version
    spec: msgspec.Raw
    join_tokens: _JoinTokens


class SwarmCluster(Cluster):
    """The nodes of one Swarm."""

    def __init__(self, engine: Engine, own_node_id: str) -> None:
        """
        Args:
            own_node_id: of the node of the engine.
        """
        self._engine = engine
        self._own_node_id = own_node_id

    def drain(self, name: str) -> None:
        # Paused, not drained: what runs there is to end when it has done what it does.
        self._change(name, "pause", {DRAIN_LABEL: "true"})

    def activate(self, name: str) -> None:
        self._change(name, "active", {})

    def _change(self, name: str, availability: str, labels: dict[str, str]) -> None:
        node_id = self._find(name).id
        # Somebody else may change the node at the same time: then its version is another.
        for attempt in range(_MOST_ATTEMPTS):
            record = self._engine.get(f"/nodes/{node_id}", _NodeRecord)
            kept = msgspec.json.decode(record.spec.get("Labels", msgspec.Raw(b"{}")), type=dict[str, str] | None) or {}
            kept = {k: v for k, v in kept.items() if k != DRAIN_LABEL}
            spec = {
                **{k: msgspec.json.decode(v) for k, v in record.spec.items()},
                "Availability": availability,
                "Labels": {**kept, **labels},
            }
            try:
                self._engine.post(f"/nodes/{node_id}/update", spec, version=str(record.version.index))
                return
            except AnswerError as e:
                if attempt == _MOST_ATTEMPTS - 1 or "out of sequence" not in e.message:
                    raise

    def remove(self, name: str) -> None:
        node = self._find(name)
        if node.id == self._own_node_id:
            raise NodeInUseError(
                f"The admin works through the Docker engine of node {name} (container.engine). Name the engine of "
                "another manager in rafiki.yaml first, and start the stack again."
            )
        if node.spec.role == "manager":
            raise NodeInUseError(f"Node {name} is a manager of the Swarm: `docker node demote {name}` first.")
        self._engine.delete(f"/nodes/{node.id}?force=true")

    def join_order(self, role: NodeRole, *, is_new: bool) -> JoinOrder:
        own = next((n for n in self._nodes() if n.id == self._own_node_id), None)
        address = own.manager_status.addr if own is not None and own.manager_status is not None else ""
        host = address.rpartition(":")[0].strip("[]")
        if not host or _is_local(host):
            raise InvalidNodeError(
                f"The Swarm's manager is heard at {address or 'no address'}, which other machines do not reach. Stop "
                "the stack, take the Swarm away (`docker swarm leave --force`), set cluster.advertise_host in "
                "rafiki.yaml to this machine's address in their network, and start the stack: it makes the Swarm anew."
            )
        swarm = self._engine.get("/swarm", _Swarm)
        if is_new:
            parameter = "rotateManagerToken" if role is NodeRole.MANAGER else "rotateWorkerToken"
            version = str(swarm.version.index)
            self._engine.post("/swarm/update", msgspec.json.decode(swarm.spec), version=version, **{parameter: "true"})
            swarm = self._engine.get("/swarm", _Swarm)
        token = swarm.join_tokens.manager if role is NodeRole.MANAGER else swarm.join_tokens.worker
        return JoinOrder(command=f"docker swarm join --token {token} {address}", token=token, address=address)

    def _nodes(self) -> list[Node]:
        return self._engine.get("/nodes", list[Node])

    def _find(self, name: str) -> Node:
        nodes = {node.id: node for node in self._nodes()}
        for node_id, known in names_of(nodes.values()).items():
            if name in (known, node_id):
                return nodes[node_id]
        raise InvalidNodeError.not_found(f"There is no node {name!r}. List them: `rafiki node list`.")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
