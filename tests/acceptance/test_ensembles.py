"""Ensembles over real models: chosen on validation predictions, served over HTTP, and without a member that died."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from support.data.task_files import read_rows, real_data, split_csv
from support.stacks.deployed_job import DeployedJob
from support.stacks.running_stack import RunningStack, eventually

from rafiki.client.prediction import PredictorClient

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


class Served:
    """An inference job of a finished train job."""

    def __init__(self, stack: RunningStack, app: str, **ensemble: Any) -> None:
        self._client, self._app = stack.client(), app
        self.host: str = self._client.create_inference_job(app, ensemble=ensemble or None)["predictor_host"]
        self.job: dict[str, Any] = self._client.get_running_inference_job(app)

    def predict(self, queries: list[Any]) -> list[Any]:
        with PredictorClient(self.host) as predictor:
            return [p for i in range(0, len(queries), 32) for p in predictor.predict_many(queries[i : i + 32])]

    def stop(self) -> None:
        self._client.stop_inference_job(self._app)


def train(stack: RunningStack, folder: Path, task: str, file: str, kind: str) -> tuple[DeployedJob, Path]:
    """A job of two models and three trials each; and the rows that were held out."""
    train_path, val, test = split_csv(real_data(file), folder, SHARES)
    job = DeployedJob(stack, task, "ensemble")
    linear = "LogisticClassifier" if kind == "Classifier" else "RidgeRegressor"
    models: list[tuple[str | Path, str]] = [
        ("tabular/hist_gradient_boosting.py", f"HistGradientBoosting{kind}"), ("tabular/linear.py", linear)
    ]  # fmt: skip
    job.train(train_path, val, models, n_trials=3)
    return job, test


def check_choice(stack: RunningStack, job: DeployedJob, served: Served, metric: str, n_examples: int) -> None:
    trials = {t["id"]: t for t in stack.client().get_trials_of_train_job(job.app)}
    view, ids = served.job["ensemble"], served.job["trial_ids"]
    scores = [trials[i]["score"] for i in ids]
    assert (view["metric"], view["n_examples"], view["note"]) == (metric, n_examples, None)
    assert scores == sorted(scores, reverse=True)
    # These templates score by the same metric, so what they predicted must say what evaluate() said.
    assert view["member_scores"] == pytest.approx(scores)
    assert view["best_single_score"] == pytest.approx(max(t["score"] for t in trials.values()))
    assert sum(served.job["weights"]) == pytest.approx(1.0)


def test_a_greedy_ensemble_never_validates_below_the_best_trial(stack: RunningStack, tmp_path: Path) -> None:
    job, test = train(stack, tmp_path, "TABULAR_CLASSIFICATION", "titanic.csv", "Classifier")
    queries, targets = read_rows(test, "survived")
    told = []
    for method, size, n_members in (
        ("best", None, [1]),
        ("mean", None, [2]),
        ("mean", 3, [3]),
        ("greedy", 3, [1, 2, 3]),
    ):
        served = Served(stack, job.app, method=method, size=size)
        check_choice(stack, job, served, "accuracy", 262)
        assert len(served.job["trial_ids"]) in n_members
        found = [["died", "survived"][p[1] > p[0]] for p in served.predict(queries)]
        accuracy = statistics.mean(a == b for a, b in zip(found, targets, strict=True))
        told.append(f"{method} {served.job['ensemble']['validation_score']:.4f} -> {accuracy:.4f}")
        if method == "greedy":
            assert served.job["ensemble"]["validation_score"] >= served.job["ensemble"]["best_single_score"]
            assert accuracy >= 0.75
        served.stop()
    print(f"titanic: accuracy on validation -> held out: {', '.join(told)}")


def test_an_ensemble_goes_on_with_the_weights_of_those_that_are_left(stack: RunningStack, tmp_path: Path) -> None:
    job, test = train(stack, tmp_path, "TABULAR_REGRESSION", "concrete.csv", "Regressor")
    queries, targets = read_rows(test, "compressive_strength")
    numbers = [float(t) for t in targets]
    served = Served(stack, job.app, method="greedy", size=3)
    check_choice(stack, job, served, "R2", 206)
    assert served.job["ensemble"]["validation_score"] >= served.job["ensemble"]["best_single_score"]
    errors = [p - t for p, t in zip(served.predict(queries), numbers, strict=True)]
    if len(served.job["trial_ids"]) == 1:
        # One trial may be so much the best that nothing improves on it.
        served.stop()
        served = Served(stack, job.app, method="mean", size=3)
    _lose_each_member(stack, served, queries[0])
    served.stop()
    assert 1 - statistics.fmean(e * e for e in errors) / statistics.pvariance(numbers) >= 0.8


def _lose_each_member(stack: RunningStack, served: Served, query: Any) -> None:
    """Without one of its members an ensemble answers with the weighted mean of the others."""
    weights = dict(zip(served.job["trial_ids"], served.job["weights"], strict=True))
    assert 2 <= len(weights) <= 3
    without: dict[str, float] = {}
    with PredictorClient(served.host) as predictor:
        whole = predictor.predict(query)

        def lacks_one() -> dict[str, Any] | None:
            # Too short for a killed worker to be started again, and long enough for those that live.
            answer = predictor.post({"query": query, "timeout_ms": 300})
            return answer if len(answer.get("left_out", [])) == 1 else None

        for process in stack.processes("inference"):
            process.kill()
            answer = eventually(lacks_one, "an answer without the killed member")
            without[answer["left_out"][0]] = answer["prediction"]
            eventually(lambda: predictor.get_health()["absent"] == [], "the member to be back")
            eventually(lambda: predictor.predict(query) == pytest.approx(whole), "the whole ensemble's answer")
    # whole = sum of w p; without v: (whole - w_v p_v) / (1 - w_v). Summed over all v, every p falls out.
    assert without.keys() == weights.keys()
    rest = sum((1 - weights[v]) * without[v] for v in weights)
    assert rest == pytest.approx((len(weights) - 1) * whole)
    assert any(answer != pytest.approx(whole) for answer in without.values())


DIES_IN_PREDICT = """
import os
from rafiki.model import BaseModel, FloatKnob

class DiesInPredict(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0)}

    def __init__(self, **knobs):
        self.x = knobs["x"]

    def train(self, dataset_path, shared_params=None, **train_args):
        pass

    def evaluate(self, dataset_path):
        return self.x

    def predict(self, queries):
        os._exit(9)

    def dump_parameters(self):
        return {"x": self.x}

    def load_parameters(self, params):
        self.x = params["x"]
"""


def test_a_model_that_kills_its_worker_in_predict_loses_no_trial(stack: RunningStack, tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(DIES_IN_PREDICT)
    train_path, val, _ = split_csv(real_data("titanic.csv"), tmp_path, SHARES)
    job = DeployedJob(stack, "TABULAR_CLASSIFICATION", "dies")
    job.train(train_path, val, [(tmp_path / "dies.py", "DiesInPredict")], n_trials=6)
    trials = stack.client().get_trials_of_train_job(job.app)
    assert sorted(t["attempt"] for t in trials) == [1, 1, 1, 1, 1, 2]
    served = Served(stack, job.app, method="greedy")
    best = max(trials, key=lambda t: t["score"])
    assert (served.job["trial_ids"], served.job["weights"]) == ([best["id"]], [1.0])
    assert served.job["ensemble"]["note"] == "The best trial has no validation predictions."
    served.stop()
