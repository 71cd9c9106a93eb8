"""Results that a real stack tells a real MLflow server and a real receiver of webhooks, while they are killed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.results import tracked
from support.results.hook_receiver import HookReceiver
from support.results.mlflow_server import MlflowServer
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.constants import TrainJobOutcome, TrialStatus
from rafiki.proposals import Proposal
from rafiki.trackers import TrackerAwayError, TrackerRefusalError
from rafiki.trackers.base import TrackedPoint, TrackerSettings
from rafiki.trackers.mlflow_runs import MlflowTracker

# An MLflow server takes its time to start.
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]
SECRET = "a-secret-of-the-stack's-webhook"


class Unlucky(MlflowTracker):
    """The answer to one of its calls is lost, after the server has done what was asked."""

    def __init__(self, settings: TrackerSettings, fails_at: int) -> None:
        super().__init__(settings)
        self._left = fails_at

    def _send(self, *args: Any, **options: Any) -> bytes | None:
        answer = super()._send(*args, **options)
        self._left -= 1
        if self._left < 0:
            raise TrackerAwayError("the answer is lost")
        return answer


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    made = HookReceiver(SECRET)
    yield made
    made.close()


@pytest.fixture
def stack(mlflow: MlflowServer, receiver: HookReceiver, tmp_path: Path) -> Iterator[RunningStack]:
    (tmp_path / "secret").write_text(SECRET)
    settings = {
        "tracking": {"kind": "mlflow", "url": mlflow.url, "experiment": "rafiki/{app}", "artifacts": True},
        "webhooks": {"send": [{"url": receiver.url, "secret_file": str(tmp_path / "secret"), "events": ["*"]}]},
    }
    running = RunningStack(tmp_path / "stack", settings)
    running.up()
    yield running
    running.down()
    assert running.processes() == [], "a process was left behind"


def test_what_is_told_again_after_any_lost_answer_is_there_once(mlflow: MlflowServer, tmp_path: Path) -> None:
    job = tracked.job("lost-answers")
    wanted = {}
    n_calls = 0
    for fails_at in range(40):
        trial = tracked.trial(job, fails_at + 1, params=b"weights")
        wanted[trial.trial.id] = trial
        tracker = Unlucky(tracked.settings("mlflow", tmp_path, url=mlflow.url), fails_at)
        try:
            tracker.log_trial(job, trial)
        except TrackerAwayError:
            again = MlflowTracker(tracked.settings("mlflow", tmp_path, url=mlflow.url))
            again.log_trial(job, trial)
            again.log_trial(job, trial)
            again.close()
        else:
            break
        finally:
            tracker.close()
        n_calls += 1
    assert n_calls > 8, "each call of a trial has failed once"
    runs = mlflow.runs("rafiki/lost-answers")
    [parent] = [r for r in runs if "rafiki.parent_of" in r["tags"]]
    children = {r["tags"]["rafiki.trial_id"]: r for r in runs if r is not parent}
    assert len(runs) == len(wanted) + 1
    assert children.keys() == wanted.keys()
    for run in children.values():
        assert run["status"] == "FINISHED"
        assert run["params"] == {"x": "0.25", "kind": "a b", "flag": "true"}
        assert mlflow.history(run["run_id"], "loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
        assert mlflow.history(run["run_id"], "score") == [(0, 0.5)]
        assert mlflow.artifacts(run["run_id"]) == {"params.safetensors": 7}


def test_what_failed_is_told_with_its_reason_and_odd_values_as_they_are(mlflow: MlflowServer, tmp_path: Path) -> None:
    tracker = MlflowTracker(tracked.settings("mlflow", tmp_path, url=mlflow.url))
    job = tracked.job("failures")
    tracker.begin_job(job)
    failed = tracked.trial(job, n_points=0, status=TrialStatus.ERRORED, score=None, error="it broke: 'x' \"y\" ü")
    odd = tracked.trial(job, 2, n_points=2500, proposal=Proposal(knobs={"a:b": "y" * 9000, "n": [1, 2]}))
    odd.points.append(TrackedPoint("loss", math.nan, 7, tracked.STARTED))
    for trial in (failed, odd):
        tracker.log_trial(job, trial)
    tracker.end_job(tracked.ended(job, TrainJobOutcome.ERRORED, error="no model"))
    runs = {r["run_name"]: r for r in mlflow.runs("rafiki/failures")}
    assert runs["tiny#1"]["status"] == "FAILED"
    assert runs["tiny#1"]["tags"]["rafiki.error"] == runs["tiny#1"]["tags"]["mlflow.note.content"] == failed.trial.error
    assert runs["tiny#2"]["params"]["n"] == "[1,2]"
    assert len(runs["tiny#2"]["params"]["a_b"]) == 500
    assert len(mlflow.history(runs["tiny#2"]["run_id"], "loss")) == 2501
    assert runs["failures v3"]["status"] == "FAILED"
    assert runs["failures v3"]["metrics"]["trials_completed"] == 1


def test_an_experiment_that_was_deleted_is_told_of(mlflow: MlflowServer, tmp_path: Path) -> None:
    tracker = MlflowTracker(tracked.settings("mlflow", tmp_path, url=mlflow.url))
    tracker.begin_job(tracked.job("deleted"))
    [run] = mlflow.runs("rafiki/deleted")
    mlflow.ask("experiments/delete", experiment_id=run["experiment_id"])
    with pytest.raises(TrackerRefusalError, match="is deleted in MLflow"):
        tracker.begin_job(tracked.job("deleted"))


def test_nothing_is_lost_or_doubled_when_tracker_and_admin_are_killed(
    stack: RunningStack, mlflow: MlflowServer, receiver: HookReceiver, tmp_path: Path
) -> None:
    client = stack.client()
    (tmp_path / "data.bin").write_bytes(b"anything")
    dataset = client.create_dataset("data", "CUSTOM", str(tmp_path / "data.bin"))["id"]
    tiny = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    gate = tmp_path / "gate"
    client.create_train_job(
        "app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 6}, [tiny],
        train_args={"gate": str(gate), "n_free": 2},
    )  # fmt: skip
    eventually(lambda: len([r for r in mlflow.runs("rafiki/app") if "score" in r["metrics"]]) >= 2, stack.logs())
    mlflow.kill()
    gate.touch()
    eventually(lambda: client.get_train_job("app")["status"] in ("STOPPED", "ERRORED"), "the end of the job", 120)

    def is_told() -> bool:
        [tracker] = [r for r in client.get_receivers() if r["kind"] == "mlflow"]
        return tracker["error"] is not None and "cannot be reached" in tracker["error"] and tracker["waiting"] >= 5

    eventually(is_told, "the stack says that MLflow is away")
    stack.kill_admin()
    stack.up()
    mlflow.start()

    def is_whole() -> bool:
        return len([r for r in mlflow.runs("rafiki/app") if r["status"] == "FINISHED"]) == 7

    eventually(is_whole, "all runs in MLflow")
    eventually(lambda: [r["waiting"] for r in client.get_receivers()] == [0, 0], "nothing that waits")

    runs = mlflow.runs("rafiki/app")
    trials = client.get_trials_of_train_job("app")
    [parent] = [r for r in runs if "mlflow.parentRunId" not in r["tags"]]
    children = {r["tags"]["rafiki.trial_id"]: r for r in runs if r is not parent}
    assert len(runs) == 7
    assert children.keys() == {t["id"] for t in trials}
    assert parent["run_name"] == "app v1"
    assert parent["metrics"]["best_score"] == max(t["score"] for t in trials)
    assert parent["metrics"]["trials_completed"] == 6
    assert parent["params"]["model_trial_count"] == "6"
    for trial in trials:
        run = children[trial["id"]]
        assert run["tags"]["mlflow.parentRunId"] == parent["run_id"]
        assert run["metrics"]["score"] == trial["score"]
        assert float(run["params"]["x"]) == trial["proposal"]["knobs"]["x"]
        assert run["tags"]["rafiki.worker_id"] == trial["worker_id"]
        assert mlflow.history(run["run_id"], "x") == [(0, trial["proposal"]["knobs"]["x"])]
        assert mlflow.artifacts(run["run_id"]).keys() == {"params.safetensors"}

    assert set(receiver.is_genuine) == {True}
    by_id = {body["id"]: body for body in receiver.got}
    told = [body["type"] for body in by_id.values()]
    assert told[0] == "train_job.started"
    assert told[-1] == "train_job.ended"
    assert told.count("trial.completed") == 6
    assert {b["data"]["app"] for b in by_id.values()} == {"app"}
    assert by_id[receiver.got[0]["id"]]["links"]["train_job"] == f"http://127.0.0.1:{stack.port}/train_jobs/app/1"
    for process in stack.processes():
        assert SECRET not in " ".join(process.cmdline())
    assert SECRET not in stack.logs()
