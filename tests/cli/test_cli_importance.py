from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from support.http.complete_answers import records
from support.http.contract_server import ContractServer

from rafiki.analysis.dimensions import GRID, dimensions_of
from rafiki.analysis.importance import importance_of, marginal_of
from rafiki.analysis.ped_anova import Importance, best_region, divergence, importances, is_top
from rafiki.constants import ExitCode
from rafiki.contract.train_jobs import TrialView
from rafiki.errors import InvalidModelError
from rafiki.knob_specs import KnobSpecs

SNAPSHOTS = Path(__file__).parent / "snapshots"
CONFIG: dict[str, dict[str, Any]] = {
    "rate": {"type": "float", "value_min": 1e-3, "value_max": 1e3, "is_exp": True},
    "kernel": {"type": "categorical", "values": ["rbf", "poly", "linear"]},
    "depth": {"type": "integer", "value_min": 1, "value_max": 8, "is_exp": False},
    "noise": {"type": "float", "value_min": 0.0, "value_max": 1.0, "is_exp": False},
    "seed": {"type": "fixed", "value": 7},
}
Knobs = dict[str, Any]


def specs(config: dict[str, dict[str, Any]]) -> KnobSpecs:
    return msgspec.convert(config, KnobSpecs)


def _draw(count: int, seed: int = 0) -> list[Knobs]:
    draw = random.Random(seed)
    return [
        {
            "rate": 10 ** draw.uniform(-3, 3), "kernel": draw.choice(["rbf", "poly", "linear"]),
            "depth": draw.randint(1, 8), "noise": draw.random(), "seed": 7,
        }
        for _ in range(count)
    ]  # fmt: skip


def _score(knobs: Knobs) -> float:
    """Best at a rate of 10; the kernel counts less, the depth hardly, the noise not at all."""
    return -((math.log10(knobs["rate"]) - 1) ** 2) + 1.5 * (knobs["kernel"] == "rbf") + 0.05 * knobs["depth"]


def _trials(rows: list[Knobs], scores: list[float] | None = None, **more: Any) -> list[dict[str, Any]]:
    scores = [_score(r) for r in rows] if scores is None else scores
    return [
        {
            "id": f"{i:08d}", "no": i, "model_name": "SkSvm", "status": "COMPLETED", "score": s, "error": None,
            "proposal": {"knobs": r}, "ended_early": None, "is_params_saved": True,
            "datetime_started": "2025-01-01T10:00:00Z", "datetime_stopped": "2025-01-01T10:00:04Z", **more,
        }
        for i, (r, s) in enumerate(zip(rows, scores, strict=True), 1)
    ]  # fmt: skip


def _records(rows: list[Knobs], scores: list[float] | None = None) -> list[TrialView]:
    return records(_trials(rows, scores), TrialView)


def _importances(rows: list[Knobs], quantile: float = 0.25) -> list[Importance]:
    return importances(dimensions_of(rows, specs(CONFIG)).varied, [_score(r) for r in rows], quantile)


@pytest.mark.parametrize("count", [60, 300])
@pytest.mark.parametrize("seed", [0, 1])
def test_knobs_are_ranked_as_the_function_was_made(count: int, seed: int) -> None:
    found = _importances(_draw(count, seed))
    assert found[0].name == "rate"
    assert found[0].share > 0.5
    assert math.isclose(sum(one.share for one in found), 1.0)
    if count == 300:
        assert [one.name for one in found[:2]] == ["rate", "kernel"]
        assert found[0].is_clear
        assert found[1].is_clear


def test_the_divergence_is_that_of_the_formula_where_it_is_known() -> None:
    # The best quarter are all trials of one of four choices: q^2 (1/4 (4 - 1)^2 + 3/4 (0 - 1)^2) = 0.1875.
    rows = [{"choice": "abcd"[i % 4], "x": i / 4000} for i in range(4000)]
    choice, x = dimensions_of(rows).varied
    by_choice = is_top(np.array([float(r["choice"] == "a") for r in rows]), 0.25)
    assert divergence(choice, by_choice) == pytest.approx(0.1875, rel=0.01)
    assert divergence(x, by_choice) == pytest.approx(0.0, abs=0.001)
    # And the same with the lowest quarter of a uniform number, but for the smoothing at its edge.
    by_x = is_top(np.array([-r["x"] for r in rows]), 0.25)
    assert divergence(x, by_x) == pytest.approx(0.1875, rel=0.1)
    assert divergence(choice, by_x) == pytest.approx(0.0, abs=0.001)


@pytest.mark.parametrize("seed", range(2))
def test_the_ranking_agrees_with_the_evaluators_of_optuna(seed: int) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = _draw(150, seed)
    distributions = {
        "rate": optuna.distributions.FloatDistribution(1e-3, 1e3, log=True),
        "kernel": optuna.distributions.CategoricalDistribution(["rbf", "poly", "linear"]),
        "depth": optuna.distributions.IntDistribution(1, 8),
        "noise": optuna.distributions.FloatDistribution(0.0, 1.0),
    }
    study = optuna.create_study(direction="maximize")
    for r in rows:
        chosen = {k: r[k] for k in distributions}
        study.add_trial(optuna.trial.create_trial(params=chosen, distributions=distributions, value=_score(r)))
    ours = {one.name: one.share for one in _importances(rows)}
    evaluators = optuna.importance
    ped = evaluators.get_param_importances(
        study, evaluator=evaluators.PedAnovaImportanceEvaluator(target_quantile=0.25, region_quantile=1.0)
    )
    fanova = evaluators.get_param_importances(
        study, evaluator=evaluators.FanovaImportanceEvaluator(n_trees=16, max_depth=16, seed=0)
    )
    for theirs in (ped, fanova):
        assert max(theirs, key=theirs.get) == max(ours, key=ours.get) == "rate"
        assert {n for n, v in theirs.items() if v < 0.05} >= {"depth", "noise"} or theirs is ped
        assert np.corrcoef([ours[n] for n in ours], [theirs[n] for n in ours])[0, 1] > 0.9
    # Of the same method the shares themselves are near, though its smoothing of choices is another.
    assert all(abs(ours[n] - ped[n]) < 0.2 for n in ours)


def test_what_a_search_looked_at_often_is_not_important_for_that() -> None:
    # Nine of ten trials at noise near 0.9, good and bad ones alike.
    rows = [{**r, "noise": 0.9 + 0.02 * r["noise"] if i % 10 else r["noise"]} for i, r in enumerate(_draw(200))]
    noise = next(one for one in _importances(rows) if one.name == "noise")
    assert noise.share < 0.2
    assert not noise.is_clear


def test_knobs_that_do_nothing_are_seldom_told_as_an_effect() -> None:
    draw = random.Random(5)
    found: list[Importance] = []
    for seed in range(8):
        rows = _draw(30, seed)
        found += importances(dimensions_of(rows, specs(CONFIG)).varied, [draw.random() for _ in rows])
    # Of 32 knobs chance makes about 3 look like more at a level of 0.1; 10 and more once in 1,000 times.
    assert sum(one.is_clear for one in found) < 10


def test_the_interval_holds_the_share_and_is_narrower_with_more_trials() -> None:
    few, many = (next(one for one in _importances(_draw(n, 3)) if one.name == "rate") for n in (12, 400))
    for one in (few, many):
        assert 0 <= one.low <= one.share <= one.high <= 1
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_the_same_trials_give_the_same_answer() -> None:
    rows = _draw(40)
    assert _importances(rows) == _importances(rows)


def test_the_best_region_is_where_the_best_trials_are_denser_than_all() -> None:
    rows = _draw(300)
    found = importance_of("SkSvm", _records(rows), specs(CONFIG), 0.25)
    by_knob = {k.knob: k.best for k in found.knobs}
    assert 0.5 < by_knob["rate"].low < 10 < by_knob["rate"].high < 200
    assert by_knob["kernel"].values == ["rbf"]
    assert by_knob["kernel"].text == "rbf"
    assert found.constant == {"seed": 7}
    assert (found.trial_count, found.top_count) == (300, 75)
    assert found.threshold == sorted((_score(r) for r in rows), reverse=True)[74]


@pytest.mark.parametrize(
    ("make", "quantile", "text"),
    [
        (lambda depth: depth, 0.25, "7 and more"),
        (lambda depth: -depth, 0.25, "up to 2"),
        (lambda depth: float(depth == 4), 0.125, "4"),
        (lambda depth: -abs(depth - 4), 0.375, "3 to 5"),
    ],
)
def test_the_region_of_an_integer_is_told_in_whole_numbers(make: Any, quantile: float, text: str) -> None:
    rows = [{**r, "depth": i % 8 + 1} for i, r in enumerate(_draw(240))]
    found = importance_of("M", _records(rows, [float(make(r["depth"])) for r in rows]), specs(CONFIG), quantile)
    best = next(k.best for k in found.knobs if k.knob == "depth")
    assert best.text == text


def test_knobs_are_found_from_the_trials_where_the_model_is_out_of_reach() -> None:
    rows = _draw(50)
    dimensions, constant = dimensions_of(rows)
    by_name = {d.name: d for d in dimensions}
    assert list(by_name) == ["rate", "kernel", "depth", "noise"]
    assert constant == {"seed": 7}
    assert by_name["rate"].is_log
    assert not by_name["noise"].is_log
    assert by_name["depth"].is_whole
    assert by_name["depth"].labels == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert not by_name["kernel"].is_ordered
    found = importance_of("SkSvm", _records(_draw(200)), None, 0.25)
    assert found.knobs[0].knob == "rate"


def test_every_value_has_its_cell() -> None:
    whole = {"n": {"type": "integer", "value_min": 1, "value_max": 1000, "is_exp": True}}
    rows = [{"n": n, "on": n % 2 == 0, "size": n} for n in range(1, 1001)]
    n, on, size = dimensions_of(rows, specs(whole)).varied
    for d in (n, size):
        assert d.size <= GRID
        assert set(d.cells.tolist()) == set(range(d.size))
        assert (np.diff(d.cells) >= 0).all()
        for value, cell in zip(d.raw, d.cells.tolist(), strict=True):
            assert d.edges[cell] * (1 - 1e-9) <= value <= d.edges[cell + 1] * (1 + 1e-9)
    assert on.labels == ["no", "yes"]


def test_an_architecture_is_told_position_by_position_and_policies_are_left_out() -> None:
    draw = random.Random(1)
    config = {
        "cells": {"type": "arch", "values": ["conv", "pool", "skip"], "items": [[0, 1, 2]] * 3},
        "share": {"type": "policy", "policy": "SHARE_PARAMS"},
    }
    rows = [
        {"cells": [draw.choice(["conv", "pool", "skip"]) for _ in range(2)] + ["conv"], "share": i % 2 == 0}
        for i in range(120)
    ]
    scores = [float(r["cells"][1] == "skip") + 0.1 * draw.random() for r in rows]
    found = importance_of("Enas", _records(rows, scores), specs(config), 0.25)
    assert [k.knob for k in found.knobs] == ["cells[1]", "cells[0]"]
    assert found.knobs[0].best.values == ["skip"]
    assert found.knobs[0].is_clear
    assert found.knobs[1].importance < 0.2


def test_trials_whose_scores_mean_another_thing_are_left_out() -> None:
    config = {**CONFIG, "quick": {"type": "policy", "policy": "QUICK_EVAL"}}
    rows = [{**r, "quick": i < 40} for i, r in enumerate(_draw(60))]
    scores = [_score(r) if r["quick"] else 100.0 + r["noise"] for r in rows]
    found = importance_of("M", _records(rows, scores), specs(config), 0.25)
    assert found.trial_count == 40
    assert found.knobs[0].knob == "rate"


@pytest.mark.parametrize("knob", [None, "x"])
def test_a_knob_that_some_trials_lack_is_judged_by_those_that_have_it(knob: str | None) -> None:
    rows: list[Knobs] = [{"x": i / 50, "y": (i * 7) % 50} if i % 2 else {"y": (i * 7) % 50} for i in range(50)]
    found = importance_of("M", _records(rows, [float(i) for i in range(50)]), None, 0.25)
    assert found.knobs[0].knob == "x"
    marginal = marginal_of("x", _records(rows, [float(i) for i in range(50)]), None, 0.25)
    assert marginal is not None
    assert len(marginal.x) == 25


@pytest.mark.parametrize(
    ("rows", "scores", "note"),
    [
        (_draw(9), None, "9 scored trials: too few"),
        ([], None, "0 scored trials: too few"),
        ([{"seed": 7}] * 20, [i / 20 for i in range(20)], "No knob had more than one value"),
        (_draw(20), [0.5] * 20, "All 20 trials have the score 0.5000"),
        (_draw(20), [float("nan")] * 20, "0 scored trials: too few"),
    ],
)
def test_where_nothing_can_be_told_the_note_says_why(rows: list[Knobs], scores: Any, note: str) -> None:
    found = importance_of("M", _records(rows, scores), specs(CONFIG), 0.25)
    assert found.knobs == []
    assert note in found.note


def test_the_top_is_of_the_size_of_the_quantile_and_never_all() -> None:
    scores = np.array([1.0, 1.0, 1.0, 0.0, 2.0, 1.0])
    assert is_top(scores, 0.5).tolist() == [True, True, False, False, True, False]
    assert is_top(scores, 0.01).sum() == 2
    assert is_top(scores, 0.999).sum() == 5
    (x,) = dimensions_of([{"x": i} for i in range(6)]).varied
    assert best_region(x, np.zeros(6, dtype=bool)) == []


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(server: ContractServer, job: dict[str, Any]) -> ContractServer:
    job["models"] = [
        {"id": "s1", "model_id": "m1", "model_name": "SkSvm", "status": "STOPPED", "error": None},
        {"id": "s2", "model_id": "m2", "model_name": "SkDt", "status": "STOPPED", "error": None},
    ]
    few = _trials(_draw(3), model_name="SkDt")
    server.answers |= {
        "get_train_job": job,
        "get_trials_of_train_job": [*_trials(_draw(120)), *few],
        "get_available_models": [{"id": "m1", "knob_config": CONFIG}],
        "get_model": InvalidModelError("You have no model 'm2'."),
    }
    return server


@pytest.mark.parametrize("width", [80, 200])
def test_the_importances_are_a_table_of_bars(logged_in, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = logged_in("train", "importance", "digits")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("SkSvm: what set the best 30 of 120 trials apart (score ")
    assert lines[1].split() == ["KNOB", "IMPORTANCE", "SHARE", "90%", "INTERVAL", "BEST", "REGION"]
    assert lines[2].startswith("rate  ")
    assert lines[2].split()[1].startswith("█")
    noise = next(line for line in lines if line.startswith("noise"))
    assert noise.endswith("-")
    assert "One value in all trials: seed=7" in lines
    assert max(map(len, lines)) <= width
    assert "SkDt: 3 scored trials: too few to tell which knobs mattered. It takes 10." in result.err


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_structured_output_holds_every_model(logged_in, form: str, load: Any) -> None:
    result = logged_in("train", "importance", "digits", "-o", form)
    svm, tree = load(result.out)
    assert result.code == 0
    assert svm["knobs"][0]["knob"] == "rate"
    assert set(svm["knobs"][0]) == {"knob", "importance", "low", "high", "chance", "is_clear", "best"}
    assert tree["knobs"] == []
    assert "too few" in tree["note"]


def test_too_few_trials_of_every_model_is_no_result(logged_in) -> None:
    result = logged_in("train", "importance", "digits", "--model", "SkDt")
    assert (result.code, result.out) == (ExitCode.NO_RESULT, "")
    assert "too few" in result.err
    result = logged_in("train", "importance", "digits", "--model", "SkDt", "-o", "json")
    assert result.code == ExitCode.NO_RESULT
    assert json.loads(result.out)[0]["knobs"] == []


@pytest.mark.parametrize("width", [80, 200])
def test_the_scores_over_a_number_are_drawn_on_its_scale(
    logged_in, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = logged_in("train", "importance", "digits", "--knob", "rate", "--model", "SkSvm")
    assert result.code == 0, result.err
    assert result.out == (SNAPSHOTS / f"importance_of_rate_{width}.txt").read_text("utf-8")
    lines = result.out.splitlines()
    assert lines[0] == "SkSvm: score over rate"
    assert {"0.01", "0.1", "1", "10", "100"} <= set(lines[14].split())
    assert "* trial   + smoothed   over rate" in lines[15]
    assert lines[16].startswith("Best region: ")
    assert max(map(len, lines)) <= width
    # The curve is highest where the function is.
    (found,) = json.loads(logged_in("train", "importance", "digits", "--knob", "rate", "-o", "json").out)[:1]
    curve = found["curve"]
    assert 3 < curve["x"][curve["y"].index(max(curve["y"]))] < 30


def test_the_scores_by_a_choice_are_a_table(logged_in) -> None:
    result = logged_in("train", "importance", "digits", "--knob", "kernel", "--model", "SkSvm")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[1].split()[:4] == ["KERNEL", "TRIALS", "MEAN", "BEST"]
    assert lines[2].startswith("rbf")
    assert sum(int(line.split()[1]) for line in lines[2:5]) == 120


def test_a_trial_that_went_astray_does_not_press_the_chart_flat(logged_in, server: ContractServer) -> None:
    rows = _draw(40)
    server.answers["get_trials_of_train_job"] = _trials(rows, [-1e9, *(_score(r) for r in rows[1:])])
    result = logged_in("train", "importance", "digits", "--knob", "rate")
    assert "1 trial below" in result.err
    assert "e+" not in result.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--quantile", "0"], "--quantile 0: write a number above 0 and below 1"),
        (["--quantile", "nan"], "--quantile nan: write a number"),
        (["--model", "SkSvn"], "Did you mean 'SkSvm'?"),
        (["--knob", "rat"], "Did you mean 'rate'?"),
        (["--knob", "seed"], "no model has two scored trials with different values"),
    ],
)
def test_a_wrong_option_is_a_usage_error_that_tells_the_way_on(logged_in, words: list[str], message: str) -> None:
    result = logged_in("train", "importance", "digits", *words)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert message in result.err
