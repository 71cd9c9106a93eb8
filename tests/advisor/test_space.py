import random
from collections import Counter

import numpy as np
import pytest

from rafiki.advisor.encoding import Encoding
from rafiki.advisor.space import SearchSpace, draw_unseen
from rafiki.errors import ModelError
from rafiki.model.knobs import (
    ArchKnob,
    CategoricalKnob,
    FixedKnob,
    FloatKnob,
    IntegerKnob,
    PolicyKnob,
    check_knobs,
)

EVERY_KIND = {
    "fixed": FixedKnob("f"),
    "rate": FloatKnob(1e-5, 10.0, is_exp=True),
    "drop": FloatKnob(-2, 3),
    "units": IntegerKnob(1, 1000, is_exp=True),
    "layers": IntegerKnob(-3, 4),
    "kind": CategoricalKnob(["a", "b", "c"]),
    "flag": CategoricalKnob([True, False]),
    "stop": PolicyKnob("EARLY_STOP"),
    "same": IntegerKnob(5, 5),
    "same_too": FloatKnob(0.5, 0.5),
    "cells": ArchKnob([[1, 2], [3], [1, 4, 5]]),
}


def test_every_drawn_point_is_valid_and_comes_back_from_the_unit_cube():
    space = SearchSpace(EVERY_KIND)
    rng = random.Random(0)
    for _ in range(300):
        key = space.draw(rng)
        knobs = space.knobs(key)
        assert check_knobs(EVERY_KIND, knobs) == knobs
        assert knobs["stop"] is False
        assert knobs["same"] == 5
        assert space.key(knobs) == key
        again = space.from_unit(space.to_unit(key))
        assert [v if isinstance(v, str) else pytest.approx(v, rel=1e-9, abs=1e-12) for v in key] == list(again)


def test_snapped_coordinates_are_those_of_the_value_they_stand_for():
    searched = {k: v for k, v in EVERY_KIND.items() if k != "cells"}
    space = SearchSpace(searched)
    unit = np.random.default_rng(0).random((500, len(space.dimensions)))
    unit[0], unit[1] = 0.0, 1.0
    snapped = Encoding(space).snap(unit)
    for row, snapped_row in zip(unit, snapped, strict=True):
        key = space.from_unit(list(row))
        assert snapped_row == pytest.approx(space.to_unit(key), abs=1e-9)
        assert [v for v in space.from_unit(list(snapped_row)) if not isinstance(v, float)] == [
            v for v in key if not isinstance(v, float)
        ]


def test_two_choices_lie_at_distance_one_and_share_a_length_scale():
    encoding = Encoding(SearchSpace({"x": FloatKnob(0, 1), "kind": CategoricalKnob(["a", "b", "c"])}))
    features = encoding.features(np.array([[0.5, 1 / 6], [0.5, 0.5], [0.5, 5 / 6]]))
    gaps = np.linalg.norm(features[:, None] - features[None], axis=-1)
    assert gaps == pytest.approx(1 - np.eye(3))
    assert encoding.group.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("knob", "share_below_middle"),
    [
        (FloatKnob(1e-4, 1, is_exp=True), 0.5),
        (IntegerKnob(1, 10_000, is_exp=True), 0.5),
        (FloatKnob(0, 1), 0.01),
        (IntegerKnob(0, 10_000), 0.01),
    ],
)
def test_an_exponential_knob_is_drawn_evenly_over_orders_of_magnitude(knob, share_below_middle):
    space = SearchSpace({"k": knob})
    rng = random.Random(1)
    middle = 0.01 if isinstance(knob, FloatKnob) else 100
    drawn = [space.draw(rng)[0] for _ in range(4000)]
    assert sum(v < middle for v in drawn) / len(drawn) == pytest.approx(share_below_middle, abs=0.06)


@pytest.mark.parametrize("is_exp", [False, True])
def test_both_ends_of_an_integer_range_are_drawn(is_exp):
    space = SearchSpace({"k": IntegerKnob(1, 4, is_exp=is_exp)})
    rng = random.Random(2)
    counts = Counter(space.draw(rng)[0] for _ in range(4000))
    assert set(counts) == {1, 2, 3, 4}
    assert min(counts.values()) > 300


def test_a_finite_space_is_drawn_without_repeats_until_it_is_used_up():
    space = SearchSpace({"a": IntegerKnob(0, 9), "b": CategoricalKnob(list("abcdefghij"))})
    assert space.size == 100
    rng, seen = random.Random(3), set()
    for _ in range(100):
        key = draw_unseen(space, rng, seen)
        assert key not in seen
        seen.add(key)
    assert draw_unseen(space, rng, seen) in seen


@pytest.mark.parametrize(
    "knob",
    [
        FloatKnob(-1.7e308, 1.7e308),
        FloatKnob(1.0, 1.0000000000000002),
        FloatKnob(1e300, 1.0000000000000002e300, is_exp=True),
        FloatKnob(5e-324, 1e308, is_exp=True),
        IntegerKnob(0, 2**62),
        IntegerKnob(1, 2**62, is_exp=True),
    ],
)
def test_ranges_at_the_edge_of_floating_point_stay_in_bounds(knob):
    space = SearchSpace({"k": knob})
    for u in (0.0, 1e-9, 0.5, 1.0):
        key = space.from_unit([u])
        check_knobs({"k": knob}, space.knobs(key))
        assert 0 <= space.to_unit(key)[0] <= 1


def test_an_integer_range_beyond_floating_point_is_a_clear_error():
    with pytest.raises(ModelError, match="floating-point"):
        SearchSpace({"k": IntegerKnob(0, 10**400)})
