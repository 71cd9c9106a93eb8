"""A container manager whose services exist on paper, on a host of its own, for tests of who uses one."""

from __future__ import annotations

from collections.abc import Iterable

from rafiki.container.base import (
    Address,
    ContainerManager,
    ServiceExit,
    ServiceRequest,
    ServiceUsage,
    StartedService,
)
from rafiki.container.hosts import Host
from rafiki.entities import Gpu

INSIDE = Address("0.0.0.0", 8000)
"""Where every service listens that is one to listen: it is reached elsewhere, as behind a published port."""


class FakeContainerManager(ContainerManager):
    """Services run until a test ends them. ``specs`` holds what each was given to read."""

    def __init__(self) -> None:
        self.requests: dict[str, ServiceRequest] = {}
        self.specs: dict[str, bytes] = {}
        self.running: dict[str, StartedService] = {}
        self.exits: dict[str, ServiceExit] = {}
        self.machines: list[Host] = []
        """Those that it tells of; none = it chooses one by itself."""

    def start(self, request: ServiceRequest) -> StartedService:
        address = Address("node-2", request.last_port or 30_000 + len(self.requests)) if request.listens else None
        self.requests[request.service_id] = request
        self.specs[request.service_id] = request.make_spec(INSIDE if address else None)
        self.running[request.service_id] = StartedService(handle=f"task {request.service_id}", address=address)
        return self.running[request.service_id]

    def end(self, service_id: str, code: int) -> None:
        del self.running[service_id]
        self.exits[service_id] = ServiceExit(code=code, reason=f"it ended with exit code {code}")

    def find(self, service_id: str) -> StartedService | None:
        return self.running.get(service_id)

    def poll(self, service_id: str, handle: str) -> ServiceExit | None:
        if service_id in self.running:
            return None
        return self.exits.get(service_id, ServiceExit(code=None, reason="it is not known"))

    def stop(self, service_id: str, handle: str, timeout_s: float) -> None:
        if self.running.pop(service_id, None) is not None:
            self.exits[service_id] = ServiceExit(code=0, reason="it was stopped")

    def usage(self, service_id: str, handle: str) -> ServiceUsage:
        return ServiceUsage(pid=None, memory_bytes=None)

    def hosts(self) -> list[Host]:
        return self.machines

    def find_hosts(self, service_ids: Iterable[str]) -> dict[str, str]:
        asked = {i: self.requests[i].host for i in service_ids if i in self.running and i in self.requests}
        return {service_id: host for service_id, host in asked.items() if host is not None}

    def gpus(self) -> list[Gpu]:
        return [Gpu("node-1", "0"), Gpu("node-2", "0")]

    def close(self) -> None:
        self.running.clear()
