"""Population based training: lines of descent, what they take over from one another, and how knobs are perturbed."""

import math
import random
from statistics import median

import pytest

from rafiki.advisor.base import SearchSetup, TrialRecord
from rafiki.advisor.pbt import PbtAdvisor, PbtOptions, perturb
from rafiki.advisor.space import SearchSpace
from rafiki.model.knobs import CategoricalKnob, FloatKnob, IntegerKnob, PolicyKnob

KNOBS = {
    "rate": FloatKnob(1e-5, 1, is_exp=True),
    "drop": FloatKnob(0, 0.9),
    "kind": CategoricalKnob(["a", "b", "c"]),
    "share": PolicyKnob("SHARE_PARAMS"),
    "stop": PolicyKnob("EARLY_STOP"),
    "quick": PolicyKnob("QUICK_EVAL"),
}


def make(seed=0, knobs=KNOBS, population=4, quantile=0.25, resample=0.25, **setup):
    options = PbtOptions(population=population, quantile=quantile, resample=resample)
    return PbtAdvisor(SearchSetup(knob_config=knobs, seed=seed, options=options, **setup))


def run(advisor, scores):
    """A generation after the other; the proposals."""
    found = []
    for no, score in enumerate(scores, 1):
        found.append(advisor.propose(no))
        advisor.feedback(no, score)
    return found


def lineage(proposal):
    return proposal.scheme_state["line"], proposal.scheme_state["generation"], proposal.start_from_trial


def searched(proposal):
    return {name: proposal.knobs[name] for name in ("rate", "drop", "kind")}


def test_lines_open_with_knobs_of_their_own_and_go_on_from_their_own_parameters():
    found = run(make(), [0.5] * 12)
    assert [lineage(p) for p in found[:4]] == [(line, 0, None) for line in range(4)]
    assert [lineage(p) for p in found[4:]] == [(no % 4, no // 4, no - 3) for no in range(4, 12)]
    assert len({repr(searched(p)) for p in found[:4]}) == 4
    assert all(searched(found[no]) == searched(found[no - 4]) for no in range(4, 12))
    assert all(p.knobs["share"] and p.knobs["stop"] and not p.knobs["quick"] for p in found)
    assert all(p.start_from is None for p in found)


def test_the_worst_line_takes_over_the_parameters_of_the_best_and_its_knobs_perturbed():
    advisor = make()
    found = run(advisor, [0.4, 0.9, 0.1, 0.5])
    following = [advisor.propose(no) for no in range(5, 9)]
    assert [lineage(p) for p in following] == [(0, 1, 1), (1, 1, 2), (2, 1, 2), (3, 1, 4)]
    assert [p.phase for p in following] == ["go on", "go on", "take over", "go on"]
    assert searched(following[2]) != searched(found[1])


def test_without_drawing_anew_what_is_taken_over_is_moved_by_a_fifth():
    ratios = set()
    for seed in range(12):
        advisor = make(seed, resample=0.0)
        found = run(advisor, [0.4, 0.9, 0.1, 0.5])
        taken = [advisor.propose(no) for no in range(5, 9)][2]
        assert taken.knobs["kind"] == found[1].knobs["kind"]
        ratios.add(round(taken.knobs["rate"] / found[1].knobs["rate"], 6))
    assert ratios >= {0.8, 1.2}
    assert all(0.8 <= ratio <= 1.2 for ratio in ratios)


def test_drawing_always_anew_reaches_every_choice():
    kinds = set()
    for seed in range(12):
        advisor = make(seed, resample=1.0)
        run(advisor, [0.4, 0.9, 0.1, 0.5])
        kinds.add([advisor.propose(no) for no in range(5, 9)][2].knobs["kind"])
    assert kinds == {"a", "b", "c"}


def test_the_quantile_is_how_many_are_replaced_and_from_how_many():
    donors, replaced = set(), set()
    for seed in range(10):
        advisor = make(seed, population=10, quantile=0.3)
        run(advisor, [float(no) for no in range(1, 11)])
        for no in range(11, 21):
            proposal = advisor.propose(no)
            if proposal.phase == "take over":
                replaced.add(proposal.scheme_state["line"])
                donors.add(proposal.start_from_trial)
    assert replaced == {0, 1, 2}
    assert donors == {8, 9, 10}


def test_a_line_that_failed_takes_over_and_if_none_ever_worked_begins_anew():
    advisor = make()
    run(advisor, [0.4, None, 0.9, 0.5])
    following = [advisor.propose(no) for no in range(5, 9)]
    assert lineage(following[1]) == (1, 1, 3)
    advisor = make()
    found = run(advisor, [None] * 8)
    assert [lineage(p) for p in found[4:]] == [(line, 1, None) for line in range(4)]
    assert len({repr(searched(p)) for p in found}) == 8


def test_no_line_waits_for_another():
    advisor = make()
    for no in range(1, 5):
        advisor.propose(no)
    advisor.feedback(2, 0.5)
    for no in range(5, 10):
        assert lineage(advisor.propose(no)) == (1, no - 4, 2 if no == 5 else no - 1)
        advisor.feedback(no, 0.5)
    advisor.feedback(1, 0.9)
    assert lineage(advisor.propose(10)) == (0, 1, 1), "the line that is furthest behind"
    advisor.feedback(3, 0.1)
    assert lineage(advisor.propose(11)) == (2, 1, 1), "it is compared with the latest score of each line"


def test_while_few_lines_have_a_score_none_is_replaced():
    advisor = make(population=8)
    for no in range(1, 9):
        advisor.propose(no)
    advisor.feedback(1, 0.1)
    advisor.feedback(2, 0.9)
    assert lineage(advisor.propose(9)) == (0, 1, 1)


def test_there_are_as_many_lines_as_workers_and_more_when_all_are_busy():
    advisor = make(population=2, n_workers=6)
    assert [lineage(advisor.propose(no)) for no in range(1, 9)] == [(line, 0, None) for line in range(8)]


def test_knobs_given_open_the_first_lines():
    advisor = make(first_knobs=({"rate": 0.25}, {"drop": 0.5, "kind": "c"}))
    first, second, third = (advisor.propose(no) for no in (1, 2, 3))
    assert first.knobs["rate"] == 0.25
    assert (second.knobs["drop"], second.knobs["kind"]) == (0.5, "c")
    assert [lineage(p) for p in (first, second, third)] == [(0, 0, None), (1, 0, None), (2, 0, None)]
    assert all(p.knobs["share"] and p.knobs["stop"] for p in (first, second, third))


def test_perturbed_knobs_satisfy_the_constraints():
    knobs = {"a": FloatKnob(0, 1), "b": FloatKnob(0, 1), "share": PolicyKnob("SHARE_PARAMS")}
    advisor = make(knobs=knobs, constraints=("a <= b", "b <= a + 0.1"))
    r = random.Random(0)
    taken = [p for p in run(advisor, [r.random() for _ in range(60)]) if p.phase == "take over"]
    assert len(taken) > 10
    assert all(p.knobs["a"] <= p.knobs["b"] <= p.knobs["a"] + 0.1 for p in taken)


def test_a_restart_in_any_order_loses_no_line_and_no_parent():
    advisor = make()
    r = random.Random(1)
    run(advisor, [r.random() if no % 5 else None for no in range(30)])
    pending = [advisor.propose(no) for no in (31, 32)]
    records = [
        TrialRecord(no=t.no, proposal=t.proposal, score=t.score, state=t.state) for t in reversed(advisor.trials)
    ]
    restored = make()
    restored.restore(records)
    assert [restored.propose(no) for no in (31, 32)] == pending
    for no in range(33, 45):
        assert restored.propose(no) == advisor.propose(no)
        for each in (advisor, restored):
            each.feedback(no, 0.1 * (no % 7))


@pytest.mark.parametrize(
    ("knob", "value", "expected"),
    [
        (FloatKnob(1e-5, 1, is_exp=True), 1e-3, {8e-4, 1.2e-3}),
        (FloatKnob(1e-5, 1, is_exp=True), 1.0, {0.8, 1.0}),
        (FloatKnob(0, 1), 0.5, {0.4, 0.6}),
        (FloatKnob(0, 1), 0.0, {0.0, 0.02}),
        (FloatKnob(-1, 1), -0.5, {-0.4, -0.6}),
        (FloatKnob(-1.7e308, 1.7e308), 1.7e308, {-1.7e308, 1.7e308}),
        (IntegerKnob(1, 100), 50, {40, 60}),
        (IntegerKnob(1, 10), 2, {1, 3}),
        (IntegerKnob(1, 1024, is_exp=True), 1, {1, 2}),
        (IntegerKnob(0, 2**62), 2**62, {int(0.8 * 2**62), 2**62}),
        (CategoricalKnob(["a", "b"]), "b", {"b"}),
    ],
)
def test_a_number_moves_by_a_fifth_within_its_range(knob, value, expected):
    (dimension,) = SearchSpace({"k": knob}).dimensions
    rng = random.Random(0)
    found = {perturb(dimension, value, rng) for _ in range(40)}
    if isinstance(value, str):
        assert found == expected
    else:
        assert sorted(found) == pytest.approx(sorted(expected))
        assert {type(v) for v in found} == {type(value)}


def test_it_finds_a_schedule_that_no_single_setting_matches():
    """A toy of training: the best rate falls from generation to generation, and parameters carry the progress on."""
    knobs = {"rate": FloatKnob(1e-4, 1, is_exp=True), "share": PolicyKnob("SHARE_PARAMS")}

    def progress(rate, generation):
        return math.exp(-((math.log10(rate) + 0.5 + 0.15 * generation) ** 2) * 3)

    def trained(seed, is_sharing):
        advisor = make(seed, knobs=knobs, population=8)
        reached = {}
        for no in range(1, 8 * 12 + 1):
            p = advisor.propose(no)
            line, generation = p.scheme_state["line"], p.scheme_state["generation"]
            rate = p.knobs["rate"] if is_sharing else advisor.propose(line + 1).knobs["rate"]
            parent = p.start_from_trial if is_sharing else (no - 8 if no > 8 else None)
            reached[no] = reached.get(parent, 0.0) + progress(rate, generation)
            advisor.feedback(no, reached[no])
        return max(reached.values())

    assert median(trained(seed, True) for seed in range(7)) > 1.05 * median(trained(seed, False) for seed in range(7))
