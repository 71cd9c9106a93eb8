"""The recurrent policy over architectures, and what it is trained with."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rafiki.advisor.enas_controller import Choices, Controller
from rafiki.advisor.enas_reinforce import Baseline

POSITIONS = [[0, 1, 2], [1, 2], [3], [0, 2, 4, 5]]


def drawn(controller: Controller, n: int, seed: int = 0) -> list[Choices]:
    return [controller.sample(random.Random(f"{seed}/{i}")) for i in range(n)]


@pytest.mark.parametrize("advantage", [1.3, -0.7, 0.0])
def test_gradients_are_those_of_finite_differences(advantage: float) -> None:
    controller = Controller(POSITIONS, seed=0, hidden=5, entropy_weight=0.1)
    rng = np.random.default_rng(1)
    for weights in controller.weights.values():
        # Far from the small initial weights, where every function is nearly linear.
        weights[...] = rng.normal(0.0, 0.7, weights.shape)
    (choices,) = drawn(controller, 1)
    gradients = {name: g.copy() for name, g in controller.loss(choices, advantage)[1].items()}
    step = 1e-6
    for name, weights in controller.weights.items():
        for index in np.ndindex(weights.shape):
            held = weights[index]
            losses = []
            for moved in (held + step, held - step):
                weights[index] = moved
                losses.append(controller.loss(choices, advantage)[0])
            weights[index] = held
            numeric = (losses[0] - losses[1]) / (2 * step)
            assert gradients[name][index] == pytest.approx(numeric, abs=1e-7), (name, index)


def test_architectures_are_drawn_with_the_probabilities_of_the_loss() -> None:
    controller = Controller([[0, 1, 2], [1, 3]], seed=3, entropy_weight=0.0)
    rng = np.random.default_rng(0)
    for weights in controller.weights.values():
        weights[...] = rng.normal(0.0, 1.0, weights.shape)
    n = 4000
    found = drawn(controller, n)
    total = 0.0
    for a in range(3):
        for b in range(2):
            # With an advantage of 1 and without entropy the loss is the negated logarithm of the probability.
            p = np.exp(-controller.loss([a, b], 1.0)[0])
            total += p
            assert found.count([a, b]) / n == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / n) + 1e-3)
    assert total == pytest.approx(1.0)


def test_rewarded_choices_become_likely() -> None:
    controller, baseline = Controller(POSITIONS, seed=0), Baseline()
    for i in range(300):
        choices = controller.sample(random.Random(i))
        # The second choice is good only after the first one of its kind: what an LSTM can know.
        reward = float(choices[0] == 2) + float(choices[3] == choices[0])
        controller.update(choices, baseline.advantage(reward))
    assert controller.greedy() == [2, controller.greedy()[1], 0, 2]
    assert sum(c[0] == 2 and c[3] == 2 for c in drawn(controller, 100)) > 60


def test_entropy_keeps_the_policy_open() -> None:
    """Without reward, what is left is the bonus: a policy that was narrow widens again."""
    controller = Controller([[0, 1]], seed=0, entropy_weight=0.1)
    controller.weights["b"][0] = [3.0, -3.0]
    before = sum(c == [1] for c in drawn(controller, 400))
    for _ in range(200):
        controller.update([0], 0.0)
    after = sum(c == [1] for c in drawn(controller, 400))
    assert before < 60 < 150 < after


@pytest.mark.parametrize(("second", "is_moved"), [([0, 1], True), ([2, 3], False)])
def test_what_is_learnt_of_a_value_holds_at_every_position_that_has_it(second: list[int], is_moved: bool) -> None:
    controller = Controller([[0, 1], second], seed=0, entropy_weight=0.0)
    # The output layer alone: what the first position learns of value 1.
    gradient = controller.loss([1, 0], 1.0)[1]["o"][1].copy()
    before = controller.loss([0, 1], 1.0)[0] - controller.loss([0, 0], 1.0)[0]
    controller.weights["o"][1] -= 10 * gradient
    after = controller.loss([0, 1], 1.0)[0] - controller.loss([0, 0], 1.0)[0]
    assert (after != before) is is_moved


@pytest.mark.parametrize("positions", [[], [[0]], [[0], [0]]])
def test_a_space_without_a_choice_is_one_architecture(positions: list[list[int]]) -> None:
    controller = Controller(positions, seed=0)
    controller.update([0] * len(positions), 1.0)
    assert controller.greedy() == controller.sample(random.Random(0)) == [0] * len(positions)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
def test_advantages_do_not_depend_on_the_scale_of_scores(scale: float) -> None:
    rng = random.Random(0)
    rewards = [rng.gauss(5.0, 1.0) for _ in range(40)]
    one, other = Baseline(), Baseline()
    assert [one.advantage(r) for r in rewards] == pytest.approx([other.advantage(r * scale) for r in rewards], rel=1e-6)


def test_a_baseline_follows_rewards_that_rise_and_faster_after_a_training() -> None:
    slow, fast = Baseline(), Baseline()
    for i in range(100):
        slow.advantage(i % 2)
        fast.advantage(i % 2)
    fast.expect_change()
    for _ in range(5):
        late = [slow.advantage(10.0), fast.advantage(10.0)]
    assert 0 <= late[1] < late[0]


@pytest.mark.parametrize("rewards", [[1e200, -1e200, 1e200], [0.0, 0.0, 0.0], [1e308, -1e308]])
def test_advantages_of_extreme_rewards_are_finite(rewards: list[float]) -> None:
    baseline = Baseline()
    assert all(-3 <= baseline.advantage(r) <= 3 for r in rewards * 5)
