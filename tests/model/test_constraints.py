"""Constraints between knobs: what they mean, and that nothing else can be written in their place."""

import pytest

from rafiki.errors import ModelError
from rafiki.model.constraints import Constraint, parse_constraints
from rafiki.model.knobs import FixedKnob, PolicyKnob

KNOBS = {"low": 2, "high": 5, "rate": 0.5, "kind": "tree", "is_deep": True, "cell": [3, 1, 2], "none": 0}


CONFIG = {name: FixedKnob(0) for name in KNOBS} | {"stop": PolicyKnob("EARLY_STOP")}


def holds(text, knobs=KNOBS):
    return Constraint(text, KNOBS).holds(knobs)


@pytest.mark.parametrize(
    "text",
    [
        "low <= high",
        "  low < high  # the ranges overlap",
        "1 < low < high < 6",
        "low * 2 + 1 == high",
        "high - low - 3 == 0",
        "high / low == 2.5 and high // low == 2 and high % low == 1",
        "-low < 0",
        "not low > high",
        "kind == 'tree' or low > 100",
        "kind in ['tree', 'forest'] and kind not in ('line',)",
        "is_deep",
        "is_deep == True",
        "min(low, high) == 2 and max(low, high, 7) == 7 and abs(low - high) == 3",
        "low < 1 if kind == 'line' else high < 6",
        "cell[0] == 3 and cell[2] != 3",
        "max(cell) == 3 and 1 in cell and cell == [3, 1, 2]",
        "rate == 0.5",
        "none == 0 or high / none > 1",
        "rate * 1e400 > 1",
    ],
)
def test_what_is_true_of_the_knobs_holds_and_its_contrary_does_not(text):
    assert holds(text)
    assert not holds(f"not ({text.partition('#')[0].strip()})")


@pytest.mark.parametrize("text", ["high / none > 0", "high % none == 0", "high // none >= 0"])
def test_what_divides_by_zero_does_not_hold(text):
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no expression"),
        ("low <", "no expression"),
        ("low = 3", "no expression"),
        ("low\0", "no expression"),
        ("low < hihg", "hihg; the knobs are cell, high"),
        ("__import__('os').system('true')", "__import__"),
        ("low.__class__ == high", "low.__class__"),
        ("(lambda: low)() > 1", "lambda"),
        ("[x for x in cell] == cell", "x"),
        ("low ** high < 9", r"low \*\* high"),
        ("low << high > 1", "low << high"),
        ("f'{low}' == kind", "holds"),
        ("low is high", "low is high"),
        ("low == None", "None"),
        ("low == 1j", "1j"),
        ("min > 3", "'min'"),
        ("min(low, high, key=abs) > 1", "key"),
        ("min() > 1", r"min\(\)"),
        ("cell[low] > 1", r"cell\[low\]"),
        ("min[0] > 1", r"min\[0\]"),
        ("(low := 3) > 1", "holds"),
        ("-" * 400 + "low < 1", "deep"),
        ("+".join(["low"] * 200) + " > 1", "deep"),
        ("lambda: " + "-" * 900 + "low", "holds|no expression"),
        ("(" * 400 + "low" + ")" * 400, "no expression"),
        ("low < " + "1" * 1000, "at most 1000 characters"),
        (None, "must be a text"),
        (("low < 1",), "must be a text"),
    ],
)
def test_what_is_no_constraint_is_refused_with_a_clear_error(text, named):
    with pytest.raises(ModelError, match=named):
        Constraint(text, KNOBS)


@pytest.mark.parametrize(
    "text",
    [
        "kind < 3",
        "kind * 100 == 'x'",
        "abs(kind) > 1",
        "rate[0] > 1",
        "cell[3] > 1",
        "max(low) > 1",
        "min([]) > 1",
        "low in 5",
    ],
)
def test_what_can_be_evaluated_for_no_knobs_says_so(text):
    with pytest.raises(ModelError, match="cannot be evaluated"):
        holds(text)


def test_the_deepest_constraint_can_be_evaluated_far_down_the_stack():
    deepest = Constraint("-" * 96 + "low > 0", KNOBS)

    def descend(levels):
        return descend(levels - 1) if levels else deepest.holds(KNOBS)

    assert descend(400) is True


def test_a_knob_may_have_the_name_of_a_function():
    assert Constraint("min < max(min, 9)", ["min"]).holds({"min": 4})


def test_a_template_with_too_many_constraints_is_refused():
    assert len(parse_constraints(["low < 1"] * 100, CONFIG)) == 100
    with pytest.raises(ModelError, match="101 constraints; 100"):
        parse_constraints(["low < 1"] * 101, CONFIG)
    with pytest.raises(ModelError, match="nope"):
        parse_constraints(["low < 1", "nope > 1"], CONFIG)


def test_a_constraint_cannot_name_a_policy():
    with pytest.raises(ModelError, match="names stop"):
        parse_constraints(["not stop"], CONFIG)
