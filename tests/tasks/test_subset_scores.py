"""Scores of subsets of an ensemble's members: as measured where they are few, and less what is chance where many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rafiki.scheduling.subset_scores import useful_subsets
from rafiki.tasks.model_library import ModelLibrary, NumberLibrary, ProbabilityLibrary, VoteLibrary
from rafiki.tasks.subset_scores import subset_scores

N_CLASSES = 4


def classifiers(skills: Sequence[float], n_examples: int, seed: int) -> ProbabilityLibrary:
    """Members that add so much to the chance of the right class; all find the same examples hard."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, N_CLASSES, n_examples)
    right = np.eye(N_CLASSES)[labels]
    hard = rng.normal(0, 1, (n_examples, N_CLASSES))
    packed = []
    for skill in skills:
        logits = skill * right + hard + rng.normal(0, 1, (n_examples, N_CLASSES))
        odds = np.exp(logits)
        packed.append({"labels": labels, "predictions": odds / odds.sum(axis=1, keepdims=True)})
    return ProbabilityLibrary(packed)


def measured(library: ModelLibrary, weights: dict[int, float]) -> dict[int, float]:
    members = sorted(weights)
    return {
        mask: library.score_of({i: weights[i] for m, i in enumerate(members) if mask >> m & 1}).score
        for mask in useful_subsets(len(members))
    }


def test_scores_of_few_members_are_as_measured_with_the_weights_in_force() -> None:
    library = classifiers([2.0, 1.0, 0.5, 0.2], 300, seed=1)
    for weights in ({0: 3.0, 2: 1.0}, {0: 1.0, 1: 5.0, 3: 2.0}):
        assert subset_scores(library, weights) == pytest.approx(measured(library, weights))
    assert subset_scores(library, {0: 1.0, 1: 9.0}) != subset_scores(library, {0: 9.0, 1: 1.0})


def test_what_differs_by_chance_alone_is_moved_together() -> None:
    library = classifiers([1.5] * 7, 200, seed=2)
    weights = dict.fromkeys(range(7), 1.0)
    before, after = measured(library, weights), subset_scores(library, weights)
    of_three = [mask for mask in before if mask.bit_count() == 3]
    assert np.std([after[m] for m in of_three]) < 0.5 * np.std([before[m] for m in of_three])
    assert np.mean([after[m] for m in of_three]) == pytest.approx(np.mean([before[m] for m in of_three]))
    everyone = max(before)
    assert after[everyone] == before[everyone]


def test_what_differs_in_truth_stays_apart_and_keeps_its_order() -> None:
    library = classifiers([4.0, 3.0, 1.0, 0.3, 0.0], 2000, seed=3)
    weights = dict.fromkeys(range(5), 1.0)
    before, after = measured(library, weights), subset_scores(library, weights)
    for size in range(1, 6):
        masks = sorted((m for m in before if m.bit_count() == size), key=lambda m: before[m])
        assert [after[m] for m in masks] == sorted(after[m] for m in masks)
    assert after == pytest.approx(before, abs=0.01)


def test_on_few_examples_shrunk_scores_are_nearer_to_the_truth() -> None:
    skills = [2.0, 1.9, 1.8, 1.7, 1.6, 1.5]
    weights = dict.fromkeys(range(6), 1.0)
    truth = measured(classifiers(skills, 50_000, seed=4), weights)
    sizes = {size: [m for m in truth if m.bit_count() == size] for size in (2, 3, 4)}

    def error(found: dict[int, float]) -> float:
        # Of the differences within a size, which is what is chosen by.
        off = [np.array([found[m] - truth[m] for m in masks]) for masks in sizes.values()]
        return float(sum(np.var(of_size) for of_size in off))

    libraries = [classifiers(skills, 200, seed=100 + no) for no in range(20)]
    before = sum(error(measured(library, weights)) for library in libraries)
    after = sum(error(subset_scores(library, weights)) for library in libraries)
    assert after < 0.7 * before


@pytest.mark.parametrize("kind", ["probabilities", "numbers", "tags"])
def test_the_gains_of_the_examples_have_the_score_as_their_mean(kind: str) -> None:
    rng = np.random.default_rng(5)
    library: ModelLibrary
    if kind == "probabilities":
        library = classifiers([1.0] * 5, 50, seed=6)
    elif kind == "numbers":
        labels = rng.normal(size=40)
        library = NumberLibrary([{"labels": labels, "predictions": labels + rng.normal(size=40)} for _ in range(5)])
    else:
        labels, lengths = rng.integers(0, 3, 60), np.full(6, 10)
        tags = [np.where(rng.random(60) < 0.7, labels, rng.integers(-1, 3, 60)) for _ in range(5)]
        library = VoteLibrary([{"labels": labels, "lengths": lengths, "predictions": t} for t in tags])
    weights = {0: 2.0, 1: 1.0, 3: 1.0, 4: 3.0}
    total = library.sum_of(weights)
    assert np.mean(library.gains(total, 7.0)) == pytest.approx(library.score_of(weights).score)
    assert subset_scores(library, weights).keys() == measured(library, weights).keys()
