import pytest

from rafiki.constants import UserType
from rafiki.errors import InvalidUserError, UserAlreadyBannedError, UserExistsError


def test_a_user_comes_back_as_it_was_created(store, given):
    user = given.user("Ada@Rafiki", UserType.MODEL_DEVELOPER)
    assert store.users.get_user(user.id) == user
    assert (user.email, user.user_type, user.banned_date) == (
        "Ada@Rafiki",
        UserType.MODEL_DEVELOPER,
        None,
    )


@pytest.mark.parametrize(("taken", "same"), [("ada@rafiki", "ADA@rafiki"), ("ÄDA@rafiki", "äda@RAFIKI")])
def test_an_email_is_unique_and_found_in_whatever_case(store, given, taken, same):
    user = given.user(taken)
    assert store.users.find_user_by_email(same) == user
    with pytest.raises(UserExistsError, match=same):
        given.user(same)
    assert store.users.list_users() == [user]


def test_an_unknown_email_finds_none(store, given):
    given.user("ada@rafiki")
    assert store.users.find_user_by_email("bob@rafiki") is None


def test_users_are_listed_in_order_of_creation_page_by_page(store, given):
    users = [given.user(f"{name}@rafiki") for name in "zyxw"]
    assert store.users.list_users() == users
    assert store.users.list_users(offset=1, limit=2) == users[1:3]
    assert store.users.list_users(offset=3) == users[3:]
    assert store.users.list_users(limit=0) == []


def test_a_user_is_banned_once(store, given):
    user = given.user()
    banned = store.users.ban_user(user.id)
    assert banned.banned_date is not None
    with pytest.raises(UserAlreadyBannedError, match=user.email):
        store.users.ban_user(user.id)
    assert store.users.get_user(user.id) == banned


def test_a_password_hash_is_replaced(store, given):
    user = given.user()
    assert store.users.set_password_hash(user.id, "other").password_hash == "other"
    assert store.users.get_user(user.id).password_hash == "other"


@pytest.mark.parametrize("method", ["get_user", "ban_user", "set_password_hash"])
def test_an_unknown_user_is_refused_by_id(store, method):
    arguments = ["nobody", "hash"] if method == "set_password_hash" else ["nobody"]
    with pytest.raises(InvalidUserError, match="nobody"):
        getattr(store.users, method)(*arguments)
