"""The cost of a batch is learned as a line and a tail, whatever single batches do."""

from __future__ import annotations

import random

import pytest

from rafiki.scheduling.batch_cost import BatchCost


def learned(fixed_s: float, each_s: float, sizes: list[int], noise: float = 0.0) -> BatchCost:
    rng, cost = random.Random(3), BatchCost()
    for size in sizes:
        cost.add(size, (fixed_s + each_s * size) * rng.lognormvariate(0, noise))
    return cost


def test_nothing_is_known_at_first() -> None:
    cost = BatchCost()
    assert not cost.is_known
    assert cost.median_s(5) == cost.tail_s(5) == 0.0


@pytest.mark.parametrize(("fixed_s", "each_s"), [(0.014, 5e-5), (0.0, 0.005), (0.002, 0.002), (1e-5, 1e-4), (3.0, 0.1)])
def test_the_parts_of_the_cost_are_told_apart(fixed_s: float, each_s: float) -> None:
    rng = random.Random(1)
    cost = learned(fixed_s, each_s, [rng.randint(1, 64) for _ in range(400)], noise=0.05)
    for size in (1, 8, 30, 64):
        assert cost.median_s(size) == pytest.approx(fixed_s + each_s * size, rel=0.15)
    assert cost.fixed_s == pytest.approx(fixed_s, rel=0.15, abs=0.1 * (fixed_s + 20 * each_s))


def test_batches_of_one_size_may_share_all_of_their_cost() -> None:
    cost = learned(0.01, 0.001, [4] * 50)
    assert (cost.fixed_s, cost.each_s) == pytest.approx((0.014, 0.0))


def test_no_part_is_ever_negative() -> None:
    shrinking, growing = BatchCost(), BatchCost()
    for size in range(1, 40):
        shrinking.add(size, 1.0 / size)
        growing.add(size, size**2 * 1e-4)
        for cost in (shrinking, growing):
            assert cost.each_s >= 0
            assert cost.fixed_s >= -1e-12


def test_a_slow_beginning_is_not_taken_for_the_cost() -> None:
    cost = BatchCost()
    for took_s in (15.0, 0.01, 0.01):
        cost.add(1, took_s)
        assert not cost.is_known
    cost.add(1, 0.01)
    assert cost.is_known
    assert cost.median_s(1) == pytest.approx(0.01)


def test_one_slow_batch_changes_nothing() -> None:
    cost = learned(0.01, 0.001, [1, 4, 8, 16] * 20)
    cost.add(8, 5.0)
    for _ in range(7):
        cost.add(8, 0.018)
    assert cost.median_s(8) == pytest.approx(0.018, rel=0.01)


def test_a_lasting_change_is_followed() -> None:
    cost = learned(0.01, 0.001, [1, 4, 8, 16] * 20)
    for _ in range(16):
        for size in (1, 4, 8, 16):
            cost.add(size, 3 * (0.01 + 0.001 * size))
    assert cost.median_s(8) == pytest.approx(0.054, rel=0.01)


def test_the_tail_is_where_one_batch_in_a_hundred_ends() -> None:
    cost = BatchCost()
    for no in range(400):
        cost.add(4, 0.1 if no % 20 == 19 else 0.01)
    assert cost.median_s(4) == pytest.approx(0.01)
    assert cost.tail_s(4) == pytest.approx(0.1)
