import math
from statistics import median

import numpy as np
import pytest

from rafiki.advisor.base import Ask, SearchSetup, TrialRecord
from rafiki.advisor.bayes import BayesAdvisor
from rafiki.advisor.schemes import make_advisor
from rafiki.advisor.scores import informative, standardise, with_bounds_of_ended
from rafiki.budget import parse_train_budget
from rafiki.model.knobs import CategoricalKnob, FloatKnob, IntegerKnob, PolicyKnob, check_knobs
from rafiki.proposals import Proposal


def search(knobs, objective, n, seed=0, scheme="bayes", limited=True):
    """A sequential search of ``n`` trials; ``objective`` may answer None for a failed trial."""
    advisor = make_advisor(knobs, parse_train_budget({"MODEL_TRIAL_COUNT": n if limited else -1}), seed, scheme)
    for no in range(1, n + 1):
        advisor.feedback(no, objective(**advisor.propose(no).knobs))
    return advisor


def best_of(advisor):
    return max(t.score for t in advisor.trials if t.score is not None)


HARTMANN_A = [
    [10, 3, 17, 3.5, 1.7, 8],
    [0.05, 10, 17, 0.1, 8, 14],
    [3, 3.5, 1.7, 10, 17, 8],
    [17, 8, 0.05, 10, 0.1, 14],
]
HARTMANN_P = [
    [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
    [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
    [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
    [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
]


def branin(x, y):
    bowl = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return -(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def hartmann6(**x):
    inner = ((np.array(list(x.values())) - np.array(HARTMANN_P)) ** 2 * np.array(HARTMANN_A)).sum(1)
    return float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-inner))


def training(rate, units, kind, drop):
    bad = {"relu": 0, "tanh": 0.05, "sigmoid": 0.2}[kind]
    return 1 - 0.05 * (math.log10(rate) + 3) ** 2 - 0.03 * (math.log2(units) - 6) ** 2 - bad - abs(drop - 0.3)


TRAINING_KNOBS = {"rate": 1e-3, "units": 4, "kind": "relu", "drop": 0.1}
TRAINING = {
    "rate": FloatKnob(1e-6, 1, is_exp=True),
    "units": IntegerKnob(2, 1024, is_exp=True),
    "kind": CategoricalKnob(["relu", "tanh", "sigmoid"]),
    "drop": FloatKnob(0, 0.9),
}


@pytest.mark.parametrize(
    ("objective", "knobs", "optimum", "n"),
    [
        (branin, {"x": FloatKnob(-5, 10), "y": FloatKnob(0, 15)}, -0.397887, 30),
        (hartmann6, {f"x{i}": FloatKnob(0, 1) for i in range(6)}, 3.32237, 40),
        (training, TRAINING, 1.0, 30),
    ],
)
def test_it_ends_with_a_quarter_of_the_regret_of_random_search(objective, knobs, optimum, n):
    def regret(scheme, seeds):
        return median(optimum - best_of(search(knobs, objective, n, seed, scheme)) for seed in range(seeds))

    assert regret("bayes", 5) < 0.25 * regret("random", 21)


def test_trials_that_run_at_the_same_time_spread_out():
    advisor = search(TRAINING, training, 15, limited=False)
    batch = [advisor.propose(no).knobs for no in range(16, 24)]
    points = np.array([[math.log10(k["rate"]) / 6, k["drop"] / 0.9, math.log2(k["units"]) / 9] for k in batch])
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(8)
    assert gaps.min() > 1e-3
    assert len({repr(k) for k in batch}) == 8


def test_a_search_with_all_workers_waiting_for_their_first_result_keeps_proposing():
    advisor = make_advisor({"x": FloatKnob(0, 1), "y": FloatKnob(0, 1)}, parse_train_budget({}), 0)
    points = np.array([list(advisor.propose(no).knobs.values()) for no in range(1, 25)])
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(24)
    assert gaps.min() > 0.02


def test_failed_trials_push_the_search_away():
    def crashes_on_the_left(x, y):
        return None if x < 0.5 else -((x - 0.5) ** 2) - (y - 0.3) ** 2

    advisor = search({"x": FloatKnob(0, 1), "y": FloatKnob(0, 1)}, crashes_on_the_left, 35)
    late = [t for t in advisor.trials if t.no > 12]
    assert sum(t.state == "failed" for t in late) < len(late) / 2
    assert best_of(advisor) > -0.01


@pytest.mark.parametrize(
    "objective",
    [
        lambda x, n: 0.5,
        lambda x, n: 0.1 + 1e-17 * n,
        lambda x, n: 1e30 * x,
        lambda x, n: 1.7e308 * (x - 0.5) * 2,
        lambda x, n: -(10 ** (40 * x)),
        lambda x, n: None,
        lambda x, n: None if n % 2 else x,
        lambda x, n: float("inf"),
        lambda x, n: 1e-320 * n,
    ],
    ids=["equal", "rounding", "huge", "largest", "diverging", "all fail", "half fail", "inf", "subnormal"],
)
@pytest.mark.parametrize("n", [1, 2, 20])
def test_odd_scores_never_stop_the_search(objective, n):
    knobs = {"x": FloatKnob(0, 1), "n": IntegerKnob(1, 30)}
    advisor = search(knobs, objective, n)
    for trial in advisor.trials:
        check_knobs(knobs, trial.knobs)
    assert len({(t.knobs["x"], t.knobs["n"]) for t in advisor.trials}) == n


@pytest.mark.parametrize(
    ("knobs", "size"),
    [
        ({"k": IntegerKnob(1, 12)}, 12),
        ({"k": CategoricalKnob(["only"])}, 1),
        ({"k": IntegerKnob(4, 4), "f": FloatKnob(2, 2)}, 1),
        ({"k": IntegerKnob(1, 5, is_exp=True), "c": CategoricalKnob([True, False])}, 10),
    ],
)
def test_a_small_space_is_tried_whole_before_anything_repeats(knobs, size):
    advisor = search(knobs, lambda **k: float(-abs(k["k"] - 3)) if k["k"] != "only" else 1.0, size + 6)
    keys = [repr(t.knobs) for t in advisor.trials]
    assert len(set(keys[:size])) == size
    assert len(set(keys)) == size


def test_a_large_finite_space_is_not_repeated_either():
    knobs = {"a": IntegerKnob(0, 99), "b": IntegerKnob(1, 99, is_exp=True)}
    advisor = search(knobs, lambda a, b: -((a - 50) ** 2) - (b - 7) ** 2, 40)
    assert len({repr(t.knobs) for t in advisor.trials}) == 40
    assert best_of(advisor) >= -2


EARLY = {"x": FloatKnob(0, 1), "y": FloatKnob(0, 1), "stop": PolicyKnob("EARLY_STOP"), "q": PolicyKnob("QUICK_EVAL")}


@pytest.mark.parametrize(("n", "finals"), [(4, 0), (5, 1), (19, 1), (30, 3)])
def test_the_last_trials_train_the_best_distinct_knobs_in_full(n, finals):
    # Full trainings score far higher; the search must not mistake that for a better place.
    advisor = search(EARLY, lambda x, y, stop, q: -((x - 0.6) ** 2) - y + (0 if stop else 10), n)
    searched, full = advisor.trials[: n - finals], advisor.trials[n - finals :]
    assert all(t.knobs["stop"] is True for t in searched)
    assert all(t.knobs["stop"] is False for t in full)
    assert not any(t.knobs["q"] for t in advisor.trials)
    ranked = sorted(searched, key=lambda t: -t.score)[:finals]
    assert [(t.knobs["x"], t.knobs["y"]) for t in full] == [(t.knobs["x"], t.knobs["y"]) for t in ranked]


def test_full_trainings_without_a_search_result_try_new_points():
    advisor = search(EARLY, lambda **k: None, 10)
    assert advisor.trials[-1].knobs["stop"] is False
    assert len({(t.knobs["x"], t.knobs["y"]) for t in advisor.trials}) == 10


@pytest.mark.parametrize(("n", "finals"), [(8, 1), (40, 4)])
def test_where_time_alone_ends_the_search_its_last_tenth_trains_the_best_in_full(n, finals):
    advisor = BayesAdvisor(SearchSetup(knob_config=EARLY, seed=3))
    for no in range(1, n + 1):
        knobs = advisor.propose(no, Ask(budget_used=0.89)).knobs
        assert knobs["stop"] is True
        advisor.feedback(no, -((knobs["x"] - 0.6) ** 2) - knobs["y"])
    ranked = sorted(advisor.trials, key=lambda t: -t.score)[:finals]
    late = [advisor.propose(n + i, Ask(budget_used=0.9)).knobs for i in range(1, finals + 4)]
    # At most one for every ten trials: time that is left goes on with the search.
    assert [k["stop"] for k in late] == [False] * finals + [True] * 3
    assert [(k["x"], k["y"]) for k in late[:finals]] == [(t.knobs["x"], t.knobs["y"]) for t in ranked]


def test_a_trial_that_ended_early_is_trained_in_full_only_when_no_other_is_left():
    advisor = BayesAdvisor(SearchSetup(knob_config=EARLY, seed=3))
    for no in range(1, 21):
        advisor.propose(no)
        advisor.feedback(no, float(no), is_ended_early=no > 1)
    first, second = (advisor.propose(no, Ask(budget_used=0.95)).knobs for no in (21, 22))
    x = [t.knobs["x"] for t in advisor.trials]
    assert (first["x"], second["x"]) == (x[0], x[19])


def test_standardised_scores_keep_their_ranks_and_one_disaster_does_not_flatten_the_rest():
    scores = [0.7, 0.8, 0.9, 0.75, -1e12, None]
    z = standardise(scores)
    assert list(np.argsort(z[:5])) == list(np.argsort(scores[:5]))
    assert z[4] < z[5] <= z[3], "a failure lies at the lower quartile"
    assert z.mean() == pytest.approx(0)
    assert z.std() == pytest.approx(1)
    assert z[2] - z[0] > 0.05
    assert standardise([3.0] * 4).tolist() == [0.0] * 4
    assert standardise([]).tolist() == []


def test_a_surrogate_that_is_full_keeps_the_best_trials_and_a_spread_of_the_others():
    y = np.random.default_rng(0).normal(size=1000)
    kept = informative(y, 100)
    assert len(set(kept.tolist())) == 100
    assert set(np.argsort(-y)[:50]) <= set(kept.tolist())
    assert np.median(y[kept]) < np.sort(y)[-50]
    assert max(np.diff(kept)) < 60
    assert informative(y[:7], 100).tolist() == list(range(7))


def test_the_score_of_a_trial_that_ended_early_counts_as_one_of_the_lowest_quarter():
    scores, ended = [0.6, 0.7, 0.8, 0.9, 0.1, 0.95, 0.65, None], [False] * 4 + [True] * 3 + [False]
    assert with_bounds_of_ended(scores, ended) == [0.6, 0.7, 0.8, 0.9, 0.6, 0.7, 0.65, None]
    assert with_bounds_of_ended([0.1, 0.2], [True, True]) == [0.1, 0.2]


def best_of_complete(advisor):
    return max(t.score for t in advisor.trials if not t.is_ended_early)


def test_trials_that_ended_early_do_not_draw_the_search_to_them():
    # The left half trains fast and is ended early at scores above all others.
    advisor = BayesAdvisor(SearchSetup(knob_config={"x": FloatKnob(0, 1), "y": FloatKnob(0, 1)}, seed=0))
    for no in range(1, 31):
        knobs = advisor.propose(no).knobs
        is_left = knobs["x"] < 0.5
        advisor.feedback(no, 5.0 if is_left else -((knobs["x"] - 0.8) ** 2) - knobs["y"], is_ended_early=is_left)
    assert sum(t.is_ended_early for t in advisor.trials[10:]) < 12
    assert best_of_complete(advisor) > -0.01


def earlier(n, objective, knobs, seed=11):
    trials = search(knobs, objective, n, seed, scheme="random").trials
    return tuple(t for t in trials if t.state == "completed")


@pytest.mark.parametrize("shift", [0.0, 3.0], ids=["the same scores", "other scores"])
def test_a_search_begins_where_earlier_ones_on_the_same_data_ended(shift):
    history = earlier(60, lambda **k: training(**k) + shift, TRAINING)
    warm, cold = (
        [
            best_of(_run(BayesAdvisor(SearchSetup(knob_config=TRAINING, seed=seed, history=h)), training, 8))
            for seed in range(5)
        ]
        for h in (history, ())
    )
    assert median(warm) > median(cold) + 0.05


def test_earlier_searches_that_mislead_are_outweighed():
    history = earlier(40, lambda **k: -training(**k), TRAINING)
    found = [
        best_of(_run(BayesAdvisor(SearchSetup(knob_config=TRAINING, seed=seed, history=history)), training, 40))
        for seed in range(3)
    ]
    assert median(found) > 0.9


def _run(advisor, objective, n):
    for no in range(1, n + 1):
        advisor.feedback(no, objective(**advisor.propose(no).knobs))
    return advisor


def test_history_of_failed_trials_or_other_knobs_is_no_history():
    strange = TrialRecord(no=1, proposal=Proposal(knobs={"other": 1}), score=1.0, state="completed")
    failed = TrialRecord(no=2, proposal=Proposal(knobs=TRAINING_KNOBS), score=None, state="failed")
    plain, warm = (BayesAdvisor(SearchSetup(knob_config=TRAINING, seed=0, history=h)) for h in ((), (strange, failed)))
    assert [plain.propose(no) for no in range(1, 6)] == [warm.propose(no) for no in range(1, 6)]


def test_every_proposal_satisfies_the_constraints_though_the_best_lies_beyond_them():
    knobs = {"a": FloatKnob(0, 1), "b": FloatKnob(0, 1), "n": IntegerKnob(1, 9), "m": IntegerKnob(1, 9)}
    setup = SearchSetup(knob_config=knobs, seed=2, trial_limit=40, constraints=("a + b <= 0.5", "n < m"))
    advisor = _run(BayesAdvisor(setup), lambda a, b, n, m: a + b + 0.05 * (n - m), 40)
    assert all(k["a"] + k["b"] <= 0.5 and k["n"] < k["m"] for k in (t.knobs for t in advisor.trials))
    assert best_of(advisor) > 0.5 - 0.05 - 0.03


def test_a_long_search_goes_on_after_a_restart_as_if_there_had_been_none():
    setup = SearchSetup(knob_config=TRAINING, seed=5, history=earlier(12, training, TRAINING))
    advisor = _run(BayesAdvisor(setup), training, 50)
    restored = BayesAdvisor(setup)
    restored.restore(advisor.trials)
    for no in range(51, 54):
        assert restored.propose(no) == advisor.propose(no)
