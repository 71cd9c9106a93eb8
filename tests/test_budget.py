import subprocess
import sys
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from rafiki.budget import (
    InferenceBudget,
    TrainBudget,
    TrialQuota,
    explain_unknown,
    parse_inference_budget,
    parse_train_budget,
)
from rafiki.constants import BudgetOption, InferenceBudgetOption
from rafiki.errors import InvalidInferenceJobError, InvalidTrainJobError


@pytest.mark.parametrize("budget", [None, {}])
def test_an_empty_budget_takes_the_defaults(budget):
    assert parse_train_budget(budget) == TrainBudget(0.1, 0, -1, 1)
    assert parse_inference_budget(budget) == InferenceBudget(0, 1)


def test_a_budget_survives_the_way_through_json():
    given = {"TIME_HOURS": 2, "GPU_COUNT": 3.0, "MODEL_TRIAL_COUNT": 7, "CPU_WORKER_COUNT": 4}
    budget = parse_train_budget(given)
    assert budget == TrainBudget(2.0, 3, 7, 4)
    assert type(budget.gpu_count) is int
    assert msgspec.to_builtins(budget) == given
    assert msgspec.json.decode(msgspec.json.encode(budget), type=TrainBudget) == budget
    replicas = parse_inference_budget({"REPLICA_COUNT": 2})
    assert parse_inference_budget(msgspec.to_builtins(replicas)) == replicas


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ([("TIME_HOURS", 1)], "list"),
        ({"TIME_HOURS": "five"}, "'five' .str"),
        ({"TIME_HOURS": ""}, "str"),
        ({"TIME_HOURS": "1_0"}, "str"),
        ({"TIME_HOURS": "nan"}, "finite"),
        ({"TIME_HOURS": "-5"}, "above 0"),
        ({"MODEL_TRIAL_COUNT": "2.5"}, "whole"),
        ({"TIME_HOURS": True}, "bool"),
        ({"TIME_HOURS": None}, "NoneType"),
        ({"TIME_HOURS": 0}, "above 0"),
        ({"TIME_HOURS": -1}, "above 0"),
        ({"TIME_HOURS": float("nan")}, "finite"),
        ({"TIME_HOURS": 10**400}, "too large"),
        ({"GPU_COUNT": float("inf")}, "finite"),
        ({"GPU_COUNT": -1}, "0 or more"),
        ({"GPU_COUNT": 1.5}, "whole"),
        ({"MODEL_TRIAL_COUNT": 0}, "not 0"),
        ({"MODEL_TRIAL_COUNT": -2}, "-1 or more"),
        ({"CPU_WORKER_COUNT": 0}, "1 or more"),
        ({"CPU_WORKER_COUNT": 257}, "256 or less"),
        ({"WORKERS_PER_GPU": 0}, "1 or more"),
        ({"WORKERS_PER_GPU": 65}, "64 or less"),
        ({"WORKERS_PER_GPU": 1.5}, "whole"),
    ],
)
def test_a_wrong_train_budget_is_refused_and_the_message_says_why(budget, named):
    with pytest.raises(InvalidTrainJobError, match=named):
        parse_train_budget(budget)


@pytest.mark.parametrize(
    ("budget", "named"),
    [({"REPLICA_COUNT": 0}, "1 or more"), ({"GPU_COUNT": "one"}, "number"), ({"GPU_COUNT": [1]}, "number")],
)
def test_a_wrong_inference_budget_is_refused_and_the_message_says_why(budget, named):
    with pytest.raises(InvalidInferenceJobError, match=named):
        parse_inference_budget(budget)


def test_shared_gpus_have_more_places_and_a_budget_that_shares_none_is_as_it_was():
    shared = parse_train_budget({"GPU_COUNT": 2, "WORKERS_PER_GPU": "3"})
    assert shared.gpu_seats == 6
    assert parse_inference_budget({"GPU_COUNT": 1, "WORKERS_PER_GPU": 3}).gpu_seats == 3
    assert parse_train_budget({"GPU_COUNT": 2}).gpu_seats == 2
    assert msgspec.json.decode(msgspec.json.encode(shared), type=TrainBudget) == shared
    # What older clients read, and what hashes of job specs are made of.
    assert "WORKERS_PER_GPU" not in msgspec.to_builtins(TrainBudget())
    assert "WORKERS_PER_GPU" not in msgspec.to_builtins(InferenceBudget())


def test_numbers_may_be_texts():
    given = {"TIME_HOURS": "0.5", "GPU_COUNT": "1", "MODEL_TRIAL_COUNT": " 2 ", "CPU_WORKER_COUNT": "3.0"}
    budget = parse_train_budget(given)
    assert budget == TrainBudget(0.5, 1, 2, 3)
    assert type(budget.gpu_count) is int
    assert parse_inference_budget({"GPU_COUNT": "0", "REPLICA_COUNT": "2"}) == InferenceBudget(0, 2)


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({"MODEL_TRAIL_COUNT": 5}, "'MODEL_TRAIL_COUNT' is unknown and left out. Did you mean MODEL_TRIAL_COUNT"),
        ({"time_hours": 5}, "Did you mean TIME_HOURS"),
        ({"ENABLE_GPU": True}, "'ENABLE_GPU' is unknown"),
        ({1: 5}, "'1' is unknown"),
    ],
)
def test_an_unknown_option_is_warned_of_and_left_out(budget, named, caplog):
    assert TrainBudget.from_request({**budget, "GPU_COUNT": 0}) == TrainBudget()
    assert named in caplog.text
    [warning] = explain_unknown(budget, BudgetOption)
    assert named in warning
    assert InferenceBudget.from_request(budget) == InferenceBudget()
    assert explain_unknown({"GPU_COUNT": 0}, BudgetOption) == explain_unknown(None, InferenceBudgetOption) == []


@pytest.mark.parametrize(
    ("count", "scheme_limit", "limit"), [(3, None, 3), (-1, None, None), (-1, 1, 1), (5, 1, 1), (1, 4, 1)]
)
def test_the_quota_admits_exactly_the_numbers_up_to_its_limit(count, scheme_limit, limit):
    quota = TrialQuota(model_trial_count=count, scheme_limit=scheme_limit)
    assert quota.limit == limit
    admitted = [no for no in range(-1, 10) if quota.may_start(no)]
    assert admitted == list(range(1, (limit or 9) + 1))


def test_time_is_over_once_the_hours_have_passed():
    budget = parse_train_budget({"TIME_HOURS": 0.5})
    start = datetime(2024, 1, 1, tzinfo=UTC)
    assert not budget.is_time_over(start, start + timedelta(minutes=29, seconds=59))
    assert budget.is_time_over(start, start + timedelta(minutes=30))
    assert budget.time_left_s(start, start + timedelta(minutes=29)) == 60
    assert not parse_train_budget({"TIME_HOURS": 1e300}).is_time_over(start, start + timedelta(days=9999))


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import rafiki.budget", {"numpy", "scipy"}),
        (
            "from rafiki.advisor.schemes import make_advisor\n"
            "from rafiki.budget import parse_train_budget\n"
            "from rafiki.model.knobs import FloatKnob\n"
            "make_advisor({'x': FloatKnob(0, 1)}, parse_train_budget({}), 0, 'random').propose(1)\n"
            "make_advisor({}, parse_train_budget({}), 0).propose(1)",
            {"numpy", "scipy"},
        ),
        (
            "from rafiki.advisor.schemes import make_advisor\n"
            "from rafiki.budget import parse_train_budget\n"
            "from rafiki.model.knobs import FloatKnob\n"
            "advisor = make_advisor({'x': FloatKnob(0, 1)}, parse_train_budget({}), 0)\n"
            "[(advisor.propose(i), advisor.feedback(i, float(i))) for i in range(1, 8)]",
            {"scipy"},
        ),
    ],
    ids=["budget", "fixed and random", "bayes"],
)
def test_heavy_libraries_load_only_where_they_are_needed(code, absent):
    program = f"{code}\nimport sys\nprint([m for m in {sorted(absent)!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
