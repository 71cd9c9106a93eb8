"""Successive halving: where its knobs come from. The rule that ends its trials is tested in test_stopping.py."""

import random

import pytest

from rafiki.advisor.asha import AshaAdvisor, AshaOptions
from rafiki.advisor.asha_rule import AshaRule
from rafiki.advisor.base import Ask, SearchSetup, TrialRecord
from rafiki.advisor.schemes import SCHEMES, load_advisor
from rafiki.errors import InvalidTrainJobError
from rafiki.model.knobs import ArchKnob, FloatKnob, IntegerKnob, PolicyKnob
from rafiki.proposals import Proposal

KNOBS = {"x": FloatKnob(0, 1), "n": IntegerKnob(1, 50), "stop": PolicyKnob("EARLY_STOP"), "q": PolicyKnob("QUICK_EVAL")}


def make(knobs=KNOBS, seed=0, search="bayes", **setup):
    return AshaAdvisor(SearchSetup(knob_config=knobs, seed=seed, options=AshaOptions(search=search), **setup))


def score(knobs):
    return -((knobs["x"] - 0.3) ** 2) - knobs["n"] / 1000


@pytest.mark.parametrize("search", ["bayes", "random"])
def test_it_proposes_what_the_search_of_its_choice_proposes(search):
    advisor = make(search=search, trial_limit=None)
    plain = {name: knob for name, knob in KNOBS.items() if name != "stop"}
    other = load_advisor(
        SCHEMES.get(search), SearchSetup(knob_config=plain, seed=0, options=SCHEMES.get(search).options())
    )
    for no in range(1, 15):
        found, expected = advisor.propose(no, Ask(worker_id="w")), other.propose(no, Ask(worker_id="w"))
        assert found.knobs == expected.knobs | {"stop": False}
        assert (found.scheme, found.phase, found.scheme_state) == ("asha", expected.phase, {"search": search})
        for each in (advisor, other):
            each.feedback(no, score(found.knobs), is_ended_early=no % 2 == 0)


def test_architectures_are_drawn():
    advisor = make({"cells": ArchKnob([[0, 1], [0, 1]])})
    assert advisor.propose(1).scheme_state["search"] == "random"


def test_no_trial_is_kept_for_a_training_in_full():
    advisor = make(trial_limit=20)
    for no in range(1, 21):
        advisor.feedback(no, score(advisor.propose(no).knobs))
    assert not any(t.knobs["stop"] or t.knobs["q"] for t in advisor.trials)
    assert len({repr(t.knobs) for t in advisor.trials}) == 20


def test_the_search_knows_the_first_knobs_the_history_and_what_was_restored():
    first = ({"x": 0.31, "n": 2, "stop": True}, {"x": 0.9})
    past = tuple(
        TrialRecord(
            no=i,
            proposal=Proposal(knobs={"x": i / 20, "n": 5, "stop": False, "q": False}),
            score=-abs(i - 6.0),
            state="completed",
        )
        for i in range(1, 20)
    )
    advisor = make(first_knobs=first, history=past, constraints=("x < 0.95",))
    for no in range(1, 13):
        result = score(advisor.propose(no).knobs)
        advisor.feedback(no, None if no == 4 else result)
    assert advisor.propose(1).knobs == {"x": 0.31, "n": 2, "stop": True, "q": False}
    assert advisor.propose(2).knobs["x"] == 0.9
    pending = advisor.propose(13)
    restored = make(first_knobs=first, history=past, constraints=("x < 0.95",))
    restored.restore(random.Random(0).sample(advisor.trials, 13))
    assert restored.propose(13) == pending
    for no in range(14, 18):
        assert restored.propose(no) == advisor.propose(no)
        for each in (advisor, restored):
            each.feedback(no, score(advisor.propose(no).knobs))


def test_an_unknown_search_is_a_clear_error():
    with pytest.raises(InvalidTrainJobError, match="bayes or random, not 'grid'"):
        make(search="grid")


def test_with_its_rule_it_finds_as_good_a_model_at_a_fraction_of_the_steps():
    def train(advisor, rule, n, steps=27):
        spent, best = 0, -1.0
        for no in range(1, n + 1):
            knobs = advisor.propose(no).knobs
            for step in range(1, steps + 1):
                spent += 1
                reached = (1 + score(knobs)) * (1 - 0.8**step)
                if rule is not None and rule.report(no, step, reached):
                    break
            best = max(best, reached)
            advisor.feedback(no, reached, is_ended_early=step < steps)
        return spent, best

    whole, best = train(make(search="random"), None, 60)
    halved, found = train(make(search="random"), AshaRule(), 60)
    assert halved < 0.4 * whole
    assert found > best - 0.01
