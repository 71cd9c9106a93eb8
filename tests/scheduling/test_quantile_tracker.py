"""A bound that a given share of the values exceeds, whatever they do."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rafiki.scheduling.quantile_tracker import QuantileTracker

RNG = random.Random(7)


@pytest.fixture(autouse=True)
def _same_values_each_time() -> None:
    RNG.seed(7)


@pytest.mark.parametrize(
    "value",
    [
        lambda no: RNG.expovariate(100),
        lambda no: RNG.expovariate(100) * (1 + 20 * (no > 10_000)),
        lambda no: 0.05 if no % 1000 < 8 else 0.0002,  # stalls, each of which holds up several
        lambda no: 0.01 + no * 1e-6,
    ],
    ids=["even", "jump", "stalls", "drift"],
)
@pytest.mark.parametrize("over", [0.01, 0.1])
def test_the_share_above_the_bound_is_what_was_asked_for(value: Callable[[int], float], over: float) -> None:
    tracker, n_over = QuantileTracker(over, 0.01, least=0.0, most=10.0), 0
    for no in range(20_000):
        seen = value(no)
        n_over += seen > tracker.value
        tracker.add(seen)
    assert n_over / 20_000 < 1.15 * over + 0.002


def test_the_bound_is_no_larger_than_needed() -> None:
    tracker = QuantileTracker(0.05, 5.0, least=0.0, most=10.0)
    for _ in range(20_000):
        tracker.add(RNG.uniform(0.0, 1.0))
    assert tracker.value == pytest.approx(0.95, abs=0.1)


def test_the_bound_stays_within_its_limits() -> None:
    tracker = QuantileTracker(0.01, 0.5, least=0.1, most=1.0)
    for _ in range(1000):
        tracker.add(100.0)
    assert tracker.value == 1.0
    for _ in range(100_000):
        tracker.add(0.0)
    assert tracker.value == 0.1


def test_many_values_of_one_stall_raise_the_bound_no_further_than_to_them() -> None:
    tracker = QuantileTracker(0.01, 0.001, least=0.0, most=1.0)
    for _ in range(200):
        tracker.add(0.05)
    assert tracker.value == pytest.approx(0.05, rel=0.11)
