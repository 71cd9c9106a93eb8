"""One worker and its clients in simulated time, for tests of when it waits."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from itertools import count
from statistics import mean, median

from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.batch_wait import BatchWait

_ROUND_TRIP_S = 2e-4
_LATE_TIMER_S = 5e-4


@dataclass(frozen=True)
class Load:
    """``clients`` that send the next query about ``think_s`` after an answer; a Poisson stream of ``rate`` a second."""

    clients: int = 0
    rate: float = 0.0
    think_s: float = 1e-3


@dataclass(frozen=True)
class Outcome:
    per_s: float
    median_s: float
    mean_s: float
    mean_batch: float


def serve(
    load: Load,
    fixed_s: float,
    each_s: float,
    *,
    waits: bool,
    deadline_s: float = 2.0,
    most: int = 64,
    seconds: float = 30,
) -> Outcome:
    """What a worker does in ``seconds`` whose batches of b cost ``fixed_s + each_s * b``, give or take a tenth."""
    rng = random.Random(7)
    cost = BatchCost()
    wait = BatchWait(cost)
    coming: list[tuple[float, int]] = []
    numbers = count()
    queue: list[float] = []
    now, took, sizes = 0.0, list[float](), list[int]()

    def arrive(at: float) -> None:
        heapq.heappush(coming, (at, next(numbers)))

    def take_in(until: float) -> None:
        while coming and coming[0][0] <= until:
            at, _ = heapq.heappop(coming)
            queue.append(at)
            if load.rate:
                arrive(at + rng.expovariate(load.rate))

    for _ in range(load.clients):
        arrive(rng.random() * 0.01)
    if load.rate:
        arrive(rng.expovariate(load.rate))
    while now < seconds:
        take_in(now)
        if not queue:
            now = coming[0][0]
            continue
        held = queue[:most]
        del queue[:most]
        while waits and wait.may_gain(len(held)) and len(held) < most:
            wait_s = wait.wait_s(len(held), held[0] + deadline_s - now)
            if not wait_s:
                break
            began = now
            take_in(now := now + _ROUND_TRIP_S)
            if not queue and coming and coming[0][0] <= began + wait_s:
                take_in(now := max(now, coming[0][0]) + _ROUND_TRIP_S)
            elif not queue:
                now = began + wait_s + _LATE_TIMER_S
            came = queue[: most - len(held)]
            del queue[: len(came)]
            wait.add(len(held), now - began, len(came))
            if not came:
                break
            held += came
        lasted_s = (fixed_s + each_s * len(held)) * rng.lognormvariate(0, 0.1)
        cost.add(len(held), lasted_s)
        now += lasted_s
        sizes.append(len(held))
        for at in held:
            took.append(now - at)
            if load.clients:
                arrive(now + load.think_s * (0.5 + rng.random()))
    return Outcome(len(took) / now, median(took), mean(took), mean(sizes))
