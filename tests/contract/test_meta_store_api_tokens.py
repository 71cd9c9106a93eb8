from datetime import timedelta
from multiprocessing.pool import ThreadPool

import pytest

from rafiki.errors import ApiTokenExistsError, InvalidApiTokenError, InvalidUserError
from rafiki.utils.clock import utc_now
from rafiki.utils.ids import new_id


def make(store, user, name="ci", **fields):
    wanted = {"secret_hash": new_id(), "datetime_expires": utc_now() + timedelta(days=1), **fields}
    return store.api_tokens.create_api_token(user.id, name, **wanted)


def test_a_token_comes_back_by_its_hash_as_it_was_created(store, given):
    user, expires = given.user(), utc_now() + timedelta(days=30)
    token = make(store, user, "ci", secret_hash="ab", datetime_expires=expires)
    assert store.api_tokens.find_api_token("ab") == token
    assert (token.user_id, token.name, token.datetime_expires) == (user.id, "ci", expires)
    assert (token.datetime_used, token.datetime_revoked) == (None, None)
    assert store.api_tokens.find_api_token("ac") is None


def test_a_token_of_an_unknown_user_is_refused(store):
    with pytest.raises(InvalidUserError, match="nobody"):
        store.api_tokens.create_api_token("nobody", "ci", "ab", utc_now())


def test_a_name_is_taken_once_by_each_user_until_its_token_is_revoked(store, given):
    user, other = given.user(), given.user()
    token = make(store, user)
    make(store, other)
    with pytest.raises(ApiTokenExistsError, match="'ci'"):
        make(store, user)
    store.api_tokens.revoke_api_token(user.id, token.id)
    again = make(store, user)
    assert store.api_tokens.list_api_tokens(user.id) == [again]


def test_tokens_are_listed_in_order_of_creation_and_only_to_their_user(store, given):
    user, other = given.user(), given.user()
    tokens = [make(store, user, name) for name in "zyx"]
    make(store, other)
    assert store.api_tokens.list_api_tokens(user.id) == tokens
    assert store.api_tokens.list_api_tokens("nobody") == []


def test_a_revoked_token_is_found_as_such_and_listed_no_more(store, given):
    user = given.user()
    token = make(store, user)
    revoked = store.api_tokens.revoke_api_token(user.id, token.id)
    assert revoked.datetime_revoked is not None
    assert store.api_tokens.find_api_token(token.secret_hash) == revoked
    assert store.api_tokens.list_api_tokens(user.id) == []
    with pytest.raises(InvalidApiTokenError, match=token.id):
        store.api_tokens.revoke_api_token(user.id, token.id)


def test_nobody_revokes_the_token_of_somebody_else(store, given):
    token = make(store, given.user())
    with pytest.raises(InvalidApiTokenError, match=token.id):
        store.api_tokens.revoke_api_token(given.user().id, token.id)
    assert store.api_tokens.find_api_token(token.secret_hash) == token


def test_of_several_revocations_at_once_one_succeeds(store, given):
    user = given.user()
    token = make(store, user)

    def revoke(_):
        try:
            return store.api_tokens.revoke_api_token(user.id, token.id)
        except InvalidApiTokenError:
            return None

    with ThreadPool(6) as pool:
        done = pool.map(revoke, range(6))
    assert sum(d is not None for d in done) == 1


def test_the_last_use_is_noted_unless_it_was_noted_lately(store, given):
    token = make(store, given.user())

    def last_use():
        return store.api_tokens.find_api_token(token.secret_hash).datetime_used

    before = utc_now()
    store.api_tokens.set_api_token_used(token.id, unless_since=before - timedelta(minutes=1))
    first = last_use()
    assert before <= first <= utc_now()
    store.api_tokens.set_api_token_used(token.id, unless_since=first - timedelta(minutes=1))
    assert last_use() == first
    store.api_tokens.set_api_token_used(token.id, unless_since=first)
    assert last_use() > first


def test_the_use_of_an_unknown_token_changes_nothing(store, given):
    token = make(store, given.user())
    store.api_tokens.set_api_token_used("no such token", unless_since=utc_now())
    assert store.api_tokens.find_api_token(token.secret_hash) == token
