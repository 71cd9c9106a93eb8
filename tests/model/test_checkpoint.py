"""``utils.checkpoint`` as model code calls it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rafiki.errors import ModelError
from rafiki.model import utils
from rafiki.model.base import Params


class Keeper:
    def __init__(self) -> None:
        self.is_due_now = True
        self.kept: list[tuple[Params, int]] = []

    def is_due(self) -> bool:
        return self.is_due_now

    def save(self, params: Params, step: int) -> bool:
        self.kept.append((params, step))
        return True

    def load(self) -> tuple[Params, int] | None:
        return self.kept[-1] if self.kept else None


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    made = Keeper()
    utils.checkpoint.set_keeper(made)
    yield made
    utils.checkpoint.set_keeper(None)


def test_outside_of_a_trial_nothing_is_kept_and_nothing_is_found() -> None:
    assert utils.checkpoint.load() is None
    assert utils.checkpoint.save({"x": 1}, 1) is False
    assert utils.checkpoint.save(lambda: pytest.fail("it was called"), 1) is False


def test_what_was_saved_is_loaded_with_its_step(keeper: Keeper) -> None:
    assert utils.checkpoint.load() is None
    assert utils.checkpoint.save({"x": 1}, 3)
    assert utils.checkpoint.save(lambda: {"x": 2}, np.int64(4))  # type: ignore[arg-type]
    assert utils.checkpoint.load() == ({"x": 2}, 4)


def test_a_function_is_called_only_when_a_checkpoint_is_due(keeper: Keeper) -> None:
    keeper.is_due_now = False
    assert utils.checkpoint.save(lambda: pytest.fail("it was called"), 1) is False


@pytest.mark.parametrize("step", [1.5, "three", None, float("nan"), float("inf"), 1 << 60])
def test_a_step_that_is_no_whole_number_is_refused_in_a_trial_and_outside(step: Any) -> None:
    with pytest.raises(ModelError, match="whole number"):
        utils.checkpoint.save({}, step)


@pytest.mark.parametrize("params", [[1], None, lambda: [1]])
def test_a_state_that_is_no_dict_is_refused(keeper: Keeper, params: Any) -> None:
    with pytest.raises(ModelError, match="pass a dict"):
        utils.checkpoint.save(params, 1)


def test_the_state_of_a_torch_training_needs_no_torch_until_it_is_used() -> None:
    code = """
import sys
from rafiki.model import utils
best = utils.torch_training.Best(0.5)
training = utils.torch_training.TorchTraining(best=best)
assert training.resume() == 0
assert not training.save(1)
best.load_state_dict(best.state_dict())
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_part_may_not_have_the_name_of_the_random_numbers() -> None:
    with pytest.raises(ModelError, match="'random' is torch's random numbers"):
        utils.torch_training.TorchTraining(random=utils.torch_training.Best(0.5))
