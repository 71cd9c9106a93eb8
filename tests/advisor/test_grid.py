"""Grid search: which points, how many, in which order."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from rafiki.advisor.base import SearchSetup
from rafiki.advisor.grid import GridAdvisor, GridOptions, SpreadGrid
from rafiki.errors import InvalidTrialError, ModelError
from rafiki.model.knobs import ArchKnob, CategoricalKnob, FixedKnob, FloatKnob, IntegerKnob, PolicyKnob


def grid(knobs, points=5, seed=0, **setup):
    return GridAdvisor(SearchSetup(knob_config=knobs, seed=seed, options=GridOptions(points=points), **setup))


def walk(advisor):
    return [advisor.propose(no).knobs for no in range(1, advisor.max_trials + 1)]


@pytest.mark.parametrize(
    ("knob", "points", "values"),
    [
        (FloatKnob(0, 1), 5, [0, 0.25, 0.5, 0.75, 1]),
        (FloatKnob(-2, 2), 2, [-2, 2]),
        (FloatKnob(1e-4, 1, is_exp=True), 5, [1e-4, 1e-3, 1e-2, 1e-1, 1]),
        (FloatKnob(0.1, 0.7, is_exp=True), 2, [0.1, 0.7]),
        (FloatKnob(3, 3), 5, [3]),
        (FloatKnob(1.0, 1.0000000000000002), 5, [1.0, 1.0000000000000002]),
        (FloatKnob(-1.7e308, 1.7e308), 3, [-1.7e308, 0, 1.7e308]),
        (IntegerKnob(1, 4), 5, [1, 2, 3, 4]),
        (IntegerKnob(1, 5), 5, [1, 2, 3, 4, 5]),
        (IntegerKnob(0, 100), 5, [0, 25, 50, 75, 100]),
        (IntegerKnob(1, 16, is_exp=True), 5, [1, 2, 4, 8, 16]),
        (IntegerKnob(1, 6, is_exp=True), 5, [1, 2, 4, 6]),
        (IntegerKnob(0, 2**62), 3, [0, 2**61, 2**62]),
        (CategoricalKnob(["a", "b", "c", "a"]), 2, ["a", "b", "c"]),
        (CategoricalKnob([True]), 2, [True]),
    ],
)
def test_a_knob_takes_evenly_spread_values_on_its_own_scale(knob, points, values):
    found = [k["k"] for k in walk(grid({"k": knob}, points))]
    assert sorted(found) == pytest.approx(values)
    assert (min(found), max(found)) == (values[0], values[-1]), "both ends, to the last bit"


EVERY_KIND = {
    "x": FloatKnob(0, 1),
    "n": IntegerKnob(1, 3),
    "c": CategoricalKnob(["u", "v"]),
    "cells": ArchKnob([[0, 1, 2], [0, 1]]),
    "f": FixedKnob(7),
    "stop": PolicyKnob("EARLY_STOP"),
}


def test_every_combination_comes_once_and_the_search_ends_with_the_last():
    advisor = grid(EVERY_KIND, points=4)
    assert advisor.max_trials == 4 * 3 * 2 * 3 * 2
    walked = walk(advisor)
    assert len({repr(k) for k in walked}) == advisor.max_trials
    assert all(k["f"] == 7 and k["stop"] is False for k in walked)
    with pytest.raises(InvalidTrialError, match="no trial 145"):
        advisor.propose(145)
    assert repr(walk(grid(EVERY_KIND, points=4, seed=1))) != repr(walked)


def test_without_a_choice_there_is_one_point():
    assert walk(grid({"f": FixedKnob(7)})) == [{"f": 7}]


@pytest.mark.parametrize("counts", [[5, 5, 5], [7, 4, 3, 2], [2, 9, 2, 9], [6, 1, 4], [10, 10], [3], []])
def test_the_order_is_a_spread_permutation_of_all_points(counts):
    spread = SpreadGrid(counts, random.Random(1))
    points = [spread.point(i) for i in range(spread.size)]
    assert len({tuple(p) for p in points}) == spread.size
    assert [spread.place(p) for p in points] == list(range(spread.size))
    longest = max(counts, default=1)
    for begin in range(0, spread.size, longest):
        block = points[begin : begin + longest]
        for j, count in enumerate(counts):
            uses = Counter(p[j] for p in block)
            assert len(uses) == count, "every block holds every value of every knob"
            assert max(uses.values()) - min(uses.values()) <= 1


def test_a_search_that_is_cut_short_has_met_nearly_every_pair_of_values():
    spread = SpreadGrid([5] * 6, random.Random(1))
    points = [spread.point(i) for i in range(100)]
    for a, b in pairwise(range(6)):
        assert len({(p[a], p[b]) for p in points}) >= 22


def test_a_huge_grid_costs_nothing():
    advisor = grid({f"x{i}": FloatKnob(0, 1) for i in range(12)})
    assert advisor.max_trials == 5**12
    numbers = [*range(1, 60), 5**12 // 2, 5**12]
    assert len({repr(advisor.propose(no).knobs) for no in numbers}) == len(numbers)


@pytest.mark.parametrize(
    ("n_knobs", "constraints", "named"),
    [(13, (), "1,000,000,000 are the most"), (8, ("x0 < x1",), "200,000 are the most"), (2, ("x0 < 0",), "No point")],
)
def test_an_absurd_grid_is_refused_with_what_to_do(n_knobs, constraints, named):
    with pytest.raises(ModelError, match=named) as caught:
        grid({f"x{i}": FloatKnob(0, 1) for i in range(n_knobs)}, constraints=constraints)
    assert "points of each knob" in caught.value.message


def test_constraints_thin_the_grid_and_are_counted():
    advisor = grid({"a": IntegerKnob(1, 9), "b": IntegerKnob(1, 9)}, points=9, constraints=("a <= b", "b != 5"))
    walked = walk(advisor)
    assert len(walked) == len({repr(k) for k in walked}) == 45 - 5
    assert all(k["a"] <= k["b"] != 5 for k in walked)


@pytest.mark.parametrize("constraints", [(), ("a <= b",)])
def test_knobs_to_try_first_come_first_and_not_again(constraints):
    knobs = {"a": IntegerKnob(1, 4), "b": IntegerKnob(1, 4), "x": FloatKnob(0, 1)}
    first = ({"a": 2, "b": 3, "x": 0.5}, {"a": 1, "b": 1, "x": 0.3}, {"a": 2, "b": 3, "x": 0.5})
    advisor = grid(knobs, points=5, first_knobs=first, constraints=constraints)
    walked = walk(advisor)
    assert walked[:3] == list(first)
    assert len({repr(k) for k in walked[1:]}) == len(walked) - 1
    whole = 80 if not constraints else 50
    assert len(walked) == whole + 2, "the second and third are new and again: 3 more, 1 less"


def test_a_restored_grid_goes_on_where_it_was():
    advisor = grid(EVERY_KIND)
    for no in range(1, 20):
        advisor.propose(no)
        advisor.feedback(no, None if no % 2 else 1.0)
    restored = grid(EVERY_KIND)
    restored.restore(advisor.trials)
    assert [restored.propose(no) for no in range(20, 30)] == [advisor.propose(no) for no in range(20, 30)]
