"""What a Swarm's manager tells of all its nodes and tasks, asked for once a look."""

from __future__ import annotations

import time

import msgspec

from rafiki.container.base import ContainerSetup
from rafiki.container.hosts import Host
from rafiki.container.swarm_engine import Engine, EngineInfo
from rafiki.container.swarm_inventory import SwarmInventory
from rafiki.container.swarm_nodes import host_of, names_of, reserved_by_others
from rafiki.container.swarm_service import KIND_LABEL, SERVICE_LABEL, stack_label, volume_name
from rafiki.container.swarm_tasks import Node, Task, first_tasks
from rafiki.distribution import IMAGE, LOCAL_REGISTRY
from rafiki.entities import Gpu

_LOOK_LASTS_S = 1.0
"""What belongs to one look of the supervisor is asked for once."""
_INVENTORY_LASTS_S = 10.0


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the Swarm."""

    tasks: dict[str, Task]
    """Those of this stack, by the Swarm's ids of services."""
    nodes: dict[str, Node]
    others_bytes: dict[str, int]
    """Memory that others have reserved, by node."""


def _open_ids(listing: Listing) -> frozenset[str]:
    """Nodes that can be looked at: the others start no service."""
    return frozenset(node.id for node in listing.nodes.values() if node.takes_work)


class SwarmView:
    """The Swarm as a stack sees it. Safe to use from several threads."""

    def __init__(self, engine: Engine, setup: ContainerSetup, own_node_id: str) -> None:
        """
        Args:
            own_node_id: of the node of the engine.
        """
        self._engine = engine
        self._own_gpus = setup.config.container.gpus
        self._own_node_id = own_node_id
        image = setup.config.container.image or IMAGE
        self._can_fetch_image = not image.startswith(LOCAL_REGISTRY)
        self._label, _, self._stack = stack_label(setup).partition("=")
        self._last: tuple[float, Listing | None] = (0.0, None)
        self.names: dict[str, str] = {}
        """Of hosts, by the ids of nodes, as of the last look."""
        self._inventory = SwarmInventory(
            engine, image=image, labels={self._label: self._stack, KIND_LABEL: "inventory"}, volume=volume_name(setup),
            list_nodes=lambda: list(self.nodes().values()),
        )  # fmt: skip

    def nodes(self) -> dict[str, Node]:
        nodes = {node.id: node for node in self._engine.get("/nodes", list[Node])}
        self.names = names_of(nodes.values())
        return nodes

    def look(self, only: str | None = None) -> Listing:
        """One listing of all tasks and nodes: those of others hold memory, too.

        Args:
            only: the service that it is about: the rest is not worth its listing to who waits for it.
        """
        if only is not None:
            found = self._engine.list("/tasks", Task, [f"{self._label}={self._stack}", f"{SERVICE_LABEL}={only}"])
            return Listing(tasks=first_tasks(found), nodes=self.nodes(), others_bytes={})
        tasks = self._engine.get("/tasks", list[Task])
        ours = first_tasks(task for task in tasks if task.labels.get(self._label) == self._stack)
        listing = Listing(tasks=ours, nodes=self.nodes(), others_bytes=reserved_by_others(tasks, ours))
        self._last = (time.monotonic(), listing)
        return listing

    def _last_listing(self) -> Listing:
        """That of the look that is going on, else a new one."""
        looked_at, listing = self._last
        return listing if listing is not None and time.monotonic() - looked_at < _LOOK_LASTS_S else self.look()

    def own_node_id(self) -> str:
        """The engine's node: another one, when the Swarm was made anew."""
        if self._own_node_id not in self.names:
            self._own_node_id = self._engine.get("/info", EngineInfo).swarm.node_id
        return self._own_node_id

    def find_node_id(self, host: str) -> str | None:
        """The node that a host's name means."""
        by_name = {name: node_id for node_id, name in self.names.items()}
        if host not in by_name:
            self.nodes()
            by_name = {name: node_id for node_id, name in self.names.items()}
        return by_name.get(host)

    def hosts(self) -> list[Host]:
        listing = self._last_listing()
        self._inventory.keep_fresh(_open_ids(listing))
        names, own_id = names_of(listing.nodes.values()), self.own_node_id()
        found = [
            host_of(
                node, names[node.id], others_bytes=listing.others_bytes.get(node.id, 0),
                facts=self._inventory.facts_of(node.id), own_gpus=self._own_gpus,
                is_engine=node.id == own_id, can_fetch_image=self._can_fetch_image,
            )
            for node in listing.nodes.values()
        ]  # fmt: skip
        return sorted(found, key=lambda host: host.name)

    def look_at_hosts(self, timeout_s: float) -> list[Host]:
        if timeout_s > 0:
            self._inventory.refresh(_INVENTORY_LASTS_S, timeout_s)
        self.look()
        return self.hosts()

    def gpus(self) -> list[Gpu]:
        hosts = self.hosts()
        self._inventory.want(_open_ids(self._last_listing()))
        return [facts.gpu for host in hosts for facts in host.gpus]

    def close(self) -> None:
        self._inventory.close()
