"""The ``advisor`` setting of a job: what it may say, and what it leads to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rafiki.advisor.asha_rule import AshaRule
from rafiki.advisor.median_rule import MedianRule
from rafiki.advisor.schemes import SCHEMES, make_advisor
from rafiki.advisor.setting import check_setting, make_rule
from rafiki.advisor.stopping import NoRule
from rafiki.budget import TrainBudget
from rafiki.errors import InvalidTrainJobError
from rafiki.model.knobs import ArchKnob, FloatKnob, IntegerKnob, PolicyKnob
from rafiki.search_setting import AdvisorSetting, EarlyEnding, parse_setting

KNOBS = {"x": FloatKnob(0, 1), "n": IntegerKnob(1, 9)}


def test_nothing_is_the_default_and_a_name_is_a_scheme() -> None:
    assert parse_setting(None) == parse_setting({}) == AdvisorSetting()
    assert parse_setting("asha") == parse_setting({"scheme": "asha"}) == AdvisorSetting(scheme="asha")
    assert parse_setting({"early_ending": "median"}).early_ending == EarlyEnding(rule="median")


@pytest.mark.parametrize(
    "setting",
    [
        AdvisorSetting(),
        AdvisorSetting(scheme="grid", options={"points": 3}, warm_start=True),
        AdvisorSetting(early_ending=EarlyEnding(rule="asha", eta=4.0), first_knobs=[{"x": 0.5}]),
    ],
)
def test_a_setting_comes_back_from_its_json(setting: AdvisorSetting) -> None:
    assert msgspec.json.decode(msgspec.json.encode(setting), type=AdvisorSetting) == setting


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({}, MedianRule),
        ({"scheme": "random"}, MedianRule),
        ({"scheme": "asha"}, AshaRule),
        ({"scheme": "grid"}, NoRule),
        ({"scheme": "grid", "early_ending": "median"}, MedianRule),
        ({"scheme": "asha", "early_ending": "none"}, NoRule),
        ({"early_ending": {"rule": "asha", "eta": 2}}, AshaRule),
        ({"early_ending": {"rule": "asha", "options": {"eta": 2}}}, AshaRule),
        ({"early_ending": {"eta": 2}}, MedianRule),
    ],
)
def test_the_scheme_brings_its_rule_unless_the_job_names_one(setting: dict[str, Any], rule: type) -> None:
    assert type(make_rule(parse_setting(setting), KNOBS)) is rule


def test_a_schemes_options_reach_its_rule() -> None:
    # With eta 2 the lower of two trials ends at the first rung, which lies at step 4.
    rule = make_rule(parse_setting({"scheme": "asha", "options": {"eta": 2, "min_step": 4}}), KNOBS)
    assert [rule.report(1, 3, 0.9), rule.report(2, 3, 0.1), rule.report(1, 4, 0.9)] == [None] * 3
    assert rule.report(2, 4, 0.1) is not None


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"first_knobs": [{"n": 10}]}, "first_knobs, entry 1: Knob 'n'"),
        ({"first_knobs": [{"n": 9, "x": 0.1}]}, "n < 9"),
        ({"scheme": "fixed"}, "x, n"),
        ({"scheme": "pbt"}, "SHARE_PARAMS"),
        ({"scheme": "nothing"}, "There are: auto, "),
        ({"early_ending": "medain"}, "Did you mean 'median'?"),
        ({"early_ending": {"rule": "median", "options": {"min_trial": 1}}}, "Did you mean 'min_trials'?"),
        ({"early_ending": {"rule": "median", "options": {"min_trials": 0}}}, "min_trials"),
        ({"scheme": "asha", "early_ending": {"options": {"eta": 4}}}, "takes the scheme's options"),
    ],
)
def test_what_does_not_fit_the_knobs_is_refused(setting: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidTrainJobError) as refusal:
        check_setting(parse_setting(setting), KNOBS, ["n < 9"])
    assert says in refusal.value.message


@pytest.mark.parametrize("name", SCHEMES.names())
def test_every_scheme_has_a_summary_and_checks_its_options(name: str) -> None:
    assert SCHEMES.get(name).summary
    setting = parse_setting({"scheme": name, "options": {"no_such_option": 1}})
    knobs: dict[str, Any] = {"cell": ArchKnob([[1, 2]])} if SCHEMES.get(name).refuse(KNOBS) else KNOBS
    with pytest.raises(InvalidTrainJobError):
        check_setting(setting, knobs, [])


@pytest.mark.parametrize(("scheme", "on"), [("bayes", {"stop"}), ("sharing", {"stop", "share"}), ("random", set())])
def test_the_users_own_knobs_run_under_the_policies_of_the_search(scheme: str, on: set[str]) -> None:
    knobs = {**KNOBS, "stop": PolicyKnob("EARLY_STOP"), "share": PolicyKnob("SHARE_PARAMS")}
    advisor = make_advisor(knobs, TrainBudget(model_trial_count=20), 0, scheme, first_knobs=({"x": 0.5},))
    proposal = advisor.propose(1)
    assert proposal.knobs["x"] == 0.5
    assert {name for name in ("stop", "share") if proposal.knobs[name]} == on
