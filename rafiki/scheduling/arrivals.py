"""When queries come, in seconds: loads for the simulator and the load generator alike. Seeded."""

from __future__ import annotations

import math
import random
from collections.abc import Callable


def _thinned(rate: Callable[[float], float], most: float, seconds: float, seed: int) -> list[float]:
    """A Poisson process whose rate changes (Lewis and Shedler, "Simulation of nonhomogeneous Poisson processes by
    thinning", Naval Research Logistics 26, 1979)."""
    rng, at, found = random.Random(seed), 0.0, list[float]()
    while (at := at + rng.expovariate(most)) < seconds:
        if rng.random() * most < rate(at):
            found.append(at)
    return found


def sine(low: float, high: float, seconds: float, *, period_s: float, seed: int = 0) -> list[float]:
    """A rate that swings between ``low`` and ``high`` queries a second, from low."""
    middle, swing = (low + high) / 2, (high - low) / 2
    return _thinned(lambda t: middle - swing * math.cos(2 * math.pi * t / period_s), high, seconds, seed)


def step(low: float, high: float, seconds: float, *, from_s: float, seed: int = 0) -> list[float]:
    """``low`` queries a second until ``from_s``, and ``high`` from then on."""
    return _thinned(lambda t: high if t >= from_s else low, max(low, high), seconds, seed)


def burst(low: float, high: float, seconds: float, *, from_s: float, until_s: float, seed: int = 0) -> list[float]:
    """``low`` queries a second, and ``high`` between ``from_s`` and ``until_s``."""
    return _thinned(lambda t: high if from_s <= t < until_s else low, max(low, high), seconds, seed)
