"""API tokens and passwords over raw HTTP against a real stack."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.http.raw_http import Caller, unique
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack

from rafiki.contract.all import ENDPOINTS
from rafiki.utils.clock import utc_now

DAY_S = 24 * 3600


@pytest.fixture
def me(people: People) -> Caller:
    return people.superadmin.make_user("MODEL_DEVELOPER")


def make(who: Caller, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = who.ok("POST", "/api_tokens", json={"name": unique("token"), **fields})
    return made


def with_token(made: dict[str, Any], who: Caller) -> Caller:
    return Caller(who.port, made["token"])


def database(stack: RunningStack, statement: str, *values: Any) -> list[Any]:
    connection = sqlite3.connect(stack.root / "meta.db", timeout=30)
    try:
        with connection:
            return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def test_a_token_does_what_its_user_does(me: Caller) -> None:
    made = make(me, expires_in_s=30 * DAY_S)
    assert made["token"].startswith("rfk_")
    robot = with_token(made, me)
    assert robot.ok("GET", "/users/me") == me.ok("GET", "/users/me")
    assert robot.upload_dataset() in [d["id"] for d in me.ok("GET", "/datasets")]
    robot.refused("UnauthorizedError", "GET", "/users")


def test_the_token_itself_is_shown_once_and_kept_nowhere(me: Caller, stack: RunningStack) -> None:
    made = make(me)
    [listed] = me.ok("GET", "/api_tokens")
    assert sorted(listed) == ["datetime_created", "datetime_expires", "datetime_used", "id", "is_expired", "name"]
    secret = made["token"].encode()
    files = [f for f in stack.root.rglob("*") if f.is_file()]
    assert any(made["id"].encode() in f.read_bytes() for f in files)
    assert not any(secret in f.read_bytes() or secret[4:] in f.read_bytes() for f in files)


def test_a_token_expires_when_it_was_said_to(me: Caller, stack: RunningStack) -> None:
    made = make(me, expires_in_s=3600)
    left = datetime.fromisoformat(made["datetime_expires"]) - utc_now()
    assert timedelta(minutes=55) < left <= timedelta(hours=1)
    robot = with_token(made, me)
    robot.ok("GET", "/users/me")
    past = (utc_now() - timedelta(seconds=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
    database(stack, "UPDATE api_tokens SET datetime_expires = ? WHERE id = ?", past, made["id"])
    assert "has expired" in robot.refused("UnauthorizedError", "GET", "/users/me")
    assert me.ok("GET", "/api_tokens")[0]["is_expired"] is True


def test_a_token_without_an_expiry_of_its_own_gets_the_longest_that_the_stack_allows(me: Caller) -> None:
    left = datetime.fromisoformat(make(me)["datetime_expires"]) - utc_now()
    assert timedelta(days=365) < left <= timedelta(days=366)


@pytest.mark.parametrize("expires_in_s", [0, -1, 366 * DAY_S + 1, 2**63 - 1])
def test_an_expiry_beyond_the_limit_is_refused(me: Caller, expires_in_s: int) -> None:
    body = {"name": "x", "expires_in_s": expires_in_s}
    assert "366 days" in me.refused("InvalidRequestError", "POST", "/api_tokens", json=body)
    assert me.ok("GET", "/api_tokens") == []


@pytest.mark.parametrize("name", ["", "  ", "a/b", "x" * 201, "a\nb"])
def test_a_name_that_cannot_be_shown_is_refused(me: Caller, name: str) -> None:
    me.refused("InvalidRequestError", "POST", "/api_tokens", json={"name": name})


def test_a_name_is_taken_until_its_token_is_revoked(me: Caller, people: People) -> None:
    made = make(me, name="ci")
    assert "'ci'" in me.refused("ApiTokenExistsError", "POST", "/api_tokens", json={"name": "ci"})
    make(people.model_developer, name=made["name"] + unique(""))
    me.ok("DELETE", f"/api_tokens/{made['id']}")
    assert make(me, name="ci")["token"] != made["token"]


def test_a_revoked_token_is_refused_with_the_next_call(me: Caller) -> None:
    made = make(me, name="ci")
    robot = with_token(made, me)
    robot.ok("GET", "/users/me")
    assert me.ok("DELETE", f"/api_tokens/{made['id']}")["name"] == "ci"
    assert "revoked" in robot.refused("UnauthorizedError", "GET", "/users/me")
    assert me.ok("GET", "/api_tokens") == []
    me.refused("InvalidApiTokenError", "DELETE", f"/api_tokens/{made['id']}")


def test_tokens_of_others_are_neither_seen_nor_revoked(me: Caller, people: People) -> None:
    made = make(me)
    for other in (people.superadmin, people.app_developer):
        assert made["id"] not in [t["id"] for t in other.ok("GET", "/api_tokens")]
        other.refused("InvalidApiTokenError", "DELETE", f"/api_tokens/{made['id']}")
    with_token(made, me).ok("GET", "/users/me")


def test_a_ban_ends_the_tokens_of_the_banned(me: Caller, people: People) -> None:
    robot = with_token(make(me), me)
    robot.ok("GET", "/users/me")
    people.admin.ok("DELETE", "/users", json={"email": me.email})
    assert "banned" in robot.refused("UnauthorizedError", "GET", "/users/me")


@pytest.mark.parametrize("token", ["rfk_", "rfk_" + "x" * 43, "rfk_tökén"])
def test_an_invented_token_is_refused(people: People, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".encode()}
    people.nobody.refused("UnauthorizedError", "GET", "/users/me", headers=headers)


def test_the_hash_of_a_token_is_no_token(me: Caller, stack: RunningStack) -> None:
    made = make(me)
    [[kept]] = database(stack, "SELECT secret_hash FROM api_tokens WHERE id = ?", made["id"])
    for guess in (kept, f"rfk_{kept}"):
        Caller(me.port, guess).refused("UnauthorizedError", "GET", "/users/me")


def test_the_last_use_is_noted_at_most_once_a_minute(me: Caller, stack: RunningStack) -> None:
    made = make(me)
    robot = with_token(made, me)

    def last_use() -> str | None:
        used: str | None = me.ok("GET", "/api_tokens")[0]["datetime_used"]
        return used

    assert last_use() is None
    robot.ok("GET", "/users/me")
    first = last_use()
    assert first is not None
    robot.ok("GET", "/users/me")
    assert last_use() == first
    earlier = (utc_now() - timedelta(minutes=2)).strftime("%Y-%m-%d %H:%M:%S.%f")
    database(stack, "UPDATE api_tokens SET datetime_used = ? WHERE id = ?", earlier, made["id"])
    robot.ok("GET", "/users/me")
    assert last_use() >= first


# ---- what an API token may not do


LOGIN_ONLY = {
    "add_node": ("POST", "/nodes", {}),
    "create_api_token": ("POST", "/api_tokens", {"name": "another"}),
    "create_key": ("POST", "/apps/any/keys", {"name": "another"}),
    "create_user": ("POST", "/users", {"email": "new@rafiki", "password": "a long one", "user_type": "ADMIN"}),
    "set_identity": ("POST", "/users/identity", {"email": "no@body"}),
    "set_user_type": ("POST", "/users/type", {"email": "no@body", "user_type": "ADMIN"}),
    "set_password": ("POST", "/users/password", {"password": "a new one", "old_password": "a password"}),
}


def test_what_outlives_a_token_takes_a_login() -> None:
    assert sorted(n for n, e in ENDPOINTS.items() if e.is_login_only) == sorted(LOGIN_ONLY)


@pytest.mark.parametrize("name", LOGIN_ONLY)
def test_a_token_makes_no_tokens_users_or_passwords(people: People, name: str) -> None:
    admin = people.superadmin.make_user("ADMIN")
    robot = with_token(make(admin), admin)
    method, path, body = LOGIN_ONLY[name]
    assert "API token" in robot.refused("UnauthorizedError", method, path, json=body)
    assert len(admin.ok("GET", "/api_tokens")) == 1
    assert admin.login(admin.email, "a password")
    assert "new@rafiki" not in [u["email"] for u in admin.ok("GET", "/users")]


def test_a_leaked_token_can_revoke_itself(me: Caller) -> None:
    made = make(me)
    robot = with_token(made, me)
    robot.ok("DELETE", f"/api_tokens/{made['id']}")
    robot.refused("UnauthorizedError", "GET", "/users/me")


# ---- passwords


def set_password(who: Caller, **fields: str) -> Any:
    return who.ok("POST", "/users/password", json=fields)


def test_a_new_password_ends_logins_but_not_tokens(me: Caller) -> None:
    robot = with_token(make(me), me)
    second = me.login(me.email, "a password")
    assert set_password(me, password="a new one", old_password="a password")["email"] == me.email
    for old in (me, second):
        assert "password has changed" in old.refused("UnauthorizedError", "GET", "/users/me")
    robot.ok("GET", "/users/me")
    nobody = Caller(me.port)
    login = {"email": me.email, "password": "a password"}
    nobody.refused("InvalidPasswordError", "POST", "/tokens", json=login)
    assert nobody.login(me.email, "a new one").ok("GET", "/users/me")["email"] == me.email


def test_ones_own_password_takes_the_old_one(me: Caller) -> None:
    body = {"password": "a new one"}
    me.refused("InvalidRequestError", "POST", "/users/password", json=body)
    me.refused("InvalidRequestError", "POST", "/users/password", json={**body, "email": me.email.upper()})
    me.refused("InvalidPasswordError", "POST", "/users/password", json={**body, "old_password": "guess"})
    me.refused("InvalidRequestError", "POST", "/users/password", json={"password": "", "old_password": "a password"})
    assert me.login(me.email, "a password")


@pytest.mark.parametrize(
    ("who", "kind", "is_allowed"),
    [
        ("superadmin", "ADMIN", True),
        ("superadmin", "APP_DEVELOPER", True),
        ("admin", "MODEL_DEVELOPER", True),
        ("admin", "ADMIN", False),
        ("model_developer", "APP_DEVELOPER", False),
        ("app_developer", "APP_DEVELOPER", False),
    ],
)
def test_admins_reset_passwords_of_users_and_only_the_superadmin_those_of_admins(
    people: People, who: str, kind: str, is_allowed: bool
) -> None:
    caller: Caller = getattr(people, who)
    user = people.superadmin.make_user(kind)
    body = {"email": user.email, "password": "reset by an admin"}
    if is_allowed:
        caller.ok("POST", "/users/password", json=body)
        user.refused("UnauthorizedError", "GET", "/users/me")
        assert caller.login(user.email, "reset by an admin")
    else:
        caller.refused("UnauthorizedError", "POST", "/users/password", json=body)
        assert user.login(user.email, "a password")


def test_nobody_but_the_superadmin_resets_the_superadmin(people: People) -> None:
    body = {"email": "superadmin@rafiki", "password": "mine now"}
    people.admin.refused("UnauthorizedError", "POST", "/users/password", json=body)
    people.superadmin.refused("InvalidRequestError", "POST", "/users/password", json=body)


def test_whether_a_user_exists_is_told_to_admins_only(people: People) -> None:
    body = {"email": "no@body", "password": "a long one"}
    people.admin.refused("InvalidUserError", "POST", "/users/password", json=body)
    people.app_developer.refused("UnauthorizedError", "POST", "/users/password", json=body)
