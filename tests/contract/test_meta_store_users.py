import re

import pytest

from rafiki.constants import UserType
from rafiki.entities import Identity
from rafiki.errors import InvalidRequestError, InvalidUserError, UserAlreadyBannedError, UserExistsError


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


def test_what_a_banned_user_owns_is_the_heirs_in_the_same_moment(store, given):
    user, heir = given.user(), given.user()
    job, old = given.train_job(user), given.stopped_train_job(user, "old")
    inference = given.inference_job(old)
    assert store.users.ban_user(user.id, heir_id=heir.id).banned_date is not None
    assert [j.id for j in store.train_jobs.list_train_jobs(heir.id)] == [old.id, job.id]
    assert [j.id for j in store.inference_jobs.list_inference_jobs(heir.id)] == [inference.id]
    assert {d.id for d in store.datasets.list_datasets(heir.id)} == {job.train_dataset_id, old.train_dataset_id}
    assert store.train_jobs.list_train_jobs(user.id) == store.datasets.list_datasets(user.id) == []
    assert given.train_job(user, "new").user_id == user.id


@pytest.mark.parametrize("what", ["the app(s) app", "the model(s) tagger"])
def test_two_of_one_name_never_become_one(store, given, what):
    user, heir = given.user(), given.user()
    for owner in (user, heir):
        if "app" in what:
            given.train_job(owner)
        else:
            given.model(owner, name="tagger")
    with pytest.raises(InvalidRequestError, match=re.escape(what)):
        store.users.ban_user(user.id, heir_id=heir.id)
    assert store.users.get_user(user.id).banned_date is None
    assert len(store.train_jobs.list_train_jobs(user.id)) == ("app" in what)


def test_a_password_hash_is_replaced(store, given):
    user = given.user()
    assert store.users.set_password_hash(user.id, "other").password_hash == "other"
    assert store.users.get_user(user.id).password_hash == "other"


def test_a_role_is_changed(store, given):
    user = given.user(user_type=UserType.APP_DEVELOPER)
    assert store.users.set_user_type(user.id, UserType.ADMIN).user_type is UserType.ADMIN
    assert store.users.get_user(user.id).user_type is UserType.ADMIN


@pytest.mark.parametrize("method", ["get_user", "ban_user", "set_password_hash", "set_user_type"])
def test_an_unknown_user_is_refused_by_id(store, method):
    more = {"set_password_hash": ["hash"], "set_user_type": [UserType.ADMIN]}
    arguments = ["nobody", *more.get(method, [])]
    with pytest.raises(InvalidUserError, match="nobody"):
        getattr(store.users, method)(*arguments)


HERS = Identity("https://login.example.org", "42")


def test_a_user_is_found_by_the_account_at_a_provider(store, given):
    user = store.users.create_user("ada@rafiki", "hash", UserType.APP_DEVELOPER, identity=HERS)
    assert store.users.find_user_by_identity(HERS) == user == store.users.get_user(user.id)
    other = given.user()
    store.users.add_identity(other.id, Identity(HERS.issuer, "43"))
    store.users.add_identity(other.id, Identity("https://other.example.org", "42"))
    assert store.users.find_user_by_identity(Identity("https://other.example.org", "42")) == other
    assert store.users.find_user_by_identity(Identity(HERS.issuer, "44")) is None
    assert store.users.remove_identities(other.id) == 2
    assert store.users.find_user_by_identity(Identity(HERS.issuer, "43")) is None
    assert store.users.find_user_by_identity(HERS) == user
    assert store.users.remove_identities(other.id) == 0


def test_an_account_at_a_provider_is_one_users_and_a_refused_user_leaves_none(store, given):
    user = store.users.create_user("ada@rafiki", "hash", UserType.APP_DEVELOPER, identity=HERS)
    with pytest.raises(UserExistsError, match="account"):
        store.users.create_user("eve@rafiki", "hash", UserType.APP_DEVELOPER, identity=HERS)
    assert store.users.find_user_by_email("eve@rafiki") is None
    with pytest.raises(UserExistsError, match="account"):
        store.users.add_identity(given.user().id, HERS)
    with pytest.raises(UserExistsError, match="ADA"):
        store.users.create_user("ADA@rafiki", "hash", UserType.APP_DEVELOPER, identity=Identity(HERS.issuer, "43"))
    assert store.users.find_user_by_identity(Identity(HERS.issuer, "43")) is None
    assert store.users.find_user_by_identity(HERS) == user
    with pytest.raises(InvalidUserError, match="nobody"):
        store.users.add_identity("nobody", Identity(HERS.issuer, "44"))
