from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from safetensors.numpy import load as load_tensors
from support.http.raw_http import BYTES
from support.stacks.admin_people import Finished, People
from support.stacks.running_stack import RunningStack, eventually

from rafiki.param_store.codec import decode_params

FIELDS = [
    "attempt", "datetime_started", "datetime_stopped", "ended_early", "error", "id", "is_params_saved", "model_name",
    "model_version", "no", "proposal", "score", "status", "train_job_id", "worker_id",
]  # fmt: skip


def test_a_trial_says_what_was_tried_and_how_it_went(finished: Finished) -> None:
    trials = finished.owner.trials(finished.app)
    assert [t["no"] for t in trials] == [1, 2, 3]
    for trial in trials:
        assert sorted(trial) == FIELDS
        assert (trial["status"], trial["error"], trial["is_params_saved"]) == ("COMPLETED", None, True)
        knobs = trial["proposal"]["knobs"]
        assert trial["score"] == pytest.approx(1.0 - (knobs["x"] - 0.3) ** 2)
        assert datetime.fromisoformat(trial["datetime_started"]) <= datetime.fromisoformat(trial["datetime_stopped"])
        assert trial["worker_id"]
        assert finished.owner.ok("GET", f"/trials/{trial['id']}") == trial


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, 2),
        ({"max_count": 1}, 1),
        ({"max_count": 0}, 0),
        ({"max_count": 50}, 3),
    ],
)
def test_the_best_trials_come_highest_score_first(finished: Finished, query: dict[str, int], expected: int) -> None:
    by_score = sorted(finished.owner.trials(finished.app), key=lambda t: -t["score"])
    assert finished.owner.trials(finished.app, type="best", **query) == by_score[:expected]


def test_trials_are_listed_in_parts(finished: Finished) -> None:
    every = finished.owner.trials(finished.app)
    assert finished.owner.trials(finished.app, offset=1) == every[1:]
    assert finished.owner.trials(finished.app, offset=1, limit=1) == every[1:2]
    assert finished.owner.trials(finished.app, offset=99) == []


def test_the_log_of_a_trial_reads_back_as_messages_metrics_and_plots(finished: Finished) -> None:
    trial = finished.owner.trials(finished.app)[0]
    logs = finished.owner.ok("GET", f"/trials/{trial['id']}/logs")
    assert sorted(logs) == ["messages", "metrics", "plots"]
    [message] = logs["messages"]
    assert message["message"].startswith("training in process")
    [metrics] = logs["metrics"]
    assert metrics["x"] == trial["proposal"]["knobs"]["x"]
    assert datetime.fromisoformat(message["time"]).tzinfo is not None
    assert sorted(metrics) == ["time", "x"]


def test_the_parameters_are_safetensors_that_any_reader_takes(finished: Finished) -> None:
    trial = finished.owner.trials(finished.app)[0]
    answer = finished.owner.send("GET", f"/trials/{trial['id']}/parameters")
    assert (answer.status_code, answer.headers["content-type"]) == (200, BYTES)
    assert load_tensors(answer.content)["weights"].tolist() == [0, 1, 2, 3]
    assert decode_params(answer.content)["x"] == trial["proposal"]["knobs"]["x"]


@pytest.mark.parametrize(
    ("who", "allowed"),
    [("superadmin", True), ("admin", True), ("model_developer", False), ("app_developer", False)],
)
@pytest.mark.parametrize("path", ["/trials/{}", "/trials/{}/logs", "/trials/{}/parameters"])
def test_a_trial_is_for_its_owner_and_admins(
    people: People, finished: Finished, who: str, allowed: bool, path: str
) -> None:
    path = path.format(finished.trial_ids[0])
    if allowed:
        getattr(people, who).ok("GET", path)
    else:
        getattr(people, who).refused("InvalidTrialError", "GET", path)
    people.nobody.refused("UnauthorizedError", "GET", path)


def test_a_trial_that_was_cut_short_has_no_parameters_and_is_not_among_the_best(people: People) -> None:
    me = people.model_developer
    app = me.start_job(train_args={"sleep_s": 60})
    [trial] = eventually(lambda: me.trials(app), "the first trial")
    me.ok("POST", f"/train_jobs/{app}/-1/stop")
    assert me.trials(app, type="best") == []
    assert "ERRORED" in me.refused("InvalidTrialError", "GET", f"/trials/{trial['id']}/parameters")


@pytest.mark.parametrize(
    ("hurt", "error"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1] + b"!"), "DamagedFileError"),
        (lambda file: file.unlink(), "InvalidTrialError"),
    ],
    ids=["damaged", "gone"],
)
def test_parameters_that_are_damaged_or_gone_are_neither_handed_out_nor_served(
    people: People, stack: RunningStack, hurt: Callable[[Path], object], error: str
) -> None:
    me, folder = people.model_developer, stack.root / "params"
    before = set(folder.iterdir())
    app = me.run_job()
    [file] = set(folder.iterdir()) - before
    hurt(file)
    [trial] = me.trials(app)
    reason = me.refused(error, "GET", f"/trials/{trial['id']}/parameters")
    me.ok("POST", "/inference_jobs", json={"app": app})
    [job] = me.ok("GET", f"/inference_jobs/{app}")
    assert job["status"] == "ERRORED"
    assert reason in job["error"]
