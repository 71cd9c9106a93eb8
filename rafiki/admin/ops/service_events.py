"""The stream of all services."""

from __future__ import annotations

from rafiki.admin.context import AdminContext
from rafiki.admin.events import SERVICES, EventHub, Source, encode_event
from rafiki.admin.operation import bind_stream
from rafiki.admin.ops.stack import service_views
from rafiki.cache.changes import Change
from rafiki.contract.endpoint import Empty
from rafiki.contract.stack import WATCH_SERVICES, ServicesEvent, ServiceView
from rafiki.entities import User

_RELOOK_S = 2.0
"""Memory and figures change without a note."""


class ServicesSource(Source):
    """One stream of the services."""

    topic = SERVICES
    relook_s = _RELOOK_S

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._told: list[ServiceView] | None = None

    async def read(self, hub: EventHub, changes: frozenset[Change]) -> list[bytes]:
        services = await hub.in_thread(service_views, self._context)
        if services == self._told:
            return []
        self._told = services
        return [encode_event(ServicesEvent(services=services))]


def watch_services(context: AdminContext, actor: User, request: Empty) -> ServicesSource:
    return ServicesSource(context)


OPERATIONS = [
    bind_stream(WATCH_SERVICES, watch_services),
]
