"""What predict() has to return is said where it returns something else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest

from rafiki.errors import ModelPredictError
from rafiki.model.predictions import listed_predictions

EIGHT = "and a list with one prediction for each of 8 queries is expected."


def generated(n: int) -> Iterator[int]:
    yield from range(n)


class OldSequence:
    def __getitem__(self, i: int) -> int:
        if i > 7:
            raise IndexError
        return i


class Frame:
    """As a table of pandas is read: by its columns."""

    columns, iloc, shape = ["a"], None, (8, 1)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.mark.parametrize("returned", [list(range(8)), tuple(range(8)), np.arange(8), range(8), OldSequence()])
def test_a_list_of_one_prediction_a_query_is_taken_whatever_its_type(returned: object) -> None:
    assert listed_predictions(returned, 8) == list(range(8))
    assert len(listed_predictions(np.zeros((8, 10)), 8)) == 8
    assert listed_predictions(generated(8), 8) == list(range(8))


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ("horse", f"predict() returned a str ('horse'), {EIGHT}"),
        ("12345678", f"predict() returned a str ('12345678'), {EIGHT}"),  # of eight letters
        (b"12345678", "predict() returned a bytes (b'12345678'), "),
        ({i: i for i in range(8)}, "predict() returned a dict with the keys 0, 1, 2, ..., "),
        ({}, "predict() returned an empty dict, "),
        (set(range(8)), "predict() returned a set, "),
        (None, f"predict() returned None (is a `return` missing?), {EIGHT}"),
        (7, "predict() returned an int (7), "),
        (0.5, "predict() returned a float (0.5), "),
        (np.float64(0.5), "of shape (), "),
        (np.array(7), "predict() returned an ndarray of shape (), "),
        (np.zeros((10, 8)), "predict() returned 10 predictions (an ndarray of shape (10, 8)), "),
        ([0.5], f"predict() returned 1 prediction (a list), {EIGHT}"),
        ([], "predict() returned 0 predictions (a list), "),
        (generated(3), "predict() returned 3 predictions (a generator), "),
        (count(), "predict() returned at least 68 predictions (a count), "),
        (Frame(), "predict() returned a Frame of shape (8, 1), "),
        (object(), "predict() returned an object, "),
    ],
)
def test_anything_else_is_told_as_what_it_is(returned: object, says: str) -> None:
    with pytest.raises(ModelPredictError) as caught:
        listed_predictions(returned, 8)
    assert says in caught.value.message
    assert caught.value.message.endswith(EIGHT)


def test_of_one_query_no_number_is_told() -> None:
    with pytest.raises(ModelPredictError) as caught:
        listed_predictions("horse", 1)
    assert caught.value.message == "predict() returned a str ('horse'), and a list with one prediction is expected."
