"""``utils.checkpoint`` as model code calls it."""

from __future__ import annotations

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
