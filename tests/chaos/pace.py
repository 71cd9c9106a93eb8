"""How much goes on, and how fast: for an hour, or for a test."""

from __future__ import annotations

from typing import NamedTuple

Range = tuple[float, float]


class Pace(NamedTuple):
    """Of one run."""

    jobs: int
    """At the same time."""
    trials: tuple[int, int]
    """Of a job."""
    trial_s: Range
    deployed_s: Range
    """How long a deployment stays until another takes its place."""
    pause_s: float
    """Between two blows, on average."""
    stopped_s: Range
    """How long a process is stopped or a disk is full."""
    locked_s: Range
    """How long the database is."""


LONG = Pace(3, (40, 100), (0.2, 0.5), (40.0, 80.0), 2.6, (0.2, 3.0), (0.5, 6.0))
"""1,000 blows of an hour come 3.6 s after each other, with what they wait for their turn."""
SHORT = Pace(2, (8, 16), (0.1, 0.3), (15.0, 30.0), 1.0, (0.2, 1.0), (0.5, 1.5))
