"""Which host, and which GPUs, a worker is given. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from rafiki.admin.gpus import GpuSeats
from rafiki.admin.no_place import Obstacle, explain
from rafiki.admin.observed import Observed
from rafiki.constants import ServiceType
from rafiki.container.hosts import Host
from rafiki.entities import Gpu, InferenceJob, Service, TrainJob

_OF_JOBS = (ServiceType.TRAIN, ServiceType.INFERENCE)
"""Services that are placed: the others stay beside the admin."""


class Place(msgspec.Struct, frozen=True):
    host: str | None = None
    """None = where the back end likes."""
    gpus: list[Gpu] = []


ANYWHERE = Place()


class NoPlace(msgspec.Struct, frozen=True):
    reason: str
    """For people."""


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be placed."""

    service_type: ServiceType
    job_id: str
    unit_id: str
    image: str | None = None
    """Its own; None = that of all workers."""
    needs_gpu: bool = False
    gpu_count: int = 0
    """How many GPUs its job may hold."""
    workers_per_gpu: int = 1
    is_extra: bool = False
    """The load alone asks for it: it takes no core from others."""


class StartsLeft:
    """How many services may still be started, for one plan: what is not started now is planned again."""

    def __init__(self, observed: Observed) -> None:
        self._left = observed.most_starts

    @property
    def is_none_left(self) -> bool:
        return self._left is not None and self._left <= 0

    def take(self) -> None:
        if self._left is not None:
            self._left -= 1


class _Room:
    """A host, and what is on it."""

    def __init__(self, host: Host, index: int) -> None:
        self.host = host
        self.index = index
        self.cores = max(host.cores or 1.0, 0.01)
        self.n_workers = 0
        self.of_jobs: Counter[str] = Counter()
        self.of_units: Counter[str] = Counter()

    def add(self, job_id: str, unit_id: str) -> None:
        self.n_workers += 1
        self.of_jobs[job_id] += 1
        self.of_units[unit_id] += 1

    def free_bytes(self, worker_bytes: int) -> int | None:
        """What may still be reserved; None = nothing is reserved there."""
        limit = self.host.reservable_bytes
        return None if limit is None else limit - self.n_workers * worker_bytes


class Placement:
    """Gives places away, for one plan. What cannot be placed costs nothing the second time."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._need_bytes = observed.worker_memory_bytes
        self.starts = StartsLeft(observed)
        self._rooms = {host.name: _Room(host, i) for i, host in enumerate(observed.hosts)}
        services = [*(s.service for s in observed.services), *observed.stopping]
        for service in services:
            self._count(service)
        self._gpus = GpuSeats(observed.gpus, services)
        self._refused: dict[str, dict[str, str]] = {}
        """By what a worker works on: host -> reason."""
        for (unit_id, host), reason in observed.refusals.items():
            self._refused.setdefault(unit_id, {})[host] = reason
        self._names: dict[str, dict[str, str]] = {}
        """By user: what the user calls the own jobs, by their ids."""
        self._owners: dict[str, str] = {}
        jobs: list[TrainJob | InferenceJob] = [o.job for o in observed.train_jobs]
        for job in [*jobs, *(o.job for o in observed.inference_jobs)]:
            self._names.setdefault(job.user_id, {})[job.id] = f"{job.app}/{job.app_version}"
            self._owners[job.id] = job.user_id
        self._full: dict[tuple[str | None, bool], NoPlace] = {}
        """Why nothing can be placed that no host has refused, by its image and whether it is an extra one: room only
        gets less."""
        self._open: set[tuple[str | None, bool]] = set()
        """The images of workers for which there was a place when none could be started any more."""

    def _count(self, service: Service) -> None:
        host = self._observed.service_hosts.get(service.id) or next((gpu.host for gpu in service.gpus), None)
        if service.service_type in _OF_JOBS and host in self._rooms:
            self._rooms[host].add(service.job_id, service.unit_id)

    def is_draining(self, service: Service) -> bool:
        """Whether a service is on a host that is to run empty."""
        room = self._rooms.get(self._observed.service_hosts.get(service.id, ""))
        return room is not None and room.host.is_draining

    def find(self, worker: Worker) -> Place | NoPlace:
        """A place, which is then taken; or why there is none."""
        if worker.needs_gpu:
            place = self._find_gpu(worker)
        elif not self._rooms:
            return ANYWHERE
        else:
            place = self._find_host(worker)
        if isinstance(place, Place) and (room := self._rooms.get(place.host or "")) is not None:
            room.add(worker.job_id, worker.unit_id)
        return place

    def find_obstacle(self, worker: Worker) -> NoPlace | None:
        """Why there is no place for a worker that cannot be started now; None when there is one. However many wait for
        their turn, the hosts are gone through once."""
        if worker.needs_gpu or not self._rooms or worker.unit_id in self._refused:
            place = self.find(worker)
            return place if isinstance(place, NoPlace) else None
        kind = (worker.image, worker.is_extra)
        if kind in self._open:
            return None
        place = self._find_host(worker)
        if isinstance(place, NoPlace):
            return place
        self._open.add(kind)
        return None

    def _find_host(self, worker: Worker) -> Place | NoPlace:
        can_differ, kind = worker.unit_id in self._refused, (worker.image, worker.is_extra)
        if not can_differ and (known := self._full.get(kind)) is not None:
            return known
        fit, obstacles = self._sift(self._rooms, worker)
        if not fit:
            none = NoPlace(explain(obstacles, self._need_bytes))
            if not can_differ:
                self._full[kind] = none
            return none
        return Place(min(fit, key=lambda room: self._rank(room, worker)).host.name)

    def _find_gpu(self, worker: Worker) -> Place | NoPlace:
        held = self._gpus.held_by(worker.job_id)
        # Those of a draining host are about to be given back.
        kept = [gpu for gpu in held if (r := self._rooms.get(gpu.host)) is None or not r.host.is_draining]
        obstacles: list[Obstacle] = []
        if len(kept) < worker.gpu_count:
            fit, obstacles = self._sift(self._gpus.free, worker)
            if fit:
                host = min(fit, key=lambda room: self._rank(room, worker)).host.name
                return self._seat(self._gpus.free[host][0], worker)
            # Of a host that is not told of, nothing speaks against it.
            untold = (gpus[0] for host, gpus in self._gpus.free.items() if host not in self._rooms)
            if gpu := next(untold, None):
                return self._seat(gpu, worker)
        shared = [gpu for gpu in kept if held[gpu] < worker.workers_per_gpu]
        fit, more = self._sift({gpu.host for gpu in shared}, worker)
        open_hosts = {room.host.name for room in fit} | {gpu.host for gpu in shared if gpu.host not in self._rooms}
        if seats := [gpu for gpu in shared if gpu.host in open_hosts]:
            return self._seat(min(seats, key=lambda gpu: held[gpu]), worker)
        obstacles += more
        if obstacles:
            return NoPlace(f"a GPU is free, but {explain(obstacles, self._need_bytes)}")
        return NoPlace(self._gpus.explain(self._names.get(self._owners.get(worker.job_id, ""), {})))

    def _seat(self, gpu: Gpu, worker: Worker) -> Place:
        self._gpus.take(gpu, worker.job_id)
        return Place(gpu.host if self._rooms else None, [gpu])

    def _rank(self, room: _Room, worker: Worker) -> tuple[float, float, float, int]:
        """The lowest is taken: the host with the least work; for replicas, one that has the fewest of them."""
        load = (room.n_workers + 1) / room.cores
        of_unit, of_job = room.of_units[worker.unit_id], room.of_jobs[worker.job_id]
        if worker.service_type is ServiceType.INFERENCE:
            return (of_unit, of_job, load, room.index)
        return (load, of_unit, of_job, room.index)

    def _sift(self, hosts: Iterable[str], worker: Worker) -> tuple[list[_Room], list[Obstacle]]:
        """The hosts, of those that are told of, that can take a worker; and what speaks against the others."""
        fit, obstacles = [], []
        refused = self._refused.get(worker.unit_id, {})
        for name in hosts:
            if (room := self._rooms.get(name)) is None:
                continue
            obstacle = self._obstacle(room, worker, refused.get(name))
            if obstacle is None:
                fit.append(room)
            else:
                obstacles.append(obstacle)
        return fit, obstacles

    def _obstacle(self, room: _Room, worker: Worker, refusal: str | None) -> Obstacle | None:
        host = room.host
        if (closed := host.why_closed) is not None:
            return Obstacle(host.name, state=closed)
        if worker.image is None and host.has_image is False and not host.can_fetch_image:
            return Obstacle(host.name, state=f"lacks the image {self._observed.image}, and cannot pull it")
        if self._need_bytes and (free := room.free_bytes(self._need_bytes)) is not None and free < self._need_bytes:
            return Obstacle(host.name, free_bytes=max(0, free))
        if worker.is_extra and not worker.needs_gpu and host.cores is not None and room.n_workers >= int(host.cores):
            return Obstacle(host.name, state=f"has a worker for each of its {int(host.cores)} cores")
        return None if refusal is None else Obstacle(host.name, state=f"could not start it: {refusal}")
