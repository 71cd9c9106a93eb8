"""Members and weights that are chosen greedily on validation predictions."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from rafiki.tasks.ensemble_selection import select_greedily
from rafiki.tasks.model_library import ModelLibrary
from rafiki.tasks.registry import get_task
from rafiki.tasks.validation import CombiningTask

IMAGES, TABLE, NUMBERS, TAGS = "IMAGE_CLASSIFICATION", "TABULAR_CLASSIFICATION", "TABULAR_REGRESSION", "POS_TAGGING"


def rules(task: str) -> CombiningTask:
    found = get_task(task)
    assert isinstance(found, CombiningTask)
    return found


def library(task: str, labels: list[Any], *models: list[Any]) -> ModelLibrary:
    return rules(task).library([rules(task).pack(labels, predictions) for predictions in models])


def noisy_models(task: str, rng: np.random.Generator, n_models: int, n: int) -> tuple[list[Any], list[list[Any]]]:
    """Labels, and what models of different skill say of them."""
    skills = rng.uniform(0.3, 0.95, n_models)
    if task == NUMBERS:
        truth = rng.normal(size=n)
        return truth.tolist(), [(truth + rng.normal(size=n) / skill).tolist() for skill in skills]
    k = 4
    if task == TAGS:
        lengths = rng.integers(1, 6, n)
        sentences = [rng.integers(0, k, length) for length in lengths]
        return [s.tolist() for s in sentences], [
            [np.where(rng.random(len(s)) < skill, s, rng.integers(0, k, len(s))).tolist() for s in sentences]
            for skill in skills
        ]
    classes = rng.integers(0, k, n)
    models = [rng.dirichlet(np.ones(k), n) * (1 - skill) + skill * np.eye(k)[classes] * 0.5 for skill in skills]
    return classes.tolist(), [(m / m.sum(axis=1, keepdims=True)).tolist() for m in models]


def served_score(task: str, labels: list[Any], members: list[list[Any]], weights: list[float]) -> float:
    """The score of what the predictor would answer."""
    answers = [rules(task).ensemble([m[i] for m in members], weights) for i in range(len(labels))]
    if task == NUMBERS:
        truth = np.array(labels)
        return float(1 - np.mean((truth - np.array(answers)) ** 2) / truth.var())
    if task == TAGS:
        pairs = list(zip(itertools.chain(*answers), itertools.chain(*labels), strict=True))
        return float(np.mean([a == b for a, b in pairs]))
    return float(np.mean([int(np.argmax(a)) == b for a, b in zip(answers, labels, strict=True)]))


@pytest.mark.parametrize("task", [IMAGES, TABLE, NUMBERS, TAGS])
@pytest.mark.parametrize(("seed", "size"), [(0, 1), (1, 2), (2, 3), (3, 5), (4, 20)])
def test_an_ensemble_serves_what_it_scored_and_never_less_than_the_best_single(task: str, seed: int, size: int) -> None:
    labels, models = noisy_models(task, np.random.default_rng(seed), n_models=8, n=60)
    made = library(task, labels, *models)
    chosen = select_greedily(made, size)
    assert 1 <= len(chosen.weights) <= size
    members = sorted(chosen.weights)
    total = sum(chosen.weights.values())
    weights = [chosen.weights[m] / total for m in members]
    served = served_score(task, labels, [models[m] for m in members], weights)
    assert served == pytest.approx(chosen.score.score, abs=1e-5)
    singles = [made.score_of({m: 1.0}).score for m in range(8)]
    assert chosen.best_single_score.score == max(singles) == singles[chosen.best_single]
    assert chosen.score.score >= max(singles)
    if size == 1:
        assert chosen.weights.keys() == {chosen.best_single}


def test_errors_in_opposite_directions_cancel_and_weights_say_how_much() -> None:
    truth = [0.0, 1.0, 2.0, 3.0]
    above, below = [t + 2.0 for t in truth], [t - 1.0 for t in truth]
    useless = [5.0, -3.0, 8.0, 1.0]
    chosen = select_greedily(library(NUMBERS, truth, below, above, useless), 3)
    assert chosen.score.score == pytest.approx(1.0)
    assert chosen.weights[0] == 2 * chosen.weights[1]
    assert 2 not in chosen.weights


def test_a_partner_of_the_best_is_found_when_the_places_are_few() -> None:
    # The second best repeats the best; the third, worse alone, mends its errors.
    truth = [0.0, 1.0, 2.0, 3.0]
    best = [t + 1.0 for t in truth]
    chosen = select_greedily(library(NUMBERS, truth, best, [b + 0.1 for b in best], [t - 1.5 for t in truth]), 2)
    assert chosen.weights.keys() == {0, 2}


def test_the_more_certain_of_equally_accurate_models_is_taken() -> None:
    labels = [0, 1, 0, 1]
    unsure = [[0.6, 0.4], [0.4, 0.6], [0.6, 0.4], [0.6, 0.4]]
    sure = [[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.6, 0.4]]
    chosen = select_greedily(library(TABLE, labels, unsure, sure), 1)
    assert chosen.weights == {1: 1.0}


def test_a_class_that_training_did_not_have_is_always_missed() -> None:
    made = library(TABLE, [0, -1], [[1.0, 0.0], [0.0, 1.0]])
    assert made.score_of({0: 1.0}).score == 0.5


def test_a_sentence_with_too_few_tags_counts_as_missed() -> None:
    made = library(TAGS, [[1, 2], [3]], [[1], [3]], [[1, 2], [4]])
    assert made.score_of({0: 1.0}).score == pytest.approx(1 / 3)
    # Its vote on that sentence counts for nothing.
    assert made.score_of({0: 1.0, 1: 1.0}).score == 1.0


def test_a_model_with_an_order_of_classes_of_its_own_is_found() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    good = np.eye(3)[labels] * 0.8 + 0.1
    poor = rng.dirichlet(np.ones(3), 90) + 0.4 * np.eye(3)[labels]
    other_order = good[:, [2, 0, 1]]
    made = library(TABLE, labels.tolist(), good.tolist(), other_order.tolist(), poor.tolist())
    assert made.find_misfits() == {1}


@pytest.mark.parametrize("task", [IMAGES, NUMBERS, TAGS])
def test_predictions_for_other_examples_cannot_be_compared(task: str) -> None:
    labels, models = noisy_models(task, np.random.default_rng(0), n_models=1, n=10)
    packed = rules(task).pack(labels, models[0])
    with pytest.raises(ValueError):
        rules(task).library([packed, rules(task).pack(labels[::-1], models[0])])
    with pytest.raises(ValueError):
        rules(task).library([packed, rules(task).pack(labels[:5], models[0][:5])])


@pytest.mark.parametrize(
    ("task", "predictions", "weights", "expected"),
    [
        (IMAGES, [[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0], [0.75, 0.25]),
        (TABLE, [[1.0, 0.0], [0.0, 1.0]], [0.1, 0.3], [0.25, 0.75]),
        (NUMBERS, [1.0, 5.0], [0.75, 0.25], 2.0),
        (TAGS, [[1, 1], [2, 1], [2, 3]], [0.6, 0.2, 0.2], [1, 1]),
        (TAGS, [[1], [2], [2]], [0.2, 0.2, 0.2], [2]),
        # 0.1 + 0.2 is a little more than 0.3; equal votes are the best member's all the same.
        (TAGS, [[1], [2], [2]], [0.3, 0.1, 0.2], [1]),
        ("SPEECH_RECOGNITION", ["a", "b"], [0.1, 0.9], "a"),
        ("MY_TASK", [1, 2], [0.1, 0.9], 1),
    ],
)
def test_members_count_by_their_weights(task: str, predictions: list[Any], weights: list[float], expected: Any) -> None:
    assert get_task(task).ensemble(predictions, weights) == pytest.approx(expected)
    assert json.dumps(get_task(task).ensemble(predictions[:1], weights[:1])) == json.dumps(predictions[0])
