from __future__ import annotations

import hashlib

import pytest
from support.http.raw_http import Caller, unique
from support.stacks.admin_people import Finished, People
from support.stacks.running_stack import RunningStack, eventually

FIELDS = [
    "advisor", "app", "app_version", "budget", "datetime_started", "datetime_stop_requested",
    "datetime_stopped", "error", "id", "labels",
    "models", "outcome", "status", "task", "train_args", "train_dataset_id", "user_id", "val_dataset_id",
]  # fmt: skip


def test_a_job_says_what_was_asked_for_and_how_it_went(finished: Finished) -> None:
    job = finished.owner.job(finished.app)
    assert sorted(job) == FIELDS
    assert (job["app"], job["app_version"], job["task"]) == (finished.app, 1, "CUSTOM")
    assert (job["status"], job["error"]) == ("STOPPED", None)
    assert job["train_dataset_id"] == job["val_dataset_id"] == finished.dataset_id
    assert job["budget"] == {"TIME_HOURS": 0.1, "GPU_COUNT": 0, "MODEL_TRIAL_COUNT": 3, "CPU_WORKER_COUNT": 1}
    assert (job["train_args"], job["user_id"]) == ({}, finished.owner.id)
    assert [(m["model_id"], m["status"]) for m in job["models"]] == [(finished.model_id, "STOPPED")]
    assert job["datetime_started"] < job["datetime_stopped"]
    assert job["datetime_started"].endswith("Z")


def test_starting_a_job_answers_with_its_id_app_and_version(people: People) -> None:
    me = people.app_developer
    model_id = people.model_developer.upload_model(access_right="PUBLIC")
    fields = me.job_fields(model_id=model_id)
    made = me.ok("POST", "/train_jobs", json=fields)
    assert made == {"id": me.job(fields["app"])["id"], "app": fields["app"], "app_version": 1, "notes": []}
    assert me.wait_for_job(fields["app"])["status"] == "STOPPED"


def test_versions_count_up_for_each_user_and_app_and_minus_one_is_the_latest(people: People) -> None:
    me, other = people.model_developer, people.admin
    model_id, dataset_id = me.upload_model(access_right="PUBLIC"), me.upload_dataset()
    app = me.run_job(model_id=model_id, dataset_id=dataset_id)
    for version in (2, 3):
        fields = me.job_fields(model_id=model_id, dataset_id=dataset_id, app=app)
        assert me.ok("POST", "/train_jobs", json=fields)["app_version"] == version
        me.wait_for_job(app)
    assert other.ok("POST", "/train_jobs", json=other.job_fields(model_id=model_id, app=app))["app_version"] == 1

    assert me.job(app)["app_version"] == 3
    assert me.job(app, 2)["app_version"] == 2
    assert [j["app_version"] for j in me.ok("GET", f"/train_jobs/{app}")] == [3, 2, 1]
    assert [j["app_version"] for j in other.ok("GET", f"/train_jobs/{app}")] == [1]
    assert me.ok("GET", f"/train_jobs/{app}/1/trials") != me.ok("GET", f"/train_jobs/{app}/-1/trials")
    me.refused("InvalidTrainJobError", "GET", f"/train_jobs/{app}/4")
    other.wait_for_job(app)


def test_an_app_has_one_live_train_job_at_a_time(people: People) -> None:
    me = people.model_developer
    fields = me.job_fields(train_args={"sleep_s": 60})
    app = fields["app"]
    me.ok("POST", "/train_jobs", json=fields)
    message = me.refused("InvalidTrainJobError", "POST", "/train_jobs", json=fields)
    assert app in message
    another = me.start_job(model_id=fields["model_ids"][0], dataset_id=fields["train_dataset_id"])
    me.ok("POST", f"/train_jobs/{app}/-1/stop")
    assert me.ok("POST", "/train_jobs", json={**fields, "train_args": {}})["app_version"] == 2
    assert {me.wait_for_job(a)["status"] for a in (app, another)} == {"STOPPED"}


def test_stopping_ends_the_job_closes_its_trial_and_may_be_repeated(people: People) -> None:
    me = people.model_developer
    app = me.start_job(train_args={"sleep_s": 60}, budget={"MODEL_TRIAL_COUNT": 5})
    eventually(lambda: me.trials(app), "the first trial")
    stopped = me.ok("POST", f"/train_jobs/{app}/-1/stop")
    job = me.job(app)
    assert stopped == {"id": job["id"], "app": app, "app_version": 1, "notes": []}
    assert (job["status"], job["error"]) == ("STOPPED", None)
    [trial] = me.trials(app)
    assert trial["status"] == "ERRORED"
    assert "stopped" in trial["error"]
    assert me.ok("POST", f"/train_jobs/{app}/1/stop") == stopped
    assert me.job(app) == job


def test_a_job_whose_time_is_over_keeps_what_was_finished(people: People) -> None:
    me = people.model_developer
    app = me.start_job(train_args={"sleep_s": 0.3}, budget={"TIME_HOURS": 6.0 / 3600})
    job = me.wait_for_job(app)
    assert (job["status"], job["error"]) == ("STOPPED", None)
    trials = me.trials(app)
    assert {t["status"] for t in trials} <= {"COMPLETED", "ERRORED"}
    assert all("TIME_HOURS" in t["error"] for t in trials if t["status"] == "ERRORED")
    assert "COMPLETED" in {t["status"] for t in trials}


@pytest.mark.parametrize("who", ["superadmin", "admin", "model_developer", "app_developer"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/train_jobs/{}/1"), ("POST", "/train_jobs/{}/1/stop"), ("GET", "/train_jobs/{}/-1/trials")],
)
def test_an_app_belongs_to_its_user_alone(people: People, finished: Finished, who: str, method: str, path: str) -> None:
    other = getattr(people, who)
    other.refused("InvalidTrainJobError", method, path.format(finished.app))
    assert other.ok("GET", f"/train_jobs/{finished.app}") == []


def test_admins_see_the_jobs_of_any_user_and_users_their_own(people: People, finished: Finished) -> None:
    def apps(who: Caller, **query: str) -> list[str]:
        return [j["app"] for j in who.ok("GET", "/train_jobs", params=query)]

    for who in (people.superadmin, people.admin, finished.owner):
        assert finished.app in apps(who, user_id=finished.owner.id)
    assert finished.app in apps(finished.owner)
    assert finished.app not in apps(people.superadmin)
    people.app_developer.refused("InvalidTrainJobError", "GET", "/train_jobs", params={"user_id": finished.owner.id})


@pytest.mark.parametrize(
    ("who", "access_right", "allowed"),
    [
        ("app_developer", "PUBLIC", True),
        ("app_developer", "PRIVATE", False),
        ("model_developer", "PRIVATE", False),
        ("admin", "PRIVATE", True),
    ],
)
def test_other_users_train_public_models_only(people: People, who: str, access_right: str, allowed: bool) -> None:
    owner = people.superadmin.make_user("MODEL_DEVELOPER")
    model_id = owner.upload_model(access_right=access_right)
    me = getattr(people, who)
    fields = me.job_fields(model_id=model_id)
    if allowed:
        me.ok("POST", "/train_jobs", json=fields)
        assert me.wait_for_job(fields["app"])["status"] == "STOPPED"
    else:
        me.refused("InvalidModelError", "POST", "/train_jobs", json=fields)
        assert me.ok("GET", f"/train_jobs/{fields['app']}") == []


def test_without_named_models_all_available_ones_of_the_task_are_trained(people: People) -> None:
    me, task = people.superadmin.make_user("MODEL_DEVELOPER"), unique("TASK")
    public = people.model_developer.upload_model(task=task, access_right="PUBLIC")
    people.model_developer.upload_model(task=task)
    mine = me.upload_model(task=task)
    fields = me.job_fields(model_id=mine, dataset_id=me.upload_dataset(task=task), task=task)
    del fields["model_ids"]
    me.ok("POST", "/train_jobs", json=fields)
    job = me.wait_for_job(fields["app"])
    assert {m["model_id"] for m in job["models"]} == {public, mine}
    assert len(me.trials(fields["app"])) == 2


def test_a_task_without_any_model_is_refused(people: People) -> None:
    me, task = people.app_developer, unique("TASK")
    dataset_id = me.upload_dataset(task=task)
    fields = {"app": unique("app"), "task": task, "train_dataset_id": dataset_id, "val_dataset_id": dataset_id}
    me.refused("NoModelsForTrainJobError", "POST", "/train_jobs", json=fields)
    me.refused("NoModelsForTrainJobError", "POST", "/train_jobs", json={**fields, "model_ids": []})


def test_train_args_reach_the_model_as_they_were_sent(people: People) -> None:
    me = people.model_developer
    sent = {"sleep_s": 0, "text": "ü", "nested": {"list": [1, 2.5, None, True]}, "big": 2**63}
    app = me.run_job(train_args=sent)
    assert me.job(app)["train_args"] == sent
    [trial] = me.trials(app)
    assert trial["status"] == "COMPLETED"


def test_a_dataset_that_is_damaged_under_a_job_ends_it_with_the_reason_and_spends_no_trials(
    stack: RunningStack, people: People
) -> None:
    me = people.model_developer
    data = unique("contents").encode()
    dataset_id = me.upload_dataset(data=data)
    [file] = (stack.root / "datasets").glob(f"*.{hashlib.sha256(data).hexdigest()}")
    app = me.start_job(dataset_id=dataset_id, budget={"MODEL_TRIAL_COUNT": 1000})
    eventually(lambda: me.trials(app, type="best"), "a finished trial")
    file.write_bytes(b"damaged")
    job = me.wait_for_job(app)
    name = me.ok("GET", f"/datasets/{dataset_id}")["name"]
    assert job["status"] == "ERRORED"
    assert f"The file of the dataset '{name}' is damaged" in job["error"]
    others = [t for t in me.trials(app) if t["status"] != "COMPLETED"]
    # At most the one that ran.
    assert len(others) <= 1
    # Before the first one, too.
    again = me.wait_for_job(me.start_job(dataset_id=dataset_id, budget={"MODEL_TRIAL_COUNT": 40}))
    assert f"The file of the dataset '{name}' is damaged" in again["error"]
    assert all(t["status"] != "COMPLETED" for t in me.trials(again["app"]))
    assert len(me.trials(again["app"])) <= 1
