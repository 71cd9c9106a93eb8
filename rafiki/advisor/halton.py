"""Quasi-random points that fill the unit cube evenly however many are taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RESOLUTION = 2.0**-40


def scrambled_halton(n: int, n_dimensions: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The first ``n`` points of a randomised Halton sequence in [0, 1), shape (n, n_dimensions).

    Owen, "A randomized Halton algorithm in R", 2017, section 3: each digit of the radical inverse, in the base of its
    dimension, goes through a random permutation of its own. Without it, dimensions with large bases run in lockstep.
    """
    out = np.zeros((n, n_dimensions))
    for j, base in enumerate(_primes(n_dimensions)):
        left, place = np.arange(n), 1.0 / base
        while place > _RESOLUTION:
            out[:, j] += place * rng.permutation(base)[left % base]
            left, place = left // base, place / base
    return np.minimum(out, 1.0 - _RESOLUTION)


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % p for p in found if p * p <= candidate):
            found.append(candidate)
        candidate += 1
    return found
