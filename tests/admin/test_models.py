from __future__ import annotations

import json

import pytest
from support.http.raw_http import BYTES, TASK, unique
from support.stacks.admin_people import Finished, People
from support.stacks.running_stack import MODELS

FIELDS = [
    "access_right", "datetime_created", "dependencies", "docker_image", "id", "knob_config", "knob_constraints",
    "load_error", "model_class", "model_file_sha256", "name", "task", "user_id",
]  # fmt: skip
CANNOT_IMPORT = b"import a_package_that_nobody_has\n"


def available(who: object, **query: str) -> list[str]:
    return [m["id"] for m in who.ok("GET", "/models/available", params=query)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("who", ["superadmin", "admin", "model_developer"])
def test_admins_and_model_developers_upload_models(people: People, who: str) -> None:
    me = getattr(people, who)
    name = unique("model")
    dependencies = {"scikit-learn": "1.5.0"}
    answer = me.send_model(
        MODELS / "tiny.py", "Tiny", name=name, dependencies=json.dumps(dependencies), docker_image="me/image:1"
    )
    made = answer.json()
    assert {n: made[n] for n in ("user_id", "name", "load_error")} == {
        "user_id": me.id, "name": name, "load_error": None
    }  # fmt: skip
    model = me.ok("GET", f"/models/{made['id']}")
    assert sorted(model) == FIELDS
    assert (model["model_class"], model["task"]) == ("Tiny", TASK)
    assert (model["access_right"], model["docker_image"]) == ("PRIVATE", "me/image:1")
    assert model["dependencies"] == dependencies
    assert model["knob_config"]["x"]["type"] == "float"
    assert model in me.ok("GET", "/models/available")


@pytest.mark.parametrize("who", ["app_developer", "nobody"])
def test_nobody_else_uploads_models(people: People, who: str) -> None:
    answer = getattr(people, who).send_model(MODELS / "tiny.py", "Tiny")
    assert (answer.status_code, answer.json()["error"]) == (401, "UnauthorizedError")


def test_the_file_comes_back_byte_for_byte(people: People) -> None:
    model_id = people.model_developer.upload_model()
    answer = people.model_developer.send("GET", f"/models/{model_id}/model_file")
    assert (answer.status_code, answer.headers["content-type"]) == (200, BYTES)
    assert answer.content == (MODELS / "tiny.py").read_bytes()


def test_public_models_are_available_to_all_and_private_ones_to_their_owner(people: People) -> None:
    task = unique("TASK")
    owner = people.model_developer
    private = owner.upload_model(task=task)
    public = owner.upload_model(task=task, access_right="PUBLIC")
    assert available(owner, task=task) == [private, public]
    for other in (people.superadmin, people.admin, people.app_developer):
        assert available(other, task=task) == [public]
    assert available(owner, task="another task") == []


@pytest.mark.parametrize(
    ("who", "allowed"), [("superadmin", True), ("admin", True), ("model_developer", False), ("app_developer", False)]
)
@pytest.mark.parametrize("access_right", ["PRIVATE", "PUBLIC"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/models/{}"), ("GET", "/models/{}/model_file"), ("DELETE", "/models/{}")]
)
def test_a_models_details_are_for_its_owner_and_admins(
    people: People, finished: Finished, who: str, allowed: bool, access_right: str, method: str, path: str
) -> None:
    model_id = finished.owner.upload_model(access_right=access_right)
    if allowed:
        getattr(people, who).ok(method, path.format(model_id))
    else:
        getattr(people, who).refused("InvalidModelError", method, path.format(model_id))
        assert finished.owner.ok("GET", f"/models/{model_id}")["id"] == model_id


def test_a_name_is_taken_once_by_each_user(people: People) -> None:
    name = unique("model")
    people.model_developer.upload_model(name=name)
    answer = people.model_developer.send_model(MODELS / "tiny.py", "Tiny", name=name)
    assert (answer.status_code, answer.json()["error"]) == (409, "DuplicateModelNameError")
    people.admin.upload_model(name=name)


def test_a_deleted_model_is_gone_and_its_name_is_free(people: People) -> None:
    me = people.model_developer
    name = unique("model")
    model_id = me.upload_model(name=name)
    assert me.ok("DELETE", f"/models/{model_id}") == {"id": model_id, "user_id": me.id, "name": name}
    me.refused("InvalidModelError", "GET", f"/models/{model_id}")
    me.refused("InvalidModelError", "DELETE", f"/models/{model_id}")
    assert model_id not in available(me)
    me.upload_model(name=name)


def test_a_model_that_a_job_refers_to_is_not_deleted_even_by_an_admin(people: People, finished: Finished) -> None:
    for who in (finished.owner, people.superadmin):
        who.refused("ModelUsedError", "DELETE", f"/models/{finished.model_id}")
    assert finished.owner.ok("GET", f"/models/{finished.model_id}")["id"] == finished.model_id


def test_a_file_that_does_not_load_is_accepted_and_makes_its_job_errored_with_the_reason(people: People) -> None:
    me = people.model_developer
    made = me.send_model(CANNOT_IMPORT, "Tiny").json()
    assert "a_package_that_nobody_has" in made["load_error"]
    model = me.ok("GET", f"/models/{made['id']}")
    assert (model["load_error"], model["knob_config"]) == (made["load_error"], None)

    app = me.start_job(model_id=made["id"])
    job = me.job(app)
    assert job["status"] == "ERRORED"
    assert made["load_error"] in job["error"]
    assert job["datetime_stopped"] is not None
    assert [m["status"] for m in job["models"]] == ["ERRORED"]
    assert me.trials(app) == []
    me.refused("InvalidTrainJobError", "POST", "/inference_jobs", json={"app": app})


def test_a_broken_model_of_somebody_else_does_not_stop_a_job_that_did_not_ask_for_it(people: People) -> None:
    task = unique("TASK")
    people.model_developer.send_model(CANNOT_IMPORT, "Tiny", task=task, access_right="PUBLIC")
    good = people.model_developer.upload_model(task=task, access_right="PUBLIC")
    me = people.app_developer
    fields = me.job_fields(model_id=good, dataset_id=me.upload_dataset(task=task), task=task)
    del fields["model_ids"]
    me.ok("POST", "/train_jobs", json=fields)
    job = me.wait_for_job(fields["app"])
    assert (job["status"], [m["model_id"] for m in job["models"]]) == ("STOPPED", [good])
