"""API tokens."""

from __future__ import annotations

from datetime import timedelta

from rafiki.admin.auth import hash_api_token, new_api_token
from rafiki.admin.context import AdminContext
from rafiki.admin.operation import bind
from rafiki.admin.ops.datasets import check_name
from rafiki.contract.api_tokens import (
    CREATE_API_TOKEN,
    GET_API_TOKENS,
    REVOKE_API_TOKEN,
    ApiTokenView,
    CreateApiTokenRequest,
    NewApiTokenView,
    RevokeApiTokenRequest,
)
from rafiki.contract.endpoint import Empty
from rafiki.entities import ApiToken, User
from rafiki.errors import InvalidRequestError
from rafiki.utils.clock import utc_now

_A_CENTURY_DAYS = 36_525
"""Beyond this, calendars end."""


def _view(token: ApiToken) -> ApiTokenView:
    return ApiTokenView(
        id=token.id, name=token.name, datetime_created=token.datetime_created,
        datetime_expires=token.datetime_expires, datetime_used=token.datetime_used,
        is_expired=token.datetime_expires <= utc_now(),
    )  # fmt: skip


def create_api_token(context: AdminContext, actor: User, request: CreateApiTokenRequest) -> NewApiTokenView:
    check_name("name", request.name)
    longest_days = min(context.config.admin.max_api_token_days, _A_CENTURY_DAYS)
    longest_s = longest_days * 24 * 3600
    wanted_s = longest_s if request.expires_in_s is None else request.expires_in_s
    if not 0 < wanted_s <= longest_s:
        raise InvalidRequestError(
            f"Field 'expires_in_s': {wanted_s} is not between 1 and {longest_s:.0f}: an API token of this stack is "
            f"valid for {longest_days:g} days at most (admin.max_api_token_days)."
        )
    secret = new_api_token()
    token = context.store.api_tokens.create_api_token(
        actor.id, request.name, hash_api_token(secret), utc_now() + timedelta(seconds=wanted_s)
    )
    return NewApiTokenView(id=token.id, name=token.name, datetime_expires=token.datetime_expires, token=secret)


def get_api_tokens(context: AdminContext, actor: User, request: Empty) -> list[ApiTokenView]:
    return [_view(t) for t in context.store.api_tokens.list_api_tokens(actor.id)]


def revoke_api_token(context: AdminContext, actor: User, request: RevokeApiTokenRequest) -> ApiTokenView:
    return _view(context.store.api_tokens.revoke_api_token(actor.id, request.token_id))


OPERATIONS = [
    bind(CREATE_API_TOKEN, create_api_token),
    bind(GET_API_TOKENS, get_api_tokens),
    bind(REVOKE_API_TOKEN, revoke_api_token),
]
