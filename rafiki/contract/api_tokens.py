"""API tokens: what programs use instead of a login."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.contract.endpoint import ALL_USERS, AnyEndpoint, Audited, Empty, Endpoint, Number, RequestStruct


class CreateApiTokenRequest(RequestStruct, frozen=True, kw_only=True):
    name: str
    expires_in_s: Number | None = None
    """How long it is valid; None = as long as the stack allows (``admin.max_api_token_days``)."""


class ApiTokenView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    datetime_created: datetime
    datetime_expires: datetime
    datetime_used: datetime | None
    """When it was last used, to the minute."""
    is_expired: bool


class NewApiTokenView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    datetime_expires: datetime
    token: str
    """The token itself, which is shown this once."""


class RevokeApiTokenRequest(RequestStruct, frozen=True, kw_only=True):
    token_id: str


CREATE_API_TOKEN: Endpoint[CreateApiTokenRequest, NewApiTokenView] = Endpoint(
    name="create_api_token", method="POST", path="/api_tokens", request=CreateApiTokenRequest,
    response=NewApiTokenView, roles=ALL_USERS, is_login_only=True,
    summary="Make an API token of your own. It may do what you may do, until it expires or is revoked, but make "
    "neither tokens nor users nor passwords.",
    audited=Audited("token.create", ("name", "id", "datetime_expires")),
)  # fmt: skip
GET_API_TOKENS: Endpoint[Empty, list[ApiTokenView]] = Endpoint(
    name="get_api_tokens", method="GET", path="/api_tokens", request=Empty, response=list[ApiTokenView],
    roles=ALL_USERS, summary="Your API tokens that are not revoked, without the tokens themselves.",
)  # fmt: skip
REVOKE_API_TOKEN: Endpoint[RevokeApiTokenRequest, ApiTokenView] = Endpoint(
    name="revoke_api_token", method="DELETE", path="/api_tokens/{token_id}", request=RevokeApiTokenRequest,
    response=ApiTokenView, roles=ALL_USERS, summary="Revoke one of your API tokens, from now on and for good.",
    audited=Audited("token.revoke", ("token_id", "name")),
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [CREATE_API_TOKEN, GET_API_TOKENS, REVOKE_API_TOKEN]
