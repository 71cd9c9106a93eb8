"""The tree-structured Parzen estimator: what is Rafiki's about it. Its densities are Optuna's."""

import logging
import math
import random
import subprocess
import sys
import warnings
from statistics import median

import pytest

pytest.importorskip("optuna")

from rafiki.advisor.base import SearchSetup, TrialRecord
from rafiki.advisor.random import RandomAdvisor
from rafiki.advisor.tpe import TpeAdvisor, most_telling
from rafiki.model.knobs import ArchKnob, CategoricalKnob, FloatKnob, IntegerKnob
from rafiki.proposals import Proposal

TRAINING = {
    "rate": FloatKnob(1e-6, 1, is_exp=True),
    "units": IntegerKnob(2, 1024, is_exp=True),
    "kind": CategoricalKnob(["relu", "tanh", "sigmoid"]),
    "cells": ArchKnob([[0, 1, 2], [0, 1, 2]]),
}


def training(rate, units, kind, cells):
    bad = {"relu": 0, "tanh": 0.05, "sigmoid": 0.2}[kind] + 0.1 * (cells[0] != 1) + 0.1 * (cells[1] != 2)
    return 1 - 0.05 * (math.log10(rate) + 3) ** 2 - 0.03 * (math.log2(units) - 6) ** 2 - bad


def make(seed=0, knobs=TRAINING, scheme=TpeAdvisor, **setup):
    return scheme(SearchSetup(knob_config=knobs, seed=seed, **setup))


def run(advisor, n, objective=training):
    for no in range(1, n + 1):
        advisor.feedback(no, objective(**advisor.propose(no).knobs))
    return advisor


def best(advisor):
    return max(t.score for t in advisor.trials if t.score is not None)


def test_it_beats_random_search():
    regrets = [
        median(1 - best(run(make(seed, scheme=s), 50)) for seed in range(5)) for s in (TpeAdvisor, RandomAdvisor)
    ]
    assert regrets[0] < 0.5 * regrets[1]


def test_it_draws_ten_points_and_then_samples_the_better_region():
    knobs = {"x": FloatKnob(0, 1), "y": FloatKnob(0, 1)}
    advisor = run(make(knobs=knobs), 60, lambda x, y: -((x - 0.8) ** 2) - (y - 0.2) ** 2)
    phases = [t.proposal.phase for t in advisor.trials]
    assert phases[:10] == ["random"] * 10
    assert set(phases[10:]) == {"search"}
    late = [t.knobs for t in advisor.trials[40:]]
    assert median(k["x"] for k in late) == pytest.approx(0.8, abs=0.2)
    assert median(k["y"] for k in late) == pytest.approx(0.2, abs=0.2)


def shares_below_half(result):
    """How often the search proposes x < 0.5, told ``result(x)`` of each trial."""
    count = 0
    for seed in range(6):
        advisor = make(seed, knobs={"x": FloatKnob(0, 1)})
        for no in range(1, 41):
            x = advisor.propose(no).knobs["x"]
            score, is_ended_early = result(x)
            advisor.feedback(no, score, is_ended_early=is_ended_early)
        count += sum(t.knobs["x"] < 0.5 for t in advisor.trials[20:])
    return count / 120


def test_failed_trials_and_those_that_ended_early_push_the_search_away():
    assert shares_below_half(lambda x: (1.0, False)) > 0.25
    assert shares_below_half(lambda x: (1.0, False) if x > 0.5 else (None, False)) < 0.25
    assert shares_below_half(lambda x: (1.0, False) if x > 0.5 else (5.0, True)) < 0.25
    assert shares_below_half(lambda x: (1.0, True) if x > 0.5 else (None, False)) < 0.25


def test_a_pending_trial_keeps_others_away():
    def spread(tell):
        advisor = run(make(knobs={"x": FloatKnob(0, 1)}), 30, lambda x: -abs(x - 0.5))
        found = []
        for no in range(31, 46):
            found.append(advisor.propose(no).knobs["x"])
            if tell:
                advisor.feedback(no, -abs(found[-1] - 0.5))
        return sum(abs(x - 0.5) for x in found)

    assert spread(tell=False) > 1.3 * spread(tell=True)


def test_trials_of_earlier_searches_replace_the_random_ones():
    past = run(make(seed=1), 40).trials
    advisor = run(make(history=tuple(past)), 15)
    assert advisor.trials[0].proposal.phase == "search"
    assert best(advisor) > best(run(make(), 15))


def test_a_long_history_is_thinned_to_the_best_and_the_latest():
    r = random.Random(0)
    trials = [
        TrialRecord(
            no=no,
            proposal=Proposal(knobs={}),
            score=None if no % 7 == 0 else r.random() + (no % 5 == 0),
            state="failed" if no % 7 == 0 else "completed",
            is_ended_early=no % 5 == 0,
        )
        for no in range(1, 1001)
    ]
    kept = most_telling(trials, 100)
    assert len(kept) == 100
    assert [t.no for t in kept] == sorted({t.no for t in kept})
    whole = sorted((t.score for t in trials if t.score is not None and not t.is_ended_early), reverse=True)
    assert set(whole[:50]) <= {t.score for t in kept}
    assert sum(t.no > 940 for t in kept) >= 50
    assert most_telling(trials[:100], 100) == trials[:100]


def test_a_search_longer_than_what_it_remembers_goes_on_after_a_restart_as_before():
    advisor = make(knobs={"x": FloatKnob(0, 1), "n": IntegerKnob(0, 2**40)})
    r = random.Random(1)
    records = [
        TrialRecord(
            no=no,
            proposal=Proposal(knobs={"x": r.random(), "n": r.randrange(2**40)}),
            score=r.random(),
            state="completed",
        )
        for no in range(1, 346)
    ]
    advisor.restore(records)
    for no in range(346, 356):
        advisor.propose(no)
        advisor.feedback(no, r.random())
    restored = make(knobs=advisor.knob_config)
    restored.restore(advisor.trials)
    assert restored.propose(356) == advisor.propose(356)
    advisor.feedback(356, 2.0)
    restored.feedback(356, 2.0)
    assert restored.propose(357) == advisor.propose(357)


def test_it_is_quiet(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(make(), 20, lambda **knobs: random.Random(repr(knobs)).choice([None, 1.0, 0.0]))
    assert not [r for r in caplog.records if r.name.startswith("optuna")]
    assert capfd.readouterr() == ("", "")


def test_only_this_scheme_loads_optuna():
    program = (
        "import sys; from rafiki.advisor import schemes, setting, stopping, asha, pbt, grid, history;"
        "dict(schemes.SCHEMES.items());"
        "print([m for m in ('optuna', 'cmaes', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
