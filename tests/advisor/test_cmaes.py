"""Covariance matrix adaptation: generations, choices, integers, restarts."""

import math
import random
import warnings
from itertools import pairwise
from statistics import median

import pytest

pytest.importorskip("cmaes")

from rafiki.advisor.base import SearchSetup
from rafiki.advisor.cmaes import CmaesAdvisor
from rafiki.advisor.cmaes_scheme import CmaesOptions
from rafiki.advisor.random import RandomAdvisor
from rafiki.model.knobs import ArchKnob, CategoricalKnob, FloatKnob, IntegerKnob

BOX = {f"x{i}": FloatKnob(-5, 5) for i in range(4)}


def make(knobs=BOX, seed=0, scheme=CmaesAdvisor, **setup):
    options = setup.pop("options", CmaesOptions())
    return scheme(SearchSetup(knob_config=knobs, seed=seed, options=options, **setup))


def run(advisor, n, objective):
    for no in range(1, n + 1):
        advisor.feedback(no, objective(**advisor.propose(no).knobs))
    return advisor


def best(advisor):
    return max(t.score for t in advisor.trials if t.score is not None)


def bent(**x):
    """A narrow valley that lies along no knob (Rosenbrock), highest at 1 everywhere."""
    v = list(x.values())
    return -sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(v))


def test_it_walks_along_a_bent_valley():
    found = [best(run(make(seed=seed), 600, bent)) for seed in range(3)]
    drawn = [best(run(make(seed=seed, scheme=RandomAdvisor), 600, bent)) for seed in range(3)]
    assert median(found) > -3 > 10 * median(drawn)


MIXED = {
    "rate": FloatKnob(1e-6, 1, is_exp=True),
    "units": IntegerKnob(1, 300),
    "depth": IntegerKnob(1, 500, is_exp=True),
    "kind": CategoricalKnob(["relu", "tanh", "sigmoid"]),
    "cells": ArchKnob([[0, 1, 2], [0, 1, 2]]),
}


def mixed(rate, units, depth, kind, cells):
    bad = 0.1 * (kind != "tanh") + 0.1 * (cells[0] != 1) + 0.1 * (cells[1] != 2)
    return -bad - 0.05 * (math.log10(rate) + 3) ** 2 - abs(units - 222) / 300 - 0.1 * abs(math.log(depth / 20))


def test_numbers_integers_and_choices_are_found_together():
    advisor = run(make(MIXED), 350, mixed)
    late = [t.knobs for t in advisor.trials[250:350]]
    assert best(advisor) > -0.1
    assert sum(k["kind"] == "tanh" for k in late) > 50
    assert sum(k["cells"] == [1, 2] for k in late) > 35


def test_where_there_are_only_choices_they_are_learnt():
    knobs = {"cells": ArchKnob([list(range(6))] * 6)}
    advisor = run(make(knobs), 400, lambda cells: sum(c == i for i, c in enumerate(cells)))
    assert best(advisor) == 6
    assert best(run(make(knobs, scheme=RandomAdvisor), 400, lambda cells: sum(c == i for i, c in enumerate(cells)))) < 6


def test_integers_never_settle_where_they_cannot_leave():
    # From 50 on a long flat stretch; the best lies beyond it.
    knobs = {"n": IntegerKnob(0, 100), "x": FloatKnob(0, 1)}
    advisor = run(make(knobs), 300, lambda n, x: (n if n < 50 or n > 70 else 50) - (x - 0.5) ** 2)
    assert best(advisor) > 95


def test_once_all_is_found_it_begins_elsewhere_with_a_larger_population():
    def two_hills(x0, x1):
        return max(-(x0**2) - x1**2, 3 - 0.5 * ((x0 - 4) ** 2 + (x1 - 4) ** 2))

    knobs = {"x0": FloatKnob(-5, 5), "x1": FloatKnob(-5, 5)}
    options = CmaesOptions(sigma=0.05)
    short, long = (
        [best(run(make(knobs, seed, options=options), n, two_hills)) for seed in range(4)] for n in (80, 600)
    )
    assert all(-0.1 < score <= 0 for score in short), "it begins in the middle, which is the lower hill"
    assert median(long) > 2.9


@pytest.mark.parametrize("sigma", [0.02, 0.3])
def test_sigma_is_how_far_the_first_trials_lie_from_the_middle(sigma):
    knobs = {f"x{i}": FloatKnob(0, 1) for i in range(10)}
    advisor = make(knobs, options=CmaesOptions(sigma=sigma))
    first = [v - 0.5 for no in range(1, 9) for v in advisor.propose(no).knobs.values()]
    assert math.sqrt(sum(v * v for v in first) / 80) == pytest.approx(sigma, rel=0.35)


def test_generations_are_what_finished_not_what_was_asked():
    knobs = {"x": FloatKnob(0, 1)}
    advisor = make(knobs, options=CmaesOptions(population=4))
    for no in range(1, 41):
        advisor.propose(no)
        if no > 20:
            for done in (no - 20, no) if no % 2 else ():
                advisor.feedback(done, advisor.propose(done).knobs["x"])
    late = [advisor.propose(no).knobs["x"] for no in range(41, 61)]
    assert sum(x > 0.6 for x in late) > 15


def test_failures_and_trials_that_ended_early_count_as_the_worst():
    for odd in [(None, False), (9.0, True)]:
        advisor = make({"x": FloatKnob(0, 1)})
        for no in range(1, 61):
            x = advisor.propose(no).knobs["x"]
            score, is_ended_early = (x, False) if x > 0.5 else odd
            advisor.feedback(no, score, is_ended_early=is_ended_early)
        assert sum(t.knobs["x"] > 0.5 for t in advisor.trials[30:]) > 25


def test_it_begins_at_the_best_of_earlier_searches_or_at_the_first_knobs_given():
    past = run(make(seed=1), 200, bent).trials
    top = max(past, key=lambda t: t.score)
    options = CmaesOptions(sigma=0.01)
    advisor = make(history=tuple(past), options=options)
    for no in range(1, 9):
        assert advisor.propose(no).knobs == pytest.approx(top.knobs, abs=0.5)
    given = {"x0": 3.0, "x1": -3.0, "x2": 2.0, "x3": 4.0}
    advisor = make(first_knobs=(given,), options=options)
    for no in range(1, 9):
        assert advisor.propose(no).knobs == pytest.approx(given, abs=0.5)


@pytest.mark.parametrize("objective", [lambda **k: 1.0, lambda **k: None, lambda **k: math.nan, lambda **k: 1e308])
@pytest.mark.parametrize("knobs", [BOX, MIXED, {"n": IntegerKnob(1, 5)}, {"x": FloatKnob(1.0, 1.0000000000000002)}])
def test_scores_that_say_nothing_never_stop_the_search(knobs, objective):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(run(make(knobs), 80, objective).trials) == 80


def test_a_finite_space_in_which_it_has_settled_is_still_searched():
    knobs = {"a": IntegerKnob(0, 19), "b": IntegerKnob(0, 19)}
    advisor = run(make(knobs), 300, lambda a, b: -abs(a - 3) - abs(b - 17))
    assert len({repr(t.knobs) for t in advisor.trials}) == 300
    phases = [t.proposal.phase for t in advisor.trials[100:]]
    assert {"search", "random"} == set(phases)


def test_a_restored_search_has_the_same_distribution():
    advisor = run(make(MIXED), 100, mixed)
    for no in range(101, 105):
        advisor.propose(no)
    restored = make(MIXED)
    restored.restore(random.Random(0).sample(advisor.trials, 104))
    for no in range(105, 130):
        assert restored.propose(no) == advisor.propose(no)
        for each in (advisor, restored):
            each.feedback(no, mixed(**advisor.propose(no).knobs))
