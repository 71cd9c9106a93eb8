"""What a run says of the version that serves, where the one it made does not take its place."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any, cast

from support.http.complete_answers import record, records

from rafiki.client.records import AdminClient
from rafiki.constants import ExitCode
from rafiki.contract.inference_jobs import InferenceJobView
from rafiki.contract.train_jobs import TrainJobView, TrialView
from rafiki.ensembles import EnsembleSummary
from rafiki_cli.jobs.gates import check_trials
from rafiki_cli.jobs.outcome import Outcome
from rafiki_cli.jobs.report import junit, markdown
from rafiki_cli.jobs.serving import find_serving, serving_sentence
from rafiki_cli.jobs.spec import Gates
from rafiki_cli.render.ensembles import ensemble_line

TRIALS = [
    {"id": "a", "no": 1, "model_name": "M", "status": "COMPLETED", "score": 0.8},
    {"id": "b", "no": 2, "model_name": "M", "status": "COMPLETED", "score": 0.85},
]
ENSEMBLE = {"method": "greedy", "metric": "R2", "validation_score": 0.9, "best_single_score": 0.85, "n_examples": 1200}


class FakeClient:
    def __init__(self, jobs: list[dict[str, Any]]) -> None:
        self._jobs = jobs

    def get_inference_jobs_of_app(self, app: str) -> list[InferenceJobView]:
        return records(self._jobs, InferenceJobView)

    def get_trials_of_train_job(self, app: str, version: int) -> list[TrialView]:
        return records(TRIALS, TrialView)


def served(version: int, status: str = "RUNNING", ensemble: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"app_version": version, "status": status, "trial_ids": ["a", "b"], "weights": [0.5, 0.5],
            "ensemble": ensemble or {"method": "best"}}  # fmt: skip


def find(jobs: list[dict[str, Any]], gates: Gates) -> list[Any]:
    return find_serving(cast(AdminClient, FakeClient(jobs)), "wine", gates)


def test_what_serves_is_told_with_its_score_and_the_gates_that_it_misses() -> None:
    [one] = find([served(3, "STOPPED"), served(1)], Gates(min_score=0.9))
    assert one.text == "wine v1 goes on serving (best score 0.8500), which misses min_score too"
    assert serving_sentence("wine", [one]).endswith("Stop it with `rafiki infer stop wine --version 1`.")
    [good] = find([served(1, ensemble=ENSEMBLE)], Gates(min_score=0.5, min_ensemble_score=0.85))
    assert good.text == "wine v1 goes on serving (best score 0.8500, ensemble score 0.9000)"
    assert serving_sentence("wine", [good]) == f"{good.text}."
    [low] = find([served(2, ensemble=ENSEMBLE)], Gates(min_ensemble_score=0.95, min_trials=3))
    assert low.missed_gates == ["min_trials", "min_ensemble_score"]


def test_nothing_serves_where_no_inference_job_lives() -> None:
    assert find([served(1, "ERRORED")], Gates()) == []
    assert serving_sentence("wine", []) == "no version of wine serves."


def test_the_reports_of_a_missed_gate_say_what_serves() -> None:
    gates = Gates(min_score=0.9)
    trials = records(TRIALS, TrialView)
    outcome = Outcome(
        app="wine", exit_code=ExitCode.GATE_MISSED, message="min_score: missed.",
        train_job=record({"app": "wine", "app_version": 2, "status": "STOPPED"}, TrainJobView), trials=trials,
        gates=check_trials(gates, trials), serving=find([served(1)], gates),
    )  # fmt: skip
    text = "wine v1 goes on serving (best score 0.8500), which misses min_score too"
    [skipped] = ET.fromstring(junit([outcome])).iter("skipped")
    assert skipped.get("message") == text
    assert text in markdown([outcome]).replace("\\", "")
    found = outcome.to_json()
    assert (found["status"], found["train_outcome"]) == ("STOPPED", "COMPLETED")
    assert found["serving"] == [{
        "app": "wine", "app_version": 1, "predictor_host": None, "score": 0.85, "ensemble_score": None,
        "missed_gates": ["min_score"],
    }]  # fmt: skip


def test_the_score_of_the_ensemble_stands_beside_that_of_the_best_trial() -> None:
    ensemble = record(ENSEMBLE, EnsembleSummary)
    line = "ensemble (greedy) of 2 trials: R2 0.9000 on 1,200 validation examples, the best single trial 0.8500"
    assert ensemble_line(ensemble, 2) == line
    assert ensemble_line(EnsembleSummary(), 1) is None
    outcome = Outcome(
        app="wine", message="deployed", trials=records(TRIALS, TrialView), ensemble=ensemble, n_members=2,
        predictor_host="127.0.0.1:1",
    )  # fmt: skip
    summary = markdown([outcome]).replace("\\", "")
    assert "deployed, best score 0.8500, ensemble 0.9000" in summary
    assert f"E{line[1:]}." in summary
