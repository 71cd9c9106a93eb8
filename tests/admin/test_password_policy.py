from __future__ import annotations

import pytest
from support.http.raw_http import unique
from support.stacks.admin_people import People

from rafiki.admin.password_policy import check_password
from rafiki.errors import InvalidRequestError
from rafiki.settings import UsersConfig

EMAIL = "ada.lovelace@example.org"


@pytest.mark.parametrize(
    "password",
    [
        "password", "Password", "PASSWORD1", "password123!", "p@ssw0rd", "P4$$word", "12345678", "123456789",
        "87654321",
        "11111111", "aaaaaaaaaaaa", "abababab", "12312312", "qwertyuiop", "qwertz123", "asdfghjkl", "1234qwer",
        "qwer1234", "abcdefgh", "iloveyou", "letmein1", "changeme", "welcome2026", "superadmin", "admin1234",
        "rafiki123",
        "sunshine!", "passwordpassword", "ada.lovelace", "Ada.Lovelace1", "lovelace1", "ada.lovelace@example.org",
        "  password  ", "trustno1", "monkey12", "!!password!!",
    ],
)  # fmt: skip
def test_what_is_guessed_first_is_refused(password: str) -> None:
    with pytest.raises(InvalidRequestError, match="guessed first"):
        check_password(password, EMAIL, UsersConfig())
    check_password(password, EMAIL, UsersConfig(refuse_common_passwords=False))


@pytest.mark.parametrize(
    "password",
    [
        "a password", "correct horse battery", "mine now", "battery staple", "tQ8#v!x2", "ada likes engines",
        "gr8-passing-storm", "an old secret", "пароль длинный", "用户的密码很长很长", "8f3k2m9d", "password of mine",
    ],
)  # fmt: skip
def test_other_passwords_are_taken(password: str) -> None:
    check_password(password, EMAIL, UsersConfig())


def test_the_shortest_one_is_a_setting() -> None:
    with pytest.raises(InvalidRequestError, match=r"7 character.*8 at least \(users.min_password_length\)"):
        check_password("x7-yk2!", EMAIL, UsersConfig())
    check_password("x7-yk2!", EMAIL, UsersConfig(min_password_length=7))
    with pytest.raises(InvalidRequestError, match="empty"):
        check_password("", EMAIL, UsersConfig(min_password_length=1))


@pytest.mark.parametrize("password", ["p", "rafiki", "password"])
def test_programs_that_create_users_are_held_to_what_is_set_alone(password: str) -> None:
    check_password(password, EMAIL, UsersConfig(), is_by_program=True)
    with pytest.raises(InvalidRequestError, match="9 at least"):
        check_password(password, EMAIL, UsersConfig(min_password_length=9), is_by_program=True)
    with pytest.raises(InvalidRequestError, match=r"guessed first"):
        check_password("rafiki", EMAIL, UsersConfig(refuse_common_passwords=True), is_by_program=True)
    with pytest.raises(InvalidRequestError, match="empty"):
        check_password("", EMAIL, UsersConfig(), is_by_program=True)


def test_it_is_for_new_users_and_new_passwords(people: People) -> None:
    email = f"{unique('weak')}@rafiki"
    user = {"email": email, "user_type": "APP_DEVELOPER"}
    for weak in ("short", "password1", email):
        typed = {**user, "password": weak, "is_typed": True}
        message = people.admin.refused("InvalidRequestError", "POST", "/users", json=typed)
        assert weak == "short" or weak not in message
    # As the published call has it.
    people.admin.ok("POST", "/users", json={**user, "password": "short"})
    me = people.nobody.login(email, "short")
    change = {"old_password": "short", "password": "password1"}
    me.refused("InvalidRequestError", "POST", "/users/password", json=change)
    people.admin.refused("InvalidRequestError", "POST", "/users/password", json={"email": email, "password": "x"})
    people.nobody.login(email, "short")
