import pytest

from rafiki.advisor.base import Advisor, SearchSetup, TrialRecord
from rafiki.advisor.schemes import choose_scheme, make_advisor
from rafiki.budget import parse_train_budget
from rafiki.errors import InvalidTrainJobError, InvalidTrialError, ModelError
from rafiki.model.knobs import (
    POLICIES,
    ArchKnob,
    CategoricalKnob,
    FixedKnob,
    FloatKnob,
    IntegerKnob,
    PolicyKnob,
    check_knobs,
)
from rafiki.proposals import Proposal

FIXED = {"a": FixedKnob(3), "stop": PolicyKnob("EARLY_STOP")}
TUNED = {
    "x": FloatKnob(1e-4, 1, is_exp=True),
    "n": IntegerKnob(1, 50),
    "c": CategoricalKnob(["u", "v"]),
    "share": PolicyKnob("SHARE_PARAMS"),
}
ARCH = {"cells": ArchKnob([[0, 1, 2], [0, 1, 2, 3]]), "x": FloatKnob(0, 1)}
BUDGET = parse_train_budget({"MODEL_TRIAL_COUNT": 20})
SEARCHES = [(TUNED, "random"), (TUNED, "bayes"), (ARCH, "random")]


def score(knobs):
    return knobs["x"] - 0.01 * knobs.get("n", 0)


@pytest.mark.parametrize(
    ("knobs", "scheme"),
    [
        ({}, "fixed"),
        (FIXED, "fixed"),
        (TUNED, "sharing"),
        ({"a": FixedKnob(1), "c": CategoricalKnob([1, 2])}, "bayes"),
        (ARCH, "random"),
        ({"cells": ARCH["cells"]} | {p: PolicyKnob(p) for p in POLICIES}, "enas"),
    ],
)
def test_the_knobs_choose_the_scheme(knobs, scheme):
    assert choose_scheme(knobs) == scheme
    assert make_advisor(knobs, BUDGET, seed=0).scheme == scheme


@pytest.mark.parametrize(
    ("knobs", "scheme"), [(TUNED, "fixed"), (ARCH, "fixed"), (ARCH, "bayes"), (FIXED, "bayes"), (TUNED, "no-such")]
)
def test_a_scheme_that_the_knobs_rule_out_is_refused(knobs, scheme):
    with pytest.raises(InvalidTrainJobError, match=scheme):
        make_advisor(knobs, BUDGET, seed=0, scheme=scheme)


def test_fixed_knobs_make_one_trial_with_every_policy_off():
    advisor = make_advisor(FIXED, BUDGET, seed=0)
    assert advisor.max_trials == 1
    assert advisor.propose(1).knobs == {"a": 3, "stop": False}
    with pytest.raises(InvalidTrialError, match="no trial 2"):
        advisor.propose(2)


@pytest.mark.parametrize(("knobs", "scheme"), SEARCHES)
def test_proposals_are_valid_distinct_and_the_same_for_the_same_seed(knobs, scheme):
    def walk(seed):
        advisor = make_advisor(knobs, BUDGET, seed=seed, scheme=scheme)
        for no in range(1, 19):
            proposal = advisor.propose(no)
            check_knobs(knobs, proposal.knobs)
            assert proposal.scheme == scheme
            advisor.feedback(no, score(proposal.knobs) if no % 5 else None)
        return [t.knobs for t in advisor.trials]

    assert walk(4) == walk(4)
    assert walk(4) != walk(5)
    assert len({repr(k) for k in walk(4)}) == 18


@pytest.mark.parametrize(("knobs", "scheme"), SEARCHES)
def test_a_restored_advisor_goes_on_as_if_it_had_never_died(knobs, scheme):
    advisor = make_advisor(knobs, BUDGET, seed=1, scheme=scheme)
    for no in range(1, 13):
        result = score(advisor.propose(no).knobs)
        advisor.feedback(no, None if no == 4 else result)
    pending = advisor.propose(13)
    restored = make_advisor(knobs, BUDGET, seed=1, scheme=scheme)
    restored.restore(reversed(advisor.trials))
    assert restored.trials == advisor.trials
    assert restored.propose(13).knobs == pending.knobs
    for no in range(14, 18):
        assert restored.propose(no).knobs == advisor.propose(no).knobs
        for each in (advisor, restored):
            each.feedback(no, 0.1 * no)


def test_the_book_of_trials_keeps_first_results_and_refuses_strangers():
    advisor = make_advisor(TUNED, BUDGET, seed=0)
    first = advisor.propose(1)
    assert advisor.propose(1) == first
    first.knobs["x"] = -1.0
    advisor.feedback(1, 0.5)
    advisor.feedback(1, 0.9)
    advisor.feedback(1, None)
    advisor.propose(2)
    advisor.feedback(2, float("nan"))
    advisor.propose(3)
    assert [(t.score, t.state) for t in advisor.trials] == [
        (0.5, "completed"),
        (None, "failed"),
        (None, "pending"),
    ]
    assert advisor.trials[0].knobs["x"] > 0
    for call in (lambda: advisor.feedback(9, 1.0), lambda: advisor.propose(0)):
        with pytest.raises(InvalidTrialError):
            call()


def test_a_record_that_does_not_fit_the_knobs_is_a_clear_error():
    record = TrialRecord(
        no=1, proposal=Proposal(knobs={"x": 0.1, "n": 99, "c": "u", "share": False}), score=1.0, state="completed"
    )
    with pytest.raises(ModelError, match="'n'"):
        make_advisor(TUNED, BUDGET, seed=0).restore([record])


class _Spoiled(Advisor):
    scheme = "spoiled"

    def __init__(self, setup, value):
        super().__init__(setup)
        self._value = value

    def _suggest(self, no, ask):
        return self._proposal({"x": self._value}, "search")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0, "0.5", None])
def test_a_proposal_that_the_knobs_cannot_take_is_refused(value):
    knobs = {"x": FloatKnob(0.0, 1.0)}
    advisor = _Spoiled(SearchSetup(knob_config=knobs, seed=0), value)
    with pytest.raises(ModelError, match=r"The search scheme 'spoiled' proposed what trial 1 cannot have: Knob 'x'"):
        advisor.propose(1)
    assert advisor.trials == []
