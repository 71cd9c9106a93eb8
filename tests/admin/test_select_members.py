"""The process that chooses an ensemble's members, on the files that train workers leave."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from rafiki.admin.select_members import SelectAnswer, SelectRequest, answer
from rafiki.param_store.folder import FolderParamStore
from rafiki.tasks.registry import get_task
from rafiki.tasks.validation import CombiningTask

LABELS = [0, 1, 2, 0, 1, 2]
TASK = "IMAGE_CLASSIFICATION"


def predicting(classes: Sequence[int], sure: float = 0.8) -> list[list[float]]:
    return [[sure if k == c else (1 - sure) / 2 for k in range(3)] for c in classes]


class Trials:
    """Trials with the predictions given, best first; None has none."""

    def __init__(self, folder: Path) -> None:
        self.store = FolderParamStore(folder)
        self.ids: list[str] = []

    def add(self, predictions: Any, labels: Sequence[int] = LABELS) -> None:
        self.ids.append(self.store.save({"no": len(self.ids)}))
        rules = get_task(TASK)
        assert isinstance(rules, CombiningTask)
        if predictions is not None:
            self.store.save_validation(self.ids[-1], rules.pack(labels, predictions))

    def request(self, **fields: Any) -> SelectRequest:
        return SelectRequest(task=TASK, params=self.store.location, params_ids=self.ids, **fields)


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    return Trials(tmp_path / "params")


# The first two miss one example each, and the other is surer of it; the third is worse alone.
FIRST, SECOND = predicting([0, 1, 2, 0, 1, 0], 0.5), predicting([1, 1, 2, 0, 1, 2], 0.6)


def test_members_are_chosen_and_their_weights_sum_up_to_one(trials: Trials) -> None:
    for predictions in (FIRST, SECOND, predicting([0, 0, 0, 0, 0, 0])):
        trials.add(predictions)
    found = answer(trials.request(max_members=2, given=[0]))
    assert sum(found.weights.values()) == pytest.approx(1.0)
    assert len(found.weights) <= 2
    assert found.single_scores == pytest.approx({0: 5 / 6, 1: 5 / 6, 2: 2 / 6})
    assert found.best_single_score == pytest.approx(5 / 6)
    assert found.score is not None
    assert found.score >= found.best_single_score
    assert (found.n_examples, found.note) == (6, None)


def test_given_members_are_scored_with_equal_weights(trials: Trials) -> None:
    trials.add(predicting([0, 1, 2, 0, 1, 0]))
    trials.add(predicting(LABELS, sure=0.9))
    found = answer(trials.request(given=[0, 1]))
    assert found.weights == {0: 0.5, 1: 0.5}
    assert (found.score, found.best_single_score) == (1.0, 1.0)
    assert found.single_scores == pytest.approx({0: 5 / 6, 1: 1.0})
    assert found.subset_scores == pytest.approx({0b01: 5 / 6, 0b10: 1.0, 0b11: 1.0})


def test_when_the_best_trial_cannot_be_compared_it_is_served_alone(trials: Trials) -> None:
    trials.add(None)
    trials.add(predicting(LABELS))
    found = answer(trials.request(max_members=3, given=[0]))
    assert (found.weights, found.score) == ({0: 1.0}, None)
    assert found.note == "The best trial has no validation predictions."


def test_a_best_trial_with_an_order_of_classes_of_its_own_is_served_alone(trials: Trials) -> None:
    trials.add(predicting([2, 0, 1, 2, 0, 1]))
    trials.add(predicting([0, 1, 2, 0, 1, 1]))
    found = answer(trials.request(max_members=3, given=[0]))
    assert (found.weights, found.score) == ({0: 1.0}, None)
    assert "orders its classes in a way of its own" in str(found.note)


def _four_classes(labels: Sequence[int]) -> list[list[float]]:
    return [[*row, 0.0] for row in predicting(labels)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t.add(None),
        lambda t: t.add(predicting(LABELS), labels=LABELS[::-1]),
        lambda t: t.add(predicting(LABELS[:3]), labels=LABELS[:3]),
        lambda t: t.add(_four_classes(LABELS)),
        lambda t: t.add(predicting([2, 0, 1, 2, 0, 1])),
        lambda t: (t.add(FIRST), t.store.save_validation(t.ids[-1], {"labels": np.zeros(6)})),
        lambda t: (t.add(FIRST), t.store.save_validation(t.ids[-1], {"labels": "x", "predictions": 3})),
        lambda t: t.add([[float("nan")] * 3] * 6),
    ],
    ids=["none", "other_examples", "fewer_examples", "more_classes", "other_order", "no_values", "no_arrays", "nan"],
)
def test_a_trial_that_cannot_be_compared_with_the_best_is_left_out(trials: Trials, spoil: Any) -> None:
    trials.add(FIRST)
    spoil(trials)
    trials.add(SECOND)
    found = answer(trials.request(max_members=3, given=[0]))
    assert found.note is None
    assert set(found.single_scores) == {0, 2}
    assert 1 not in found.weights
    scored = answer(trials.request(given=[0, 1]))
    assert (scored.weights, scored.score) == ({0: 0.5, 1: 0.5}, None)
    assert "1 of its members" in str(scored.note)


def test_the_process_reads_a_request_and_writes_the_answer(trials: Trials, tmp_path: Path) -> None:
    trials.add(FIRST)
    trials.add(SECOND)
    request = trials.request(max_members=2, given=[0])
    child = subprocess.run(
        [sys.executable, "-m", "rafiki.admin.select_members"], input=msgspec.json.encode(request),
        capture_output=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert msgspec.json.decode(child.stdout, type=SelectAnswer) == answer(request)
