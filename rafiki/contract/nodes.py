"""Nodes: the machines that services run on."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rafiki.constants import NodeRole, NodeState
from rafiki.contract.endpoint import ADMINS, JOB_TIMEOUT_S, AnyEndpoint, Audited, Empty, Endpoint, RequestStruct

NodeName = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class NodeRequest(RequestStruct, frozen=True, kw_only=True):
    name: NodeName


class RemoveNodeRequest(RequestStruct, frozen=True, kw_only=True):
    name: NodeName
    force: bool = False
    """Also when services run there: these end, and others take their place."""


class AddNodeRequest(RequestStruct, frozen=True, kw_only=True):
    role: NodeRole = NodeRole.WORKER
    """``manager``: it also takes part in what the Swarm decides."""
    rotate: bool = False
    """Make the token anew: the one before it is void."""


class NodeGpuView(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU of a node."""

    name: str
    """As its node names it."""
    model: str | None
    """None where nobody has looked, or nothing was told."""
    memory_bytes: int | None
    """Its own memory; None as for the model."""
    used_by: list[str]
    """The names of the services that hold it."""


class NodeServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """A service on a node."""

    id: str
    name: str
    """What people call it."""


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that services run on. None = not known."""

    name: str
    state: NodeState
    """``PAUSED``: it takes no new services; ``DRAINING``: its services end when they have done their work; ``DRAINED``:
    it is empty."""
    role: str
    """``manager`` or ``worker`` of the Swarm; empty without one."""
    address: str | None
    """Where the Swarm reaches it."""
    labels: dict[str, str]
    """Of the Swarm's node."""
    gpus: list[NodeGpuView]
    """Those that services are given."""
    cores: float | None
    """Processor cores."""
    memory_bytes: int | None
    """All of its memory."""
    free_memory_bytes: int | None
    """What no service has reserved; None where nothing is reserved."""
    free_disk_bytes: int | None
    """Where copies of datasets are kept."""
    has_image: bool | None
    """Whether the workers' image is there."""
    services: list[NodeServiceView]
    """Those of this stack."""
    note: str | None
    """What is wrong with it."""


class JoinView(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine becomes a node."""

    command: str
    """To be typed on that machine. It holds the token."""
    token: str
    """A secret: whoever has it can join."""
    address: str
    """The manager that it joins."""
    role: NodeRole
    """What the machine becomes."""
    valid: str
    """How long the token is good for."""


GET_NODES: Endpoint[Empty, list[NodeView]] = Endpoint(
    name="get_nodes", method="GET", path="/nodes", request=Empty, response=list[NodeView], timeout_s=JOB_TIMEOUT_S,
    roles=ADMINS, summary="The machines that services run on, and what they have.",
)  # fmt: skip
GET_NODE: Endpoint[NodeRequest, NodeView] = Endpoint(
    name="get_node", method="GET", path="/nodes/{name}", request=NodeRequest, response=NodeView, roles=ADMINS,
    summary="One machine that services run on, with what was found on it last.",
)  # fmt: skip
ADD_NODE: Endpoint[AddNodeRequest, JoinView] = Endpoint(
    name="add_node", method="POST", path="/nodes", request=AddNodeRequest, response=JoinView, roles=ADMINS,
    is_login_only=True, summary="How a machine becomes a node: the command, with a token that is a secret.",
    audited=Audited("node.add", ("role", "rotate")),
)  # fmt: skip
DRAIN_NODE: Endpoint[NodeRequest, NodeView] = Endpoint(
    name="drain_node", method="POST", path="/nodes/{name}/drain", request=NodeRequest, response=NodeView, roles=ADMINS,
    summary="Let a node run empty: trials there end, members of ensembles are replaced elsewhere first.",
    audited=Audited("node.drain", ("name",)),
)  # fmt: skip
ACTIVATE_NODE: Endpoint[NodeRequest, NodeView] = Endpoint(
    name="activate_node", method="POST", path="/nodes/{name}/activate", request=NodeRequest, response=NodeView,
    roles=ADMINS, summary="Give a node services again.",
    audited=Audited("node.activate", ("name",)),
)  # fmt: skip
REMOVE_NODE: Endpoint[RemoveNodeRequest, NodeView] = Endpoint(
    name="remove_node", method="DELETE", path="/nodes/{name}", request=RemoveNodeRequest, response=NodeView,
    timeout_s=JOB_TIMEOUT_S, roles=ADMINS, summary="Take out a node that is drained or lost.",
    audited=Audited("node.remove", ("name", "force")),
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [GET_NODES, GET_NODE, ADD_NODE, DRAIN_NODE, ACTIVATE_NODE, REMOVE_NODE]
