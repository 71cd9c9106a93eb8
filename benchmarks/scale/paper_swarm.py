"""Hosts and an engine on paper, which take the time that a Docker Swarm was seen to take."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.scale.virtual_time import VirtualTime
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

CALL_S = (0.04, 0.12)
"""To make a secret and a service."""
CREATED_TO_RUNNING_S = (0.5, 2.9)
LOST_AFTER_S = (10.0, 13.0)
BACK_AFTER_S = 4.0
STOP_S = 3.4
END_SEEN_AFTER_S = (0.3, 1.0)
REMOVE_S = 0.05
BESIDE_S = 0.01
"""To start a process beside the admin."""
_ELSEWHERE = ("train", "inference")


class PaperProcess(Protocol):
    """What runs in a container."""

    def begin(self) -> None:
        """It runs from now on."""

    def ask_to_end(self) -> None: ...

    def die(self) -> None: ...

    def cut_off(self) -> None:
        """Its host has lost the network."""

    def reconnect(self) -> None: ...


@dataclass(eq=False)
class Machine:
    name: str
    is_up: bool = True
    is_ready: bool = True
    """What the engine says."""
    tasks: dict[str, Task] = field(default_factory=dict)


@dataclass(eq=False)
class Task:
    request: ServiceRequest
    host: Machine | None
    """None = beside the admin."""
    process: PaperProcess | None = None
    exit: ServiceExit | None = None
    """As far as the engine knows."""


class PaperSwarm(ContainerManager):
    """One Swarm; advisors and predictors are processes beside the admin."""

    def __init__(
        self,
        time: VirtualTime,
        rng: random.Random,
        n_hosts: int,
        run: Callable[[ServiceRequest, bytes, Callable[[int], None]], PaperProcess],
    ) -> None:
        """
        Args:
            run: makes the process of a service from its request, its spec, and what it calls when it ends by itself.
        """
        self._time, self._rng, self._run = time, rng, run
        self.machines = [Machine(f"host-{i:03}") for i in range(n_hosts)]
        self.tasks: dict[str, Task] = {}
        """Those that the engine knows."""
        self.calls: Counter[str] = Counter()

    def is_elsewhere(self, kind: str) -> bool:
        return kind in _ELSEWHERE

    # ---- as the supervisor sees it

    def start(self, request: ServiceRequest) -> StartedService:
        self.calls["start"] += 1
        address = Address("10.0.0.1", 20_000 + self.calls["start"] % 40_000) if request.listens else None
        spec = request.make_spec(address)
        if not self.is_elsewhere(request.kind):
            self._time.sleep(BESIDE_S)
            self._launch(Task(request, None), spec)
        else:
            self._time.sleep(self._rng.uniform(*CALL_S))
            host = next(machine for machine in self.machines if machine.name == request.host)
            task = Task(request, host)
            host.tasks[request.service_id] = task
            self.tasks[request.service_id] = task
            self._time.call_later(self._rng.uniform(*CREATED_TO_RUNNING_S), lambda: self._launch(task, spec))
        return StartedService(handle=request.service_id, address=address)

    def _launch(self, task: Task, spec: bytes) -> None:
        service_id = task.request.service_id
        if task.exit is not None or (task.host is not None and not task.host.is_up):
            return
        self.tasks[service_id] = task
        task.process = self._run(task.request, spec, lambda code: self._end(task, code))
        task.process.begin()

    def find(self, service_id: str) -> StartedService | None:
        self.calls["find"] += 1
        task = self.tasks.get(service_id)
        return None if task is None or task.exit else StartedService(handle=service_id)

    def poll(self, service_id: str, handle: str) -> ServiceExit | None:
        task = self.tasks.get(service_id)
        return task.exit if task is not None else ServiceExit(code=None, reason="it is not in the Swarm (any more)")

    def stop(self, service_id: str, handle: str, timeout_s: float) -> None:
        self.calls["stop"] += 1
        task = self.tasks.get(service_id)
        if task is None:
            return
        if task.exit is None and task.process is not None and (task.host is None or task.host.is_up):
            task.process.ask_to_end()
            self._time.sleep(BESIDE_S if task.host is None else STOP_S)
        while task.exit is None and task.host is not None and not task.host.is_up and task.host.is_ready:
            self._time.sleep(1.0)  # the engine does not know yet that the host is lost
        if task.process is not None and (task.host is None or task.host.is_up):
            task.process.die()
        task.exit = task.exit or ServiceExit(code=0, reason="it was stopped")
        self._time.sleep(REMOVE_S)
        self._forget(task)

    def hosts(self) -> list[Host]:
        return [Host(name=m.name, is_reached=m.is_ready, cores=16.0) for m in self.machines]

    def find_hosts(self, service_ids: Iterable[str]) -> dict[str, str]:
        found = ((i, self.tasks[i].host) for i in service_ids if i in self.tasks)
        return {service_id: host.name for service_id, host in found if host is not None}

    def usage(self, service_id: str, handle: str) -> ServiceUsage:
        return ServiceUsage(pid=None, memory_bytes=None)

    def gpus(self) -> list[Gpu]:
        return []

    def close(self) -> None:
        self.tasks.clear()

    # ---- what happens

    def _end(self, task: Task, code: int) -> None:
        """A process has ended by itself, or was killed."""
        reason = "it ended with exit code 0" if code == 0 else f"it was killed by signal {-code}"

        def see() -> None:
            task.exit = task.exit or ServiceExit(code=code, reason=reason)

        self._time.call_later(self._rng.uniform(*END_SEEN_AFTER_S), see)

    def _forget(self, task: Task) -> None:
        self.tasks.pop(task.request.service_id, None)
        if task.host is not None and task.host.is_up:
            task.host.tasks.pop(task.request.service_id, None)

    def crash(self, service_id: str) -> None:
        """Kill a process as the kernel does."""
        task = self.tasks.get(service_id)
        if task is not None and task.process is not None and task.exit is None:
            task.process.die()
            self._end(task, -9)

    def lose(self, host: Machine, for_s: float, *, is_power_cut: bool) -> list[str]:
        """A host is gone for a while; the ids of the services on it. A power cut ends what runs there, a cut of the
        network does not: the host ends it when it comes back, and until then it goes on."""
        host.is_up = False
        lost = list(host.tasks.values())
        for task in lost:
            if task.process is not None:
                if is_power_cut:
                    task.process.die()
                else:
                    task.process.cut_off()
        noticed_after_s = self._rng.uniform(*LOST_AFTER_S)
        if for_s > noticed_after_s:
            self._time.call_later(noticed_after_s, lambda: self._notice(host))
        self._time.call_later(for_s, lambda: self._come_back(host))
        return [task.request.service_id for task in lost]

    def _notice(self, host: Machine) -> None:
        host.is_ready = False
        for task in host.tasks.values():
            task.exit = task.exit or ServiceExit(code=None, reason=f"its host {host.name} is lost")

    def _come_back(self, host: Machine) -> None:
        host.is_up = True
        for task in host.tasks.values():
            if task.process is not None:
                task.process.reconnect()
        self._time.call_later(0.0 if host.is_ready else BACK_AFTER_S, lambda: self._be_ready(host))

    def _be_ready(self, host: Machine) -> None:
        """What the engine gave up is ended now."""
        host.is_ready = True
        for service_id, task in list(host.tasks.items()):
            if task.exit is not None or service_id not in self.tasks:
                if task.process is not None:
                    task.process.die()
                del host.tasks[service_id]
