"""The GPUs of a stack, and who holds them. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from rafiki.entities import Gpu, Service

_MOST_NAMED = 3


def share_gpus(count: int, n_units: int) -> list[int]:
    """GPUs, or places on them, of each model: shared out evenly, the first models get what is left over."""
    each, left = divmod(count, n_units)
    return [each + (1 if i < left else 0) for i in range(n_units)]


class GpuSeats:
    """A GPU is one job's alone. Where the job says so, several of its workers share it."""

    def __init__(self, gpus: Iterable[Gpu], services: Iterable[Service]) -> None:
        """
        Args:
            gpus: all that there are, in the order in which they are given away.
            services: all that have not ended.
        """
        self._all = list(gpus)
        self._held: defaultdict[str, Counter[Gpu]] = defaultdict(Counter)
        for service in services:
            for gpu in service.gpus:
                self._held[service.job_id][gpu] += 1
        taken = {gpu for held in self._held.values() for gpu in held}
        self.free: dict[str, list[Gpu]] = {}
        """Those that nobody holds, by host."""
        for gpu in self._all:
            if gpu not in taken:
                self.free.setdefault(gpu.host, []).append(gpu)

    def held_by(self, job_id: str) -> Counter[Gpu]:
        """How many workers of a job are on each of its GPUs."""
        return self._held[job_id]

    def take(self, gpu: Gpu, job_id: str) -> None:
        self._held[job_id][gpu] += 1
        if gpu in (free := self.free.get(gpu.host, [])):
            free.remove(gpu)
            if not free:
                del self.free[gpu.host]

    def explain(self, names: Mapping[str, str]) -> str:
        """Why there is none, of all of them.

        Args:
            names: the jobs that whoever is told may know of, by their ids; the others are counted.
        """
        if not self._all:
            return "there is no GPU"
        holders = [job_id for job_id, held in self._held.items() if held]
        named = sorted(names[job_id] for job_id in holders if job_id in names)[:_MOST_NAMED]
        n_others = len(holders) - len(named)
        others = [f"{n_others} other job{'' if n_others == 1 else 's'}"] if n_others else []
        which = "the only GPU is" if len(self._all) == 1 else f"all {len(self._all)} GPUs are"
        return f"{which} in use by {_listed([*named, *others])}"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
