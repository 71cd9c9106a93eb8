"""Keys that the predictors of an app may ask for."""

from __future__ import annotations

from rafiki.admin.context import AdminContext
from rafiki.admin.operation import bind
from rafiki.admin.ops.datasets import check_name
from rafiki.contract.predictor_keys import (
    CREATE_KEY,
    GET_KEYS,
    REVOKE_KEY,
    CreateKeyRequest,
    KeyView,
    ListKeysRequest,
    NewKeyView,
    RevokeKeyRequest,
)
from rafiki.entities import PredictorKey, User
from rafiki.key_file import hash_key
from rafiki.utils.ids import new_secret

_PREFIX = "rfp_"
"""By which people and scanners of leaked secrets know a key."""


def _view(key: PredictorKey) -> KeyView:
    return KeyView(id=key.id, app=key.app, name=key.name, datetime_created=key.datetime_created)


def create_key(context: AdminContext, actor: User, request: CreateKeyRequest) -> NewKeyView:
    check_name("name", request.name)
    app = context.store.train_jobs.get_train_job_of_app(actor.id, request.app).app
    secret = _PREFIX + new_secret()
    made = context.store.predictor_keys.create_predictor_key(actor.id, app, request.name, hash_key(secret.encode()))
    context.keys.publish_app(actor.id, app)
    return NewKeyView(id=made.id, app=app, name=made.name, key=secret)


def get_keys(context: AdminContext, actor: User, request: ListKeysRequest) -> list[KeyView]:
    return [_view(k) for k in context.store.predictor_keys.list_predictor_keys(actor.id, request.app)]


def revoke_key(context: AdminContext, actor: User, request: RevokeKeyRequest) -> KeyView:
    revoked = context.store.predictor_keys.revoke_predictor_key(actor.id, request.app, request.key_id)
    context.keys.publish_app(actor.id, request.app)
    return _view(revoked)


OPERATIONS = [bind(CREATE_KEY, create_key), bind(GET_KEYS, get_keys), bind(REVOKE_KEY, revoke_key)]
