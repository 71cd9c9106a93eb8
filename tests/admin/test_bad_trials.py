"""What model code can do wrong in a trial: it ends with a reason that helps its author, and the job goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.stacks.admin_people import Hostile

from rafiki.param_store.codec import decode_params

FAILS = {
    "raise": "ValueError: the learning rate is too high (line 32 of",
    "raise without words": "AssertionError (line 34 of",
    "raise at length": "... (line 36 of",
    "raise what cannot be printed": "UnprintableError (line",
    "exit": "it calls sys.exit(3) (line 40 of",
    "raise KeyboardInterrupt": "KeyboardInterrupt (line ",
    "raise GeneratorExit": "GeneratorExit: no more (line ",
    "recurse": "RecursionError: ",
    "out of memory": "MemoryError (line 46 of",
    "log text as a metric": "the metric 'loss' must be a number",
    "score NaN": "evaluate() must return a finite number; it returned nan",
    "score infinite": "evaluate() must return a finite number; it returned -inf",
    "score text": "evaluate() must return a finite number; it returned '0.5'",
    "score None": "evaluate() must return a number; it returned None",
    "score array": "evaluate() must return a number; it returned array([0.5, 0.6])",
    "score huge": "evaluate() must return a number; it returned 1000",
    "params object array": "'trees'",
    "params a list": "dump_parameters() must return a dict, not a list",
    "params None": "dump_parameters() must return a dict, not a NoneType",
    "params with a model": "'model' is a Hostile, which cannot be stored",
}
WORKS = [
    "log a lot", "log strange numbers", "log strange text", "print a lot", "score numpy", "score one-element array",
    "params numpy", "params empty",
]  # fmt: skip


@pytest.fixture(scope="module")
def model_id(hostile: Hostile) -> str:
    return hostile.me.upload_model("hostile.py", "Hostile")


def run(w: Hostile, model_id: str, do: str, n_trials: int = 1, **args: Any) -> tuple[dict[str, Any], list[Any]]:
    app = w.me.start_job(
        model_id=model_id, dataset_id=w.dataset, train_args={"do": do, **args},
        budget={"MODEL_TRIAL_COUNT": n_trials},
    )  # fmt: skip
    return w.me.wait_for_job(app), w.me.trials(app)


@pytest.mark.parametrize("do", FAILS)
def test_a_trial_whose_model_fails_says_why_and_where(hostile: Hostile, model_id: str, do: str) -> None:
    job, [trial] = run(hostile, model_id, do)
    assert (trial["status"], trial["score"], trial["is_params_saved"]) == ("ERRORED", None, False)
    assert trial["attempt"] == 1, "the worker was lost"
    assert FAILS[do] in trial["error"]
    assert len(trial["error"]) < 1000
    assert "\n" not in trial["error"]
    assert job["status"] == "ERRORED"
    assert FAILS[do] in job["error"]


@pytest.mark.parametrize("do", WORKS)
def test_what_only_looks_wrong_does_no_harm(hostile: Hostile, model_id: str, do: str) -> None:
    job, [trial] = run(hostile, model_id, do)
    assert (job["status"], trial["status"], trial["error"]) == ("STOPPED", "COMPLETED", None)
    logs = hostile.me.ok("GET", f"/trials/{trial['id']}/logs")
    params = decode_params(hostile.me.ok("GET", f"/trials/{trial['id']}/parameters"))
    match do:
        case "log a lot":
            lines = [m["message"] for m in logs["messages"]]
            assert lines == [f"line {i}" for i in range(100_000)]
        case "log strange numbers":
            [metrics] = logs["metrics"]
            assert {n: metrics[n] for n in ("loss", "big", "count", "ratio")} == {
                "loss": "nan", "big": "inf", "count": 3, "ratio": 0.5
            }  # fmt: skip
        case "log strange text":
            [message] = logs["messages"]
            assert message["message"].startswith("NUL ")
            assert message["message"].endswith("(cut)")
        case "score numpy" | "score one-element array":
            assert trial["score"] in (0.5, 0.25)
        case "params numpy":
            assert params == {"n": 3, "f": 0.5, "b": True, "s": "text"}
        case "params empty":
            assert params == {}


@pytest.mark.parametrize("do", ["raise", "exit", "raise KeyboardInterrupt", "score NaN", "params object array"])
def test_the_worker_goes_on_to_the_next_trial(hostile: Hostile, model_id: str, tmp_path: Path, do: str) -> None:
    job, trials = run(hostile, model_id, do, n_trials=3, once=str(tmp_path / "done"))
    assert [t["status"] for t in trials] == ["ERRORED", "COMPLETED", "COMPLETED"]
    assert len({t["worker_id"] for t in trials}) == 1
    assert (job["status"], job["error"]) == ("STOPPED", None)


def test_a_job_whose_trials_all_fail_says_so_with_the_last_reason(hostile: Hostile, model_id: str) -> None:
    job, trials = run(hostile, model_id, "raise", n_trials=3)
    assert [t["status"] for t in trials] == ["ERRORED"] * 3
    assert "All 3 trials failed" in job["error"]
    assert trials[-1]["error"] in job["error"]
    app = job["app"]
    message = hostile.me.refused("InvalidTrainJobError", "POST", "/inference_jobs", json={"app": app})
    assert "no completed trial" in message


def test_a_model_that_ends_its_process_costs_a_worker_each_time_until_its_trial_is_given_up(
    hostile: Hostile, model_id: str
) -> None:
    job, [trial] = run(hostile, model_id, "hard exit")
    assert (trial["status"], trial["attempt"], job["status"]) == ("ERRORED", 3, "ERRORED")
    assert "exit code 7" in trial["error"]
    assert trial["error"] in job["error"]


def test_a_trial_whose_process_ended_once_is_run_again(hostile: Hostile, model_id: str, tmp_path: Path) -> None:
    job, trials = run(hostile, model_id, "hard exit", n_trials=2, once=str(tmp_path / "done"))
    assert [(t["status"], t["attempt"]) for t in trials] == [("COMPLETED", 2), ("COMPLETED", 1)]
    assert (job["status"], job["error"]) == ("STOPPED", None)


def test_train_args_that_the_model_does_not_take_are_the_trials_reason(hostile: Hostile) -> None:
    app = hostile.me.start_job(model_id=hostile.model, dataset_id=hostile.dataset, train_args={"dataset_path": "x"})
    hostile.me.wait_for_job(app)
    [trial] = hostile.me.trials(app)
    assert "dataset_path" in trial["error"]
