from __future__ import annotations

import base64
import json
from datetime import timedelta

import jwt
import pytest
from support.http.raw_http import Caller, unique
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack

from rafiki.utils.clock import utc_now

KINDS = ["SUPERADMIN", "ADMIN", "MODEL_DEVELOPER", "APP_DEVELOPER"]


def new_user(user_type: str = "APP_DEVELOPER") -> dict[str, str]:
    return {"email": f"{unique('someone')}@rafiki", "password": "an old secret", "user_type": user_type}


def test_a_login_answers_with_the_user_and_a_token(people: People) -> None:
    user = new_user()
    made = people.superadmin.ok("POST", "/users", json=user)
    answer = people.nobody.ok("POST", "/tokens", json={"email": user["email"], "password": "an old secret"})
    assert sorted(answer) == ["token", "user_id", "user_type"]
    assert (answer["user_id"], answer["user_type"]) == (made["id"], "APP_DEVELOPER")
    me = Caller(people.nobody.port, answer["token"]).ok("GET", "/users/me")
    assert me == {"id": made["id"], "email": user["email"], "user_type": "APP_DEVELOPER", "banned_date": None}


@pytest.mark.parametrize("email", ["superadmin@rafiki", "nobody-at-all@rafiki"])
def test_a_wrong_password_and_an_unknown_email_are_refused_alike(people: People, email: str) -> None:
    message = people.nobody.refused(
        "InvalidPasswordError", "POST", "/tokens", json={"email": email, "password": "guess"}
    )
    assert message == "The email or the password is wrong."


@pytest.mark.parametrize(
    ("maker", "kind", "allowed"),
    [
        *(("superadmin", kind, kind != "SUPERADMIN") for kind in KINDS),
        *(("admin", kind, kind in ("MODEL_DEVELOPER", "APP_DEVELOPER")) for kind in KINDS),
        *(("model_developer", kind, False) for kind in KINDS),
        *(("app_developer", kind, False) for kind in KINDS),
    ],
)
def test_only_the_superadmin_makes_admins_and_only_admins_make_users(
    people: People, maker: str, kind: str, allowed: bool
) -> None:
    user = new_user(kind)
    if not allowed:
        getattr(people, maker).refused("UnauthorizedError", "POST", "/users", json=user)
        assert user["email"] not in [u["email"] for u in people.superadmin.ok("GET", "/users")]
        return
    made = getattr(people, maker).ok("POST", "/users", json=user)
    assert (made["email"], made["user_type"]) == (user["email"], kind)
    listed = {u["id"]: u for u in people.admin.ok("GET", "/users")}
    assert listed[made["id"]] == {**made, "banned_date": None}
    assert sorted(made) == ["banned_date", "email", "id", "user_type"]


def test_an_email_is_taken_once(people: People) -> None:
    user = new_user()
    people.superadmin.ok("POST", "/users", json=user)
    people.superadmin.refused("UserExistsError", "POST", "/users", json=user)


@pytest.mark.parametrize("email", ["x@rafiki", "first.last+tag@sub.example.org", "用户@例子.公司"])
def test_emails_need_no_top_level_domain_and_no_ascii(people: People, email: str) -> None:
    name, _, host = email.partition("@")
    email = f"{name}{unique('')}@{host}"
    assert people.admin.ok("POST", "/users", json={**new_user(), "email": email})["email"] == email


@pytest.mark.parametrize(
    ("banner", "kind", "allowed"),
    [
        ("superadmin", "ADMIN", True),
        ("superadmin", "APP_DEVELOPER", True),
        ("admin", "MODEL_DEVELOPER", True),
        ("admin", "ADMIN", False),
        ("model_developer", "APP_DEVELOPER", False),
        ("app_developer", "APP_DEVELOPER", False),
    ],
)
def test_admins_ban_users_and_only_the_superadmin_bans_admins(
    people: People, banner: str, kind: str, allowed: bool
) -> None:
    victim = people.superadmin.make_user(kind)
    if not allowed:
        getattr(people, banner).refused("UnauthorizedError", "DELETE", "/users", json={"email": victim.email})
        assert victim.ok("GET", "/users/me")["banned_date"] is None
        return
    banned = getattr(people, banner).ok("DELETE", "/users", json={"email": victim.email})
    assert (banned["id"], banned["user_type"]) == (victim.id, kind)
    assert banned["banned_date"] is not None


def test_a_banned_user_is_out_with_the_next_call_and_for_good(people: People) -> None:
    victim = people.superadmin.make_user("APP_DEVELOPER")
    people.admin.ok("DELETE", "/users", params={"email": victim.email})
    assert "banned" in victim.refused("UnauthorizedError", "GET", "/users/me")
    login = {"email": victim.email, "password": "a password"}
    assert "banned" in people.nobody.refused("UnauthorizedError", "POST", "/tokens", json=login)
    people.superadmin.refused("UserAlreadyBannedError", "DELETE", "/users", json={"email": victim.email})
    again = {**login, "user_type": "APP_DEVELOPER"}
    people.superadmin.refused("UserExistsError", "POST", "/users", json=again)


@pytest.mark.parametrize("who", ["superadmin", "admin"])
def test_nobody_bans_themselves(people: People, who: str) -> None:
    me: Caller = getattr(people, who)
    assert "yourself" in me.refused("UnauthorizedError", "DELETE", "/users", json={"email": me.email})
    assert me.ok("GET", "/users/me")["banned_date"] is None


def test_an_unknown_user_cannot_be_banned(people: People) -> None:
    people.admin.refused("InvalidUserError", "DELETE", "/users", json={"email": "no@body"})


def test_no_answer_holds_a_password_or_its_hash(people: People) -> None:
    text = people.superadmin.send("GET", "/users").text
    assert "password" not in text
    assert "argon2" not in text


# ---- tokens


def test_an_expired_token_is_refused_and_says_so(people: People, stack: RunningStack) -> None:
    key = json.loads((stack.root / "secrets.json").read_text())["token_key"]

    def token(hours: float) -> str:
        claims = {"sub": people.admin.id, "exp": utc_now() + timedelta(hours=hours)}
        return jwt.encode(claims, key, algorithm="HS256")

    assert Caller(stack.port, token(1)).ok("GET", "/users/me")["id"] == people.admin.id
    assert "expired" in Caller(stack.port, token(-1)).refused("UnauthorizedError", "GET", "/users/me")


def unsigned(user_id: str) -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({'sub': user_id, 'exp': 9999999999})}."


@pytest.mark.parametrize("what", ["signed with another key", "unsigned", "cut off", "garbage", "not ascii"])
def test_a_forged_or_damaged_token_is_refused(people: People, what: str) -> None:
    me = people.superadmin
    assert me.token
    tokens = {
        "signed with another key": jwt.encode({"sub": me.id, "exp": 9999999999}, "k" * 43, algorithm="HS256"),
        "unsigned": unsigned(me.id),
        "cut off": me.token[:-4],
        "garbage": "garbage",
        "not ascii": "tökén",
    }
    headers = {"Authorization": f"Bearer {tokens[what]}".encode()}
    people.nobody.refused("UnauthorizedError", "GET", "/users", headers=headers)


@pytest.mark.parametrize("scheme", ["Basic {}", "{}", "Bearer"])
def test_a_token_travels_as_bearer_only(people: People, scheme: str) -> None:
    headers = {"Authorization": scheme.format(people.superadmin.token)}
    people.nobody.refused("UnauthorizedError", "GET", "/users/me", headers=headers)


def test_a_token_of_a_user_of_another_stack_is_refused(people: People, stack: RunningStack) -> None:
    key = json.loads((stack.root / "secrets.json").read_text())["token_key"]
    token = jwt.encode({"sub": "no such user", "exp": 9999999999}, key, algorithm="HS256")
    Caller(stack.port, token).refused("UnauthorizedError", "GET", "/users/me")
