import pytest

from benchmarks.search.evaluations import Evaluations
from benchmarks.search.methods import OURS, RANDOM
from benchmarks.search.problems import PROBLEMS
from benchmarks.search.runs import Job, Run, run
from benchmarks.search.statistics import Comparison, of_complete_seeds


def runs():
    """Two problems, two seeds; the random one has a median of 0, ours ends at the best of all."""
    found = []
    for problem, unit in (("a", 1.0), ("b", 100.0)):
        for seed in (0, 1):
            found.append(Run("ours", problem, seed, [-unit, 2 * unit, 4 * unit], [0.1, 0.2, 0.3]))
            found.append(Run("random", problem, seed, [-unit, 0.0, unit], [0.0, 0.0, 0.0]))
    return found


def test_scores_are_normalised_by_problem_and_counted_from_the_best_so_far():
    comparison = Comparison(runs(), "random")
    assert [comparison.score("ours", t).value for t in (1, 2, 3)] == [0, 0.5, 1]
    assert [comparison.score("random", t).value for t in (1, 2, 3)] == [0, 0, 0.25]
    assert comparison.gain("ours", "random", 3, ["b"]) == (0.75, 0.75, 0.75)
    assert [comparison.rank("ours", t).value for t in (1, 3)] == [1.5, 1]
    assert comparison.wins("ours", "random", 3) == (4, 0, 0)
    assert comparison.seconds("ours") == pytest.approx((0.2, 0.2))


def test_failed_trials_and_seeds_that_differ_are_within_the_interval():
    found = [r for r in runs() if r.method == "random" or r.seed == 0]
    found += [Run("ours", problem, 1, [None, None, None], [0.1, 0.1, 0.1]) for problem in ("a", "b")]
    estimate = Comparison(found, "random").score("ours", 3)
    assert estimate.low == 0
    assert estimate.value == 0.5
    assert estimate.high == 1


def test_methods_that_ran_on_other_seeds_are_not_compared():
    with pytest.raises(ValueError, match="ours"):
        Comparison(runs()[1:], "random")
    assert {r.seed for r in of_complete_seeds(runs()[1:])} == {1}


def test_a_point_is_evaluated_once(tmp_path):
    problem = PROBLEMS[0]
    calls = []

    def evaluate(knobs):
        calls.append(knobs)
        return None if knobs["c"] > 1 else 0.5

    class Counted:
        name = problem.name

    Counted.evaluate = staticmethod(evaluate)
    evaluations = Evaluations(tmp_path / "scores.sqlite")
    for _ in range(2):
        assert evaluations.score(Counted, {"c": 0.1 + 0.2}) == 0.5
        assert evaluations.score(Counted, {"c": 0.3}) == 0.5
        assert evaluations.score(Counted, {"c": 2.0}) is None
    assert len(calls) == 2


@pytest.mark.parametrize("method", [OURS, RANDOM])
def test_a_search_of_a_real_problem_is_recorded_trial_by_trial(method, tmp_path):
    job = Job(method, "svm_digits", 0, 6, tmp_path / "scores.sqlite")
    found = run(job)
    assert len(found.scores) == len(found.seconds) == 6
    assert max(found.scores) > 0.1
    assert run(job).scores == found.scores


def test_there_are_eight_problems_half_of_them_held_out_and_one_of_ten_dimensions():
    assert len(PROBLEMS) >= 8
    assert sum(p.is_held_out for p in PROBLEMS) >= 4
    assert max(len(p.knobs) for p in PROBLEMS) >= 10
