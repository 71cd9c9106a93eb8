"""The machines that services run on."""

from __future__ import annotations

from collections import defaultdict

from rafiki.admin.context import AdminContext
from rafiki.admin.operation import bind
from rafiki.admin.service_names import name_of
from rafiki.constants import NodeState
from rafiki.container.cluster import Cluster
from rafiki.container.hosts import GpuFacts, Host
from rafiki.contract.endpoint import Empty
from rafiki.contract.nodes import (
    ACTIVATE_NODE,
    ADD_NODE,
    DRAIN_NODE,
    GET_NODE,
    GET_NODES,
    REMOVE_NODE,
    AddNodeRequest,
    JoinView,
    NodeGpuView,
    NodeRequest,
    NodeServiceView,
    NodeView,
    RemoveNodeRequest,
)
from rafiki.entities import LOCAL_HOST, Service, User
from rafiki.errors import InvalidNodeError, NoClusterError, NodeInUseError

_LOOK_WAIT_S = 20.0
_VALID = "until it is made anew (`rafiki node add --rotate`); machines that have joined stay"


def get_nodes(context: AdminContext, actor: User, request: Empty) -> list[NodeView]:
    return _views(context, context.containers.look_at_hosts(_LOOK_WAIT_S))


def get_node(context: AdminContext, actor: User, request: NodeRequest) -> NodeView:
    return _find(context, request.name)


def _views(context: AdminContext, hosts: list[Host]) -> list[NodeView]:
    live = context.store.services.list_live_services()
    places = context.containers.find_hosts(s.id for s in live)
    by_host: defaultdict[str, list[Service]] = defaultdict(list)
    for service in live:
        host = LOCAL_HOST if context.containers.cluster is None else places.get(service.id)
        if host is not None:
            by_host[host].append(service)
    names = {s.id: name_of(context.store, s) for s in live}
    need = (context.config.container.memory_limit_mb or 0) << 20
    return [_view(host, by_host[host.name], names, need) for host in hosts]


def _view(host: Host, services: list[Service], names: dict[str, str], need_bytes: int) -> NodeView:
    free = host.reservable_bytes
    return NodeView(
        name=host.name, state=_state(host, services), role=host.role, address=host.address, labels=host.labels,
        gpus=[_gpu_view(facts, services, names) for facts in host.gpus], cores=host.cores,
        memory_bytes=host.memory_bytes,
        free_memory_bytes=None if free is None else max(0, free - len(services) * need_bytes),
        free_disk_bytes=host.free_disk_bytes, has_image=host.has_image,
        services=[NodeServiceView(id=s.id, name=names[s.id]) for s in services], note=host.note,
    )  # fmt: skip


def _gpu_view(facts: GpuFacts, services: list[Service], names: dict[str, str]) -> NodeGpuView:
    return NodeGpuView(
        name=facts.gpu.name, model=facts.model, memory_bytes=facts.memory_bytes,
        used_by=[names[s.id] for s in services if facts.gpu in s.gpus],
    )  # fmt: skip


def _state(host: Host, services: list[Service]) -> NodeState:
    if not host.is_reached:
        return NodeState.LOST
    if host.is_draining:
        return NodeState.DRAINING if services else NodeState.DRAINED
    return NodeState.PAUSED if host.is_paused else NodeState.READY


def add_node(context: AdminContext, actor: User, request: AddNodeRequest) -> JoinView:
    order = _cluster(context, "add").join_order(request.role, is_new=request.rotate)
    return JoinView(
        command=order.command, token=order.token, address=order.address, role=request.role, valid=_VALID
    )  # fmt: skip


def drain_node(context: AdminContext, actor: User, request: NodeRequest) -> NodeView:
    _cluster(context, "drain").drain(request.name)
    context.supervisor.wake()
    return _find(context, request.name)


def activate_node(context: AdminContext, actor: User, request: NodeRequest) -> NodeView:
    _cluster(context, "activate").activate(request.name)
    context.supervisor.wake()
    return _find(context, request.name)


def remove_node(context: AdminContext, actor: User, request: RemoveNodeRequest) -> NodeView:
    cluster = _cluster(context, "remove")
    node = _find(context, request.name)
    if not request.force:
        if node.services:
            names = ", ".join(s.name for s in node.services)
            raise NodeInUseError(
                f"Services run on node {node.name}: {names}. Let it run empty with `rafiki node drain {node.name}`; "
                "--force ends them."
            )
        if node.state not in (NodeState.DRAINED, NodeState.LOST):
            raise NodeInUseError(
                f"Node {node.name} is {node.state} and takes services at any moment. `rafiki node drain {node.name}` "
                "first; --force removes it as it is."
            )
    cluster.remove(node.name)
    context.supervisor.wake()
    return node


def _find(context: AdminContext, name: str) -> NodeView:
    # What has just been changed is not in the last look.
    for view in _views(context, context.containers.look_at_hosts(0.0)):
        if view.name == name:
            return view
    raise InvalidNodeError.not_found(f"There is no node {name!r}. List them: `rafiki node list`.")


def _cluster(context: AdminContext, verb: str) -> Cluster:
    cluster = context.containers.cluster
    if cluster is None:
        raise NoClusterError(
            f"There is no node to {verb}: this stack runs its services on this machine alone (container.backend is "
            f"{context.config.container.backend!r}). With `container.backend: swarm` it runs them on several."
        )
    return cluster


OPERATIONS = [
    bind(GET_NODES, get_nodes),
    bind(GET_NODE, get_node),
    bind(ADD_NODE, add_node),
    bind(DRAIN_NODE, drain_node),
    bind(ACTIVATE_NODE, activate_node),
    bind(REMOVE_NODE, remove_node),
]
