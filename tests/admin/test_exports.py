"""What the admin tells about running an app elsewhere."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import pytest
from support.http.raw_http import Caller
from support.stacks.admin_people import Finished, People
from support.stacks.running_stack import MODELS, eventually


def export(who: Caller, app: str, **query: Any) -> dict[str, Any]:
    found: dict[str, Any] = who.ok("GET", f"/train_jobs/{app}/-1/export", params=query)
    return found


def refused(who: Caller, error: str, app: str, **query: Any) -> str:
    return who.refused(error, "GET", f"/train_jobs/{app}/-1/export", params=query)


def test_without_a_deployment_the_best_trial_of_each_model_is_exported(finished: Finished) -> None:
    best = max(finished.owner.trials(finished.app), key=lambda t: t["score"])
    found = export(finished.owner, finished.app)
    [member] = found["members"]
    assert [member["trial_id"], member["knobs"], member["weight"]] == [best["id"], best["proposal"]["knobs"], 1.0]
    assert (found["inference_job_id"], found["predictor_host"], found["task"]) == (None, None, "CUSTOM")
    # Any file is a custom task's dataset: there are no queries in it.
    assert found["examples"] == []


def test_what_is_told_of_a_model_and_its_parameters_is_what_is_downloaded(finished: Finished) -> None:
    found = export(finished.owner, finished.app)
    [model] = found["models"]
    assert (model["id"], model["model_class"]) == (finished.model_id, "Tiny")
    file = finished.owner.ok("GET", f"/models/{model['id']}/model_file")
    assert file == (MODELS / "tiny.py").read_bytes()
    assert hashlib.sha256(file).hexdigest() == model["file_sha256"]
    params = finished.owner.ok("GET", f"/trials/{found['members'][0]['trial_id']}/parameters")
    assert hashlib.sha256(params).hexdigest() == found["members"][0]["params_sha256"]
    assert model["packages"]["numpy"] == np.__version__
    # What the engine needs for itself is no part of an export.
    assert not {"starlette", "sqlalchemy", "rafiki", "redis"} & model["packages"].keys()


def test_the_latest_deployment_is_exported_live_or_not(people: People) -> None:
    me = people.model_developer
    app = me.run_job(budget={"MODEL_TRIAL_COUNT": 3})
    made = me.ok("POST", "/inference_jobs", json={"app": app, "app_version": -1, "ensemble": {"size": 2}})
    live = export(me, app)
    assert (live["inference_job_id"], live["predictor_host"]) == (made["id"], made["predictor_host"])
    assert [m["weight"] for m in live["members"]] == [0.5, 0.5]
    me.ok("POST", f"/inference_jobs/{app}/-1/stop")
    ended = export(me, app)
    assert (ended["inference_job_id"], ended["predictor_host"]) == (made["id"], None)
    assert ended["members"] == live["members"]
    # Unless other members are asked for.
    assert len(export(me, app, method="best")["members"]) == 1
    assert export(me, app, method="mean", size=3)["inference_job_id"] is None


def test_members_whose_parameters_were_freed_give_way_to_others(people: People) -> None:
    me = people.model_developer
    app = me.run_job(budget={"MODEL_TRIAL_COUNT": 2})
    best_first = sorted(me.trials(app), key=lambda t: -t["score"])
    fields = {"keep": 1, "older_than_s": 0, "apply": True, "only": [f"params:{best_first[1]['id']}"]}
    [freed] = people.admin.ok("POST", "/actions/collect_garbage", json=fields)["items"]
    assert freed["is_freed"]
    assert [m["trial_id"] for m in export(me, app, method="mean", size=2)["members"]] == [best_first[0]["id"]]
    assert "rafiki gc" in refused(me, "InvalidTrialError", app, trial_id=best_first[1]["id"])


def test_one_trial_can_be_exported_while_its_job_runs(people: People) -> None:
    me = people.model_developer
    app = me.start_job(budget={"MODEL_TRIAL_COUNT": 100_000, "TIME_HOURS": 1})
    trial = eventually(lambda: next((t for t in me.trials(app) if t["is_params_saved"]), None), "a completed trial")
    assert re.search("still (STARTED|RUNNING)", refused(me, "InvalidTrainJobError", app))
    assert [m["trial_id"] for m in export(me, app, trial_id=trial["id"])["members"]] == [trial["id"]]
    me.ok("POST", f"/train_jobs/{app}/-1/stop")


def test_a_public_model_of_somebody_else_is_not_handed_out(people: People) -> None:
    model_id = people.model_developer.upload_model(access_right="PUBLIC")
    me = people.app_developer
    app = me.run_job(model_id=model_id)
    assert "belongs to another user" in refused(me, "InvalidModelError", app)
    assert export(people.admin, people.admin.run_job(model_id=model_id))["models"]


def test_apps_and_trials_of_others_are_none(people: People, finished: Finished) -> None:
    me = people.model_developer
    refused(me, "InvalidTrainJobError", finished.app)
    app = me.run_job()
    assert "is no trial of" in refused(me, "InvalidTrialError", app, trial_id=finished.trial_ids[0])
    refused(me, "InvalidTrialError", app, trial_id="unknown")
    refused(people.nobody, "UnauthorizedError", app)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"size": 0}, "InvalidRequestError"),
        ({"method": "all"}, "InvalidRequestError"),
        ({"max_examples": 17}, "InvalidRequestError"),
        ({"method": "best", "size": 2}, "InvalidInferenceJobError"),
        ({"method": "greedy"}, "InvalidInferenceJobError"),
    ],
)
def test_wrong_fields_are_refused(finished: Finished, query: dict[str, Any], error: str) -> None:
    refused(finished.owner, error, finished.app, **query)
