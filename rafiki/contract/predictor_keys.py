"""Keys that the predictors of an app may ask for."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.contract.endpoint import ALL_USERS, AnyEndpoint, Audited, Endpoint, RequestStruct


class CreateKeyRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    name: str
    """What it is for; one name for one key of the app."""


class ListKeysRequest(RequestStruct, frozen=True, kw_only=True):
    app: str


class RevokeKeyRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    key_id: str
    """Id of the key."""


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    app: str
    name: str
    datetime_created: datetime


class NewKeyView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    app: str
    name: str
    key: str
    """The key itself, which is shown this once: for the header ``Authorization: Bearer KEY`` of a predictor."""


CREATE_KEY: Endpoint[CreateKeyRequest, NewKeyView] = Endpoint(
    name="create_key", method="POST", path="/apps/{app}/keys", request=CreateKeyRequest, response=NewKeyView,
    roles=ALL_USERS, is_login_only=True,
    summary="Make a key for the predictors of your app that ask for one. It is valid until it is revoked.",
    audited=Audited("key.create", ("app", "name", "id")),
)  # fmt: skip
GET_KEYS: Endpoint[ListKeysRequest, list[KeyView]] = Endpoint(
    name="get_keys", method="GET", path="/apps/{app}/keys", request=ListKeysRequest, response=list[KeyView],
    roles=ALL_USERS, summary="The keys of your app that are not revoked, without the keys themselves.",
)  # fmt: skip
REVOKE_KEY: Endpoint[RevokeKeyRequest, KeyView] = Endpoint(
    name="revoke_key", method="DELETE", path="/apps/{app}/keys/{key_id}", request=RevokeKeyRequest, response=KeyView,
    roles=ALL_USERS, summary="Revoke a key of your app: within a second its predictors refuse it, for good.",
    audited=Audited("key.revoke", ("app", "key_id", "name")),
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [CREATE_KEY, GET_KEYS, REVOKE_KEY]
