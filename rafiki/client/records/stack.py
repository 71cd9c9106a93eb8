"""The stack itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime

from rafiki.client.contract_caller import Away
from rafiki.client.http_server import WATCH_PATIENCE_S
from rafiki.client.records.calls import Calls
from rafiki.constants import GarbageKind
from rafiki.contract.audit import DEFAULT_AUDIT_COUNT, GET_AUDIT, AuditEntry, ListAuditRequest
from rafiki.contract.endpoint import Empty
from rafiki.contract.garbage import (
    COLLECT_GARBAGE,
    DEFAULT_KEEP,
    DEFAULT_OLDER_THAN_S,
    CollectGarbageRequest,
    GarbageView,
)
from rafiki.contract.nodes import (
    ACTIVATE_NODE,
    ADD_NODE,
    DRAIN_NODE,
    GET_NODE,
    GET_NODES,
    REMOVE_NODE,
    AddNodeRequest,
    JoinView,
    NodeRequest,
    NodeView,
    RemoveNodeRequest,
)
from rafiki.contract.stack import (
    GET_HEALTH,
    GET_SERVICES,
    GET_WAITS,
    WATCH_SERVICES,
    HealthView,
    ServicesEvent,
    ServiceView,
    WaitView,
)


class StackCalls(Calls):
    """Calls about the stack, and what of it is not needed any more."""

    def get_health(self) -> HealthView:
        """Whether the admin is up."""
        return self._call(GET_HEALTH, Empty())

    def get_services(self) -> list[ServiceView]:
        """The live services of all jobs."""
        return self._call(GET_SERVICES, Empty())

    def watch_services(
        self, *, patience_s: float = WATCH_PATIENCE_S, stop: threading.Event | None = None
    ) -> Iterator[ServicesEvent | Away]:
        """The live services of all jobs, again at each change; without an end."""
        return self._watch(WATCH_SERVICES, Empty(), patience_s=patience_s, stop=stop)

    def get_waits(self) -> list[WaitView]:
        """Workers that are wanted and cannot be started now, and why."""
        return self._call(GET_WAITS, Empty())

    def get_nodes(self) -> list[NodeView]:
        """The machines that services run on, and what they have."""
        return self._call(GET_NODES, Empty())

    def get_node(self, name: str) -> NodeView:
        """One of them, with what was found on it last."""
        return self._call(GET_NODE, NodeRequest(name=name))

    def add_node(self, request: AddNodeRequest) -> JoinView:
        """How a machine becomes a node."""
        return self._call(ADD_NODE, request)

    def drain_node(self, name: str) -> NodeView:
        """Let a node run empty; returns at once."""
        return self._call(DRAIN_NODE, NodeRequest(name=name))

    def activate_node(self, name: str) -> NodeView:
        """Give a node services again."""
        return self._call(ACTIVATE_NODE, NodeRequest(name=name))

    def remove_node(self, name: str, *, force: bool = False) -> NodeView:
        """Take out a node that is drained or lost; with ``force`` any."""
        return self._call(REMOVE_NODE, RemoveNodeRequest(name=name, force=force))

    def collect_garbage(
        self,
        what: Sequence[GarbageKind] | None = None,
        *,
        keep: int = DEFAULT_KEEP,
        older_than_s: float = DEFAULT_OLDER_THAN_S,
        apply: bool = False,
        only: Sequence[str] | None = None,
    ) -> GarbageView:
        """Free what is not needed any more, or list what would go."""
        request = CollectGarbageRequest(
            what=None if what is None else list(what), keep=keep, older_than_s=older_than_s, apply=apply,
            only=None if only is None else list(only),
        )  # fmt: skip
        return self._call(COLLECT_GARBAGE, request)

    def get_audit(
        self,
        *,
        user: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        count: int = DEFAULT_AUDIT_COUNT,
    ) -> list[AuditEntry]:
        """Who did what, oldest first."""
        return self._call(GET_AUDIT, ListAuditRequest(user=user, action=action, since=since, count=count))
