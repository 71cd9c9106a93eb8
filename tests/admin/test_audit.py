from __future__ import annotations

import json
from typing import Any

import pytest
from support.http.raw_http import Caller, unique
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack


def audit(people: People, **filters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = people.admin.ok("GET", "/audit", params={"count": 10_000, **filters})
    return found


def test_what_users_do_is_told_with_who_where_and_on_what(people: People) -> None:
    email = f"{unique('new')}@rafiki"
    user = {"email": email, "password": "battery staple", "user_type": "APP_DEVELOPER"}
    made = people.admin.ok("POST", "/users", json=user)
    people.admin.ok("DELETE", "/users", json={"email": email})
    created, banned = [e for e in audit(people, user=people.admin.email) if e["subject"].get("email") == email]
    assert (created["action"], banned["action"]) == ("user.create", "user.ban")
    assert created["subject"] == {"email": email, "user_type": "APP_DEVELOPER", "id": made["id"]}
    for entry in (created, banned):
        assert (entry["user_id"], entry["address"], entry["result"]) == (people.admin.id, "127.0.0.1", "ok")
    assert created["time"] < banned["time"]


def test_logins_and_failed_ones_are_told_without_the_password(people: People, stack: RunningStack) -> None:
    me = people.superadmin.make_user("APP_DEVELOPER")
    guess = {"email": me.email, "password": "a-guess-that-is-wrong"}
    people.nobody.refused("InvalidPasswordError", "POST", "/tokens", json=guess)
    good, bad = audit(people, user=me.email, action="login")
    assert (good["result"], good["user_id"]) == ("ok", me.id)
    assert (bad["result"], bad["user_id"]) == ("InvalidPasswordError", None)
    text = "".join(f.read_text() for f in (stack.root / "audit").iterdir())
    assert me.token
    for secret in (guess["password"], me.token, "a password", "argon2"):
        assert secret not in text


def test_refused_calls_name_who_tried(people: People) -> None:
    app = unique("app")
    me = people.superadmin.make_user("APP_DEVELOPER")
    me.refused("UnauthorizedError", "DELETE", "/users", json={"email": "superadmin@rafiki"})
    me.refused("InvalidTrainJobError", "POST", f"/train_jobs/{app}/3/stop")
    Caller(people.nobody.port, "forged").refused("UnauthorizedError", "POST", f"/train_jobs/{app}/4/stop")
    ban, stop = audit(people, user=me.email)[1:]
    assert (ban["action"], ban["result"]) == ("user.ban", "UnauthorizedError")
    assert (stop["action"], stop["result"]) == ("train.stop", "InvalidTrainJobError")
    assert stop["subject"] == {"app": app, "app_version": "3"}
    [forged] = [e for e in audit(people, action="train.stop") if e["subject"] == {"app": app, "app_version": "4"}]
    assert (forged["user"], forged["result"]) == (None, "UnauthorizedError")


def test_jobs_models_datasets_and_tokens_are_told(people: People) -> None:
    me = people.superadmin.make_user("MODEL_DEVELOPER")
    token = me.ok("POST", "/api_tokens", json={"name": "ci"})
    app = me.run_job()
    me.ok("DELETE", f"/api_tokens/{token['id']}")
    told = {e["action"]: e for e in audit(people, user=me.email)}
    assert list(told) == ["login", "token.create", "dataset.create", "model.create", "train.create", "token.revoke"]
    assert told["train.create"]["subject"]["app"] == app
    assert told["token.revoke"]["subject"]["name"] == "ci"
    assert token["token"] not in json.dumps(told)


@pytest.mark.parametrize("who", ["model_developer", "app_developer", "nobody"])
def test_only_admins_read_it(people: People, who: str) -> None:
    getattr(people, who).refused("UnauthorizedError", "GET", "/audit")


def test_since_takes_a_time_with_its_zone(people: People) -> None:
    last = audit(people)[-1]["time"]
    assert last in [e["time"] for e in audit(people, since=last)]
    assert "time zone" in people.admin.refused("InvalidRequestError", "GET", "/audit", params={"since": last[:19]})
