"""A worker waits for more queries where that gains, and never where it does not."""

from __future__ import annotations

import pytest

from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.batch_wait import BatchWait
from tests.scheduling.one_worker import Load, serve


@pytest.mark.parametrize("clients", [2, 8, 32])
def test_batches_of_clients_that_wait_for_their_answers_do_not_chase_each_other(clients: int) -> None:
    # A forest: 14 ms whatever the batch holds. Without waiting, half of the clients are always in the other batch.
    now, waited = (serve(Load(clients), 0.014, 5e-5, waits=w) for w in (False, True))
    assert waited.per_s > 1.6 * now.per_s
    assert waited.median_s < 0.65 * now.median_s
    assert waited.mean_batch > 0.95 * clients


@pytest.mark.parametrize(
    ("load", "fixed_s", "each_s"),
    [
        (Load(32), 3e-4, 5e-5),  # a tree
        (Load(1), 3e-4, 5e-5),
        (Load(rate=2000), 1e-4, 1e-4),
    ],
)
def test_a_model_that_shares_no_costs_never_waits(load: Load, fixed_s: float, each_s: float) -> None:
    waited, now = (serve(load, fixed_s, each_s, waits=w, seconds=4) for w in (True, False))
    assert waited == now


@pytest.mark.parametrize(
    ("load", "fixed_s", "each_s"),
    [
        (Load(1), 0.014, 5e-5),  # nobody else ever comes
        (Load(8), 0.0, 0.005),
        (Load(rate=20), 0.014, 5e-5),
        (Load(rate=500), 0.014, 5e-5),
        (Load(rate=2000), 0.014, 5e-5),
        (Load(rate=3), 0.2, 0.01),
        (Load(64), 0.05, 0.001),
        (Load(8, think_s=0.5), 0.014, 5e-5),  # clients that think for long
    ],
)
def test_waiting_never_costs_much(load: Load, fixed_s: float, each_s: float) -> None:
    now, waited = (serve(load, fixed_s, each_s, waits=w) for w in (False, True))
    assert waited.per_s > 0.97 * now.per_s
    assert waited.mean_s < 1.03 * now.mean_s


def test_a_deadline_that_is_near_ends_the_wait() -> None:
    cost = BatchCost()
    for _ in range(20):
        cost.add(1, 0.01)
    wait = BatchWait(cost)
    assert wait.may_gain(1)
    assert wait.wait_s(1, slack_s=1.0) > 0
    wait.add(1, 1e-4, 1)
    assert wait.wait_s(1, slack_s=1.0) == pytest.approx(0.01)
    assert wait.wait_s(1, slack_s=0.013) == pytest.approx(0.003)
    assert wait.wait_s(1, slack_s=0.01) == 0
    assert wait.wait_s(1, slack_s=-1) == 0


def test_what_never_comes_is_looked_for_once_in_a_while() -> None:
    cost = BatchCost()
    for _ in range(20):
        cost.add(1, 0.01)
    wait, waits = BatchWait(cost), 0
    for _ in range(640):
        if wait_s := wait.wait_s(1, slack_s=1.0):
            waits += 1
            wait.add(1, wait_s, 0)
    assert waits == 11
