from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.http.raw_http import BYTES, TASK, Caller, unique
from support.stacks.admin_people import Finished, People
from support.stacks.running_stack import MODELS

FIELDS = [
    "access_right", "datetime_checked", "datetime_created", "dependencies", "docker_image", "id", "image_digest",
    "knob_config", "knob_constraints", "load_error", "load_failure", "model_class", "model_file_sha256",
    "name", "task", "user_id", "version",
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
    assert made["notes"] == [
        "docker_image me/image:1: it is not used: workers are processes beside the admin, in its own Python"
    ]
    model = me.ok("GET", f"/models/{made['id']}")
    assert sorted(model) == FIELDS
    assert (model["model_class"], model["task"]) == ("Tiny", TASK)
    assert (model["access_right"], model["docker_image"]) == ("PRIVATE", "me/image:1")
    assert model["image_digest"] is None
    assert model["dependencies"] == dependencies
    assert model["knob_config"]["x"]["type"] == "float"
    assert model in me.ok("GET", "/models/available")


@pytest.mark.parametrize("who", ["app_developer", "nobody"])
def test_nobody_else_uploads_models(people: People, who: str) -> None:
    answer = getattr(people, who).send_model(MODELS / "tiny.py", "Tiny")
    assert (answer.status_code, answer.json()["error"]) == (401 if who == "nobody" else 403, "UnauthorizedError")


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
    ("method", "path"), [("GET", "/models/{}"), ("GET", "/models/{}/model_file"), ("POST", "/models/{}/check"),
                       ("DELETE", "/models/{}")]
)  # fmt: skip
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
    assert me.ok("DELETE", f"/models/{model_id}") == {
        "id": model_id, "user_id": me.id, "name": name, "version": 1
    }  # fmt: skip
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


TINY = (MODELS / "tiny.py").read_bytes()


def version(who: Caller, name: str, source: bytes = TINY, **fields: str) -> dict[str, Any]:
    answer = who.send_model(source, "Tiny", name=name, existing_name="version", **fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_what_differs_becomes_the_next_version_and_what_does_not_is_there_already(people: People) -> None:
    me, name = people.model_developer, unique("wine")
    first = version(me, name)
    assert (first["version"], first["is_new"]) == (1, True)
    assert version(me, name) == {**first, "is_new": False}
    changes: list[tuple[bytes, dict[str, str]]] = [
        (TINY + b"# changed\n", {}), (TINY, {}), (TINY, {"dependencies": '{"numpy": ">=1"}'}),
        (TINY, {"access_right": "PUBLIC"}), (TINY, {"docker_image": "a/b:1"}), (TINY, {"task": unique("TASK")}),
    ]  # fmt: skip
    made = [version(me, name, source, **fields) for source, fields in changes]
    assert [(m["version"], m["is_new"]) for m in made] == [(n, True) for n in range(2, 8)]
    assert len({m["id"] for m in made} | {first["id"]}) == 7
    files = [me.ok("GET", f"/models/{m['id']}/model_file") for m in (first, made[0])]
    assert files == [TINY, TINY + b"# changed\n"]


def test_the_newest_version_of_each_model_is_listed_unless_all_are_asked_for(people: People) -> None:
    me, name, task = people.model_developer, unique("wine"), unique("TASK")
    public = version(me, name, task=task, access_right="PUBLIC")
    private = version(me, name, task=task)
    assert available(me, task=task) == [private["id"]]
    assert available(me, task=task, all_versions="true") == [public["id"], private["id"]]
    # Of what others may use it is the newest.
    assert available(people.app_developer, task=task) == [public["id"]]
    dataset = me.upload_dataset(task=task)
    fields = me.job_fields(model_id=private["id"], dataset_id=dataset, task=task)
    del fields["model_ids"]
    me.ok("POST", "/train_jobs", json=fields)
    job = me.wait_for_job(fields["app"])
    assert [(m["model_id"], m["model_name"], m["model_version"]) for m in job["models"]] == [(private["id"], name, 2)]
    assert [(t["model_name"], t["model_version"]) for t in me.trials(fields["app"])] == [(name, 2)]
    # A later version changes nothing for the job, and it alone can be deleted.
    later = version(me, name, TINY + b"# later\n", task=task)
    assert me.job(fields["app"])["models"] == job["models"]
    me.refused("ModelUsedError", "DELETE", f"/models/{private['id']}")
    assert me.ok("DELETE", f"/models/{later['id']}")["version"] == 3


@pytest.mark.parametrize("are_alike", [True, False])
def test_uploads_of_one_name_at_the_same_moment_are_one_version_or_several(people: People, are_alike: bool) -> None:
    me, name = people.model_developer, unique("wine")
    sources = [TINY if are_alike else TINY + f"# {n}\n".encode() for n in range(6)]
    with ThreadPoolExecutor(len(sources)) as pool:
        made = list(pool.map(lambda source: version(me, name, source), sources))
    new = [m for m in made if m["is_new"]]
    assert sorted(m["version"] for m in new) == list(range(1, len(new) + 1))
    assert len(new) == (1 if are_alike else len(sources))
    rows = [m for m in me.ok("GET", "/models/available", params={"all_versions": "true"}) if m["name"] == name]
    assert {m["id"] for m in rows} == {m["id"] for m in made}


def test_a_new_name_holds_no_sign_of_a_version(people: People) -> None:
    for name in ("wine@3", "@", "a@b"):
        answer = people.model_developer.send_model(TINY, "Tiny", name=name)
        assert (answer.status_code, answer.json()["error"]) == (400, "InvalidRequestError")
        assert "@" in answer.json()["message"]


def test_a_broken_model_that_is_sent_again_as_it_is_is_checked_again(people: People, tmp_path: Path) -> None:
    me, name, gate = people.model_developer, unique("wine"), tmp_path / "package_is_there"
    source = f"import os\nassert os.path.exists({str(gate)!r})\n".encode() + TINY
    first = version(me, name, source)
    assert first["load_error"]
    gate.touch()
    assert version(me, name, source) == {**first, "is_new": False, "load_error": None}
    model = me.ok("GET", f"/models/{first['id']}")
    assert (model["load_failure"], model["datetime_checked"] is None) == (None, False)
    assert sorted(model["knob_config"]) == ["size", "x"]
    gate.unlink()
    checked = me.ok("POST", f"/models/{first['id']}/check")
    assert (checked["load_failure"], checked["knob_config"]) == ("file", None)
    assert "AssertionError" in checked["load_error"]
