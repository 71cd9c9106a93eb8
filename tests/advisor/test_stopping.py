"""When trials end early, told nothing but the scores that they report on their way."""

import math
import random
import statistics

import pytest

from rafiki.advisor.asha_rule import AshaRule
from rafiki.advisor.median_rule import MedianRule
from rafiki.advisor.stopping import NoRule


def run(rule, curves):
    """Trials one after the other; the steps they reached."""
    reached = {}
    for no, curve in curves.items():
        for step, score in enumerate(curve, 1):
            reached[no] = step
            if rule.report(no, step, score) is not None:
                break
        rule.finish(no)
    return reached


def lines(slopes, steps=10):
    return {no: [slope * step for step in range(1, steps + 1)] for no, slope in enumerate(slopes, 1)}


RULES = [NoRule, MedianRule, lambda: MedianRule(min_trials=1), AshaRule, lambda: AshaRule(eta=1.5, min_step=0.1)]


def test_without_a_rule_every_trial_goes_on():
    assert set(run(NoRule(), lines([3, 2, 1, -5])).values()) == {10}


# ---- the median rule


def test_the_median_rule_ends_what_lies_below_the_median_of_averages_at_the_same_step():
    rule = MedianRule(min_trials=3)
    run(rule, {1: [1, 1, 10], 2: [2, 4, 10], 3: [5, 7, 10]})
    assert rule.report(4, 1, 1.5) is not None, "the averages by step 1 are 1, 2 and 5"
    assert rule.report(5, 1, 2.0) is None
    assert "median of 3" in rule.report(5, 2, 2.9), "the averages by step 2 are 1, 3 and 6"
    assert rule.report(6, 2, 3.0) is None


def test_the_best_score_so_far_counts_however_low_the_last():
    rule = MedianRule(min_trials=1)
    run(rule, {1: [5, 5, 5]})
    assert [rule.report(2, step, score) for step, score in ((1, 6.0), (2, -9.0), (3, -9.0))] == [None] * 3


@pytest.mark.parametrize(("min_trials", "min_step", "reached"), [(5, 1, 1), (6, 1, 10), (5, 4, 4), (1, 11, 10)])
def test_the_median_rule_judges_nobody_before_it_has_seen_enough(min_trials, min_step, reached):
    rule = MedianRule(min_trials=min_trials, min_step=min_step)
    assert run(rule, lines([5] * 5 + [1]))[6] == reached


def test_trials_that_still_run_or_reported_nothing_are_no_yardstick():
    rule = MedianRule(min_trials=1)
    rule.report(1, 1, 100.0)
    rule.finish(2)
    assert rule.report(3, 1, 0.0) is None
    rule.finish(1)
    assert rule.report(4, 1, 0.0) is not None


def test_a_long_curve_is_remembered_well_enough():
    rng = random.Random(0)
    scores = [0.1 * rng.random() + step / 5000 for step in range(1, 10_001)]
    rule = MedianRule(min_trials=1)
    run(rule, {1: scores})
    for no, step in enumerate((20, 500, 9_999, 10_000, 50_000), 2):
        average = statistics.fmean(scores[:step])
        assert rule.report(no, step, average + 0.05) is None
        assert rule.report(1000 + no, step, average - 0.05) is not None


def test_scores_near_the_largest_float_are_averaged():
    rule = MedianRule(min_trials=1)
    run(rule, {1: [1.7e308] * 5})
    assert rule.report(2, 5, 1.6e308) is not None
    assert rule.report(3, 5, 1.7e308) is None


# ---- successive halving


def test_of_many_equally_good_starts_only_the_best_come_to_the_last_rung():
    slopes = list(range(1, 82))
    random.Random(1).shuffle(slopes)
    reached = run(AshaRule(eta=3, min_step=1), lines(slopes, 27))
    assert set(reached.values()) == {1, 3, 9, 27}
    at = [sum(steps >= rung for steps in reached.values()) for rung in (1, 3, 9, 27)]
    assert at[0] == 81
    assert at[1] < 40
    assert at[2] < 20
    assert at[3] < 12
    assert reached[slopes.index(81) + 1] == 27


def test_the_first_trials_of_a_rung_go_on_for_want_of_others():
    rule = AshaRule(eta=3)
    assert [rule.report(no, 1, -no) for no in (1, 2)] == [None, None]
    assert "the best 1 of 3" in rule.report(3, 1, -3.0)
    assert rule.report(4, 1, 0.0) is None


def test_equal_scores_go_on():
    rule = AshaRule(eta=2)
    assert [rule.report(no, 1, 0.5) for no in range(20)] == [None] * 20


def test_between_rungs_nobody_is_judged():
    rule = AshaRule(eta=3, min_step=10)
    for no in range(5):
        assert rule.report(no, 9.9, 1.0) is None
        assert rule.report(no, 10, 1.0) is None
        assert rule.report(no, 30, 1.0) is None
    assert rule.report(9, 10, 1.0) is None
    assert [rule.report(9, step, 0.0) for step in (11, 20, 29.9)] == [None] * 3
    assert rule.report(9, 30, 0.0) is not None


def test_a_trial_that_reports_rarely_is_judged_at_the_highest_rung_it_has_passed():
    rule = AshaRule(eta=3, min_step=1)
    for no in range(5):
        rule.report(no, 9, 1.0)
    assert rule.report(9, 20, 0.5) is not None
    assert rule.report(8, 8, 0.5) is None, "it has come to another rung, and is alone there"


@pytest.mark.parametrize(("eta", "steps"), [(3, 3**12), (10, 10**9), (2, 2**40), (1.1, 1e300)])
def test_rungs_lie_at_powers_of_eta_however_far(eta, steps):
    rule = AshaRule(eta=eta, min_step=1e-300 if steps == 1e300 else 1)
    for no in range(12):
        assert rule.report(no, steps, 1.0) is None
    assert rule.report(99, steps, 0.0) is not None


# ---- both


@pytest.mark.parametrize("make", RULES)
def test_odd_reports_change_nothing(make):
    rule, other = make(), make()
    good = [(no, step, float(no % 5)) for no in range(12) for step in range(1, 12)]
    odd = [(3, math.nan, 1.0), (3, math.inf, 1.0), (3, -math.inf, 1.0), (3, 1.0, math.nan), (3, 1.0, math.inf)]
    answers = []
    for no, step, score in good:
        for bad in odd:
            assert rule.report(*bad) is None
        answers.append(rule.report(no, step, score))
        assert rule.report(no, step, -1e9) is None, "the same step again"
        assert rule.report(no, step - 0.5, -1e9) is None, "a step back"
        if step == 11:
            rule.finish(no)
    for (no, step, score), answer in zip(good, answers, strict=True):
        assert other.report(no, step, score) == answer
        if step == 11:
            other.finish(no)


@pytest.mark.parametrize("make", RULES[1:])
def test_a_trial_that_was_told_to_end_is_told_once_and_may_start_anew(make):
    rule = make()
    run(rule, {no: [float(no)] * 3 for no in range(20, 0, -1)})
    rule.forget(1)
    first = [rule.report(1, step, 0.0) for step in (1, 2, 3, 4)]
    assert [f is not None for f in first] == [True, False, False, False]
    rule.forget(1)
    assert rule.report(1, 1, 0.0) == first[0], "what it reported before it was lost is forgotten"
    rule.forget(1)
    assert rule.report(1, 1, 100.0) is None


@pytest.mark.parametrize("make", RULES)
def test_any_mixture_of_reports_is_taken(make):
    rng = random.Random(7)
    rule = make()
    for _ in range(4000):
        no = rng.randint(1, 60)
        score = rng.choice([rng.gauss(0, 1), 1e308, -1e308, math.nan, 0.0])
        step = rng.choice([rng.randint(-3, 50), rng.random(), 1e308, 0, -1.0, math.nan])
        rule.report(no, step, score)
        rng.choice([rule.finish, rule.forget, lambda no: None, lambda no: None])(no)
