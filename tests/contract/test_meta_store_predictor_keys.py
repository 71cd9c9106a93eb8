import pytest

from rafiki.errors import InvalidKeyError, InvalidUserError, KeyExistsError


def make(store, user, name="web", app="digits", secret_hash="ab"):
    return store.predictor_keys.create_predictor_key(user.id, app, name, secret_hash)


def test_keys_are_listed_by_user_and_app(store, given):
    user, other = given.user(), given.user()
    one, two = make(store, user, "one"), make(store, user, "two")
    make(store, user, app="cats")
    make(store, other)
    assert store.predictor_keys.list_predictor_keys(user.id, "digits") == [one, two]
    assert (one.user_id, one.app, one.name, one.secret_hash) == (user.id, "digits", "one", "ab")
    assert one.datetime_revoked is None


def test_a_name_is_taken_once_by_each_app_until_its_key_is_revoked(store, given):
    user = given.user()
    key = make(store, user)
    make(store, user, app="cats")
    with pytest.raises(KeyExistsError, match="web"):
        make(store, user)
    assert store.predictor_keys.revoke_predictor_key(user.id, "digits", key.id).datetime_revoked is not None
    assert store.predictor_keys.list_predictor_keys(user.id, "digits") == []
    make(store, user)


def test_a_key_is_revoked_once_and_by_its_owner_only(store, given):
    user, other = given.user(), given.user()
    key = make(store, user)
    for user_id, app in ((other.id, "digits"), (user.id, "cats")):
        with pytest.raises(InvalidKeyError):
            store.predictor_keys.revoke_predictor_key(user_id, app, key.id)
    store.predictor_keys.revoke_predictor_key(user.id, "digits", key.id)
    with pytest.raises(InvalidKeyError):
        store.predictor_keys.revoke_predictor_key(user.id, "digits", key.id)


def test_a_key_of_an_unknown_user_is_refused(store):
    with pytest.raises(InvalidUserError, match="nobody"):
        store.predictor_keys.create_predictor_key("nobody", "digits", "web", "ab")


def test_keys_are_handed_over_with_their_app(store, given):
    user, heir = given.user(), given.user()
    key = make(store, user)
    store.users.ban_user(user.id, heir_id=heir.id)
    assert [k.id for k in store.predictor_keys.list_predictor_keys(heir.id, "digits")] == [key.id]
