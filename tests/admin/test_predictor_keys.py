from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.http.raw_http import Caller, check_refusal, unique
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack, eventually

from rafiki.client import PredictorClient
from rafiki.errors import UnauthorizedError
from rafiki.key_file import KeyReader, hash_key, write_keys


class Locked:
    """A deployment that asks for a key."""

    def __init__(self, owner: Caller, app: str, host: str) -> None:
        self.owner, self.app, self.host = owner, app, host

    def ask(self, authorization: str | None) -> httpx.Response:
        headers = {} if authorization is None else {"Authorization": authorization}
        return httpx.post(f"http://{self.host}/predict", json={"query": "q"}, headers=headers, trust_env=False)

    def make(self, **fields: Any) -> dict[str, Any]:
        body = {"name": unique("key"), **fields}
        made: dict[str, Any] = self.owner.ok("POST", f"/apps/{self.app}/keys", json=body)
        return made


@pytest.fixture(scope="module")
def locked(people: People) -> Iterator[Locked]:
    owner = people.superadmin.make_user("MODEL_DEVELOPER")
    app = owner.run_job()
    job = owner.ok("POST", "/inference_jobs", json={"app": app, "deployment": {"require_key": True}})
    yield Locked(owner, app, job["predictor_host"])
    owner.ok("POST", f"/inference_jobs/{app}/-1/stop")


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer guess", "Basic eDp5", "guess"])
def test_without_a_valid_key_no_query_is_taken(locked: Locked, authorization: str | None) -> None:
    answer = locked.ask(authorization)
    assert "rafiki key create" in check_refusal(answer, "UnauthorizedError", 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert httpx.get(f"http://{locked.host}/", trust_env=False).status_code == 200


def test_a_key_works_at_once_and_is_refused_soon_after_it_is_revoked(locked: Locked) -> None:
    one, two = locked.make(), locked.make()
    for made in (one, two):
        eventually(lambda key=made["key"]: locked.ask(f"Bearer {key}").status_code == 200, "that the key is taken")
    locked.owner.ok("DELETE", f"/apps/{locked.app}/keys/{one['id']}")
    eventually(lambda: locked.ask(f"Bearer {one['key']}").status_code == 401, "that the revoked key is refused")
    assert locked.ask(f"bearer {two['key']}").status_code == 200
    assert locked.ask(f"Bearer {locked.owner.token}").status_code == 401


def test_the_client_sends_a_key(locked: Locked) -> None:
    key = locked.make()["key"]
    with PredictorClient(locked.host, key=key) as client:
        eventually(lambda: locked.ask(f"Bearer {key}").status_code == 200, "that the key is taken")
        assert client.predict_many(["q"] * 200)
    with PredictorClient(locked.host) as client, pytest.raises(UnauthorizedError):
        client.predict("q")


def test_keys_are_listed_by_name_and_kept_as_hashes_only(locked: Locked, stack: RunningStack) -> None:
    made = locked.make(name="web site")
    [listed] = [k for k in locked.owner.ok("GET", f"/apps/{locked.app}/keys") if k["name"] == "web site"]
    assert sorted(listed) == ["app", "datetime_created", "id", "name"]
    locked.owner.refused("KeyExistsError", "POST", f"/apps/{locked.app}/keys", json={"name": "web site"})
    for pattern in ("run/*", "logs/*", "audit/*", "meta.db*"):
        for file in filter(Path.is_file, stack.root.glob(pattern)):
            assert made["key"].encode() not in file.read_bytes(), file.name


def test_keys_of_an_app_are_its_owners(locked: Locked, people: People) -> None:
    made = locked.make()
    other = people.superadmin.make_user("APP_DEVELOPER")
    other.refused("InvalidTrainJobError", "POST", f"/apps/{locked.app}/keys", json={"name": "mine"})
    assert other.ok("GET", f"/apps/{locked.app}/keys") == []
    other.refused("InvalidKeyError", "DELETE", f"/apps/{locked.app}/keys/{made['id']}")
    locked.owner.ok("DELETE", f"/apps/{locked.app}/keys/{made['id']}")
    locked.owner.refused("InvalidKeyError", "DELETE", f"/apps/{locked.app}/keys/{made['id']}")


# ---- the file between the two


def test_a_full_disk_leaves_no_revoked_key_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.json"
    write_keys(file, [hash_key(b"one"), hash_key(b"two")])
    reader = KeyReader(file)
    assert reader.has(b"one")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_keys(file, [hash_key(b"two")])
    reader.look()
    assert not reader.has(b"one")


def test_a_deleted_file_takes_no_key_away_and_a_new_one_counts(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write_keys(file, [hash_key(b"one")])
    reader = KeyReader(file)
    file.unlink()
    reader.look()
    assert reader.has(b"one")
    write_keys(file, [hash_key(b"two")])
    reader.look()
    assert (reader.has(b"one"), reader.has(b"two"), reader.has(b"")) == (False, True, False)


def test_there_is_no_key_before_the_first_file(tmp_path: Path) -> None:
    assert not KeyReader(tmp_path / "none.json").has(b"one")
