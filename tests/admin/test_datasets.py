from __future__ import annotations

import hashlib

import pytest
from support.http.raw_http import TASK, unique
from support.stacks.admin_people import People

FIELDS = ["datetime_created", "id", "name", "sha256", "size_bytes", "task"]


def form(**fields: str) -> dict[str, object]:
    return {"data": {"name": unique("data"), "task": TASK, **fields}, "files": {"dataset": ("d.bin", b"some bytes")}}


@pytest.mark.parametrize("who", ["superadmin", "admin", "model_developer", "app_developer"])
def test_every_user_uploads_datasets_and_finds_them(people: People, who: str) -> None:
    me = getattr(people, who)
    made = me.ok("POST", "/datasets", **form())
    assert made.pop("warnings") == []
    assert sorted(made) == FIELDS
    assert (made["size_bytes"], made["task"]) == (10, TASK)
    assert made["sha256"] == hashlib.sha256(b"some bytes").hexdigest()
    assert made in me.ok("GET", "/datasets")
    assert me.ok("GET", f"/datasets/{made['id']}") == made


def test_without_a_token_there_are_no_datasets(people: People) -> None:
    people.nobody.refused("UnauthorizedError", "POST", "/datasets", **form())
    people.nobody.refused("UnauthorizedError", "GET", "/datasets")


def test_datasets_are_listed_newest_first_and_by_task(people: People) -> None:
    me = people.superadmin.make_user("APP_DEVELOPER")
    ids = [me.upload_dataset(task=task) for task in ("T1", "T2", "T1")]
    assert [d["id"] for d in me.ok("GET", "/datasets")] == ids[::-1]
    assert [d["id"] for d in me.ok("GET", "/datasets", params={"task": "T1"})] == [ids[2], ids[0]]
    assert me.ok("GET", "/datasets", params={"task": "T3"}) == []


@pytest.mark.parametrize("who", ["superadmin", "admin", "app_developer"])
def test_a_dataset_is_out_of_reach_for_everybody_else(people: People, who: str) -> None:
    dataset_id = people.model_developer.upload_dataset()
    other = getattr(people, who)
    other.refused("InvalidDatasetError", "GET", f"/datasets/{dataset_id}")
    assert dataset_id not in [d["id"] for d in other.ok("GET", "/datasets")]
    other.refused("InvalidDatasetError", "POST", "/train_jobs", json=other_job(dataset_id))


def other_job(dataset_id: str) -> dict[str, object]:
    return {"app": unique("app"), "task": TASK, "train_dataset_id": dataset_id, "val_dataset_id": dataset_id}


def test_the_same_name_may_be_used_again(people: People) -> None:
    fields = form(name="twice the same")
    ids = {people.app_developer.ok("POST", "/datasets", **fields)["id"] for _ in range(2)}
    assert len(ids) == 2


def test_fields_may_travel_in_the_query_string(people: People) -> None:
    name = unique("data")
    made = people.admin.ok("POST", "/datasets", params={"name": name, "task": TASK}, files={"dataset": ("d.bin", b"x")})
    assert made["name"] == name
