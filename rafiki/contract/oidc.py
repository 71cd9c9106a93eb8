"""Logins with accounts of an organisation, by OpenID Connect."""

from __future__ import annotations

from typing import Literal

import msgspec

from rafiki.constants import UserType
from rafiki.contract.endpoint import (
    ADMINS,
    AnyEndpoint,
    Audited,
    Empty,
    Endpoint,
    RequestStruct,
)
from rafiki.contract.users import UserView


class OidcView(msgspec.Struct, frozen=True, kw_only=True):
    issuer: str | None
    """Address of the provider whose accounts may log in; null where none may."""
    has_pages: bool
    """Whether browsers log in at ``/oidc/login``."""


class StartOidcLoginRequest(RequestStruct, frozen=True, kw_only=True):
    redirect_uri: str | None = None
    """Where the browser comes back to on the machine of whoever logs in: ``http://127.0.0.1:PORT/...``. Null is a login
    whose browser is on another device."""


class OidcStartView(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    """What is opened in a browser."""
    login: str
    """Goes into the call that finishes the login; sealed, and good for its time only."""
    expires_in_s: int
    """How long that is."""
    user_code: str | None = None
    """What is typed there; null where the browser comes back by itself."""
    interval_s: float | None = None
    """The least time between two calls that finish it; null where one call does."""


class FinishOidcLoginRequest(RequestStruct, frozen=True, kw_only=True):
    login: str
    """Of the call that began it."""
    code: str | None = None
    """What the browser came back with; null of another device's."""
    state: str | None = None
    """What it came back with, too."""
    iss: str | None = None
    """What it came back with, where the provider names itself."""
    link_to: str | None = None
    """The token of a login of a user here, whose account at the provider this becomes; null logs in."""


class OidcLoginView(msgspec.Struct, frozen=True, kw_only=True):
    is_pending: bool
    """Whether nobody has decided in the browser yet: then nothing else is known."""
    slower_s: float = 0.0
    """How much longer to wait between two calls from now on."""
    user_id: str | None = None
    user_type: UserType | None = None
    email: str | None = None
    """Of the user here."""
    token: str | None = None
    """As that of ``POST /tokens``."""
    issuer: str | None = None
    """Address of the provider."""
    account: Literal["created", "linked"] | None = None
    """Whether a user was made, or linked, by this login."""


class SetIdentityRequest(RequestStruct, frozen=True, kw_only=True):
    email: str
    subject: str | None = None
    """The user's id at the provider (the claim ``sub``); null takes all accounts of providers from the user."""


GET_OIDC: Endpoint[Empty, OidcView] = Endpoint(
    name="get_oidc", method="GET", path="/oidc", request=Empty, response=OidcView, roles=None,
    summary="Whether accounts of an organisation may log in.",
)  # fmt: skip
START_OIDC_LOGIN: Endpoint[StartOidcLoginRequest, OidcStartView] = Endpoint(
    name="start_oidc_login", method="POST", path="/oidc/logins", request=StartOidcLoginRequest, response=OidcStartView,
    roles=None, asks_provider=True,
    summary="Begin a login with an account of an organisation: in a browser of this machine, or of another device.",
)  # fmt: skip
FINISH_OIDC_LOGIN: Endpoint[FinishOidcLoginRequest, OidcLoginView] = Endpoint(
    name="finish_oidc_login", method="POST", path="/oidc/tokens", request=FinishOidcLoginRequest,
    response=OidcLoginView, roles=None, asks_provider=True,
    summary="A token for whoever has logged in at the provider, or links that account to a user here.",
    audited=Audited("login", ("email", "issuer", "account")),
)  # fmt: skip
SET_IDENTITY: Endpoint[SetIdentityRequest, UserView] = Endpoint(
    name="set_identity", method="POST", path="/users/identity", request=SetIdentityRequest, response=UserView,
    roles=ADMINS, is_login_only=True,
    summary="Link a user to an account of the provider, or take all such accounts from them. Only the superadmin does "
    "so for admins.",
    audited=Audited("user.identity", ("email", "subject", "id")),
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [GET_OIDC, START_OIDC_LOGIN, FINISH_OIDC_LOGIN, SET_IDENTITY]

LOGIN_PAGE, CALLBACK_PAGE = "/oidc/login", "/oidc/callback"
"""Where browsers begin a login and come back: pages, and no calls of a client."""
PAGES = {LOGIN_PAGE: "open_oidc_login", CALLBACK_PAGE: "come_back_from_oidc"}
COOKIE = "rafiki_oidc"
"""Holds the login while the browser is away."""


def page_paths(answer: object, refusal: object) -> dict[str, dict[str, object]]:
    """The pages in an OpenAPI document."""
    headers = {name: {"schema": {"type": "string"}} for name in ("Location", "Set-Cookie")}
    returned = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        for name in ("code", "state", "iss", "error")
    ]
    refusals: dict[str, object] = {"4XX": refusal, "503": refusal}
    ok: dict[str, object] = {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}}
    away: dict[str, object] = {"302": {"description": "To the provider", "headers": headers}}
    return {
        LOGIN_PAGE: {
            "get": {
                "operationId": PAGES[LOGIN_PAGE],
                "summary": "Send a browser to the provider, with a cookie that knows it again.",
                "responses": away | refusals,
                "security": [],
            }
        },
        CALLBACK_PAGE: {
            "get": {
                "operationId": PAGES[CALLBACK_PAGE],
                "summary": "A token for the browser that comes back from the provider.",
                "parameters": returned,
                "responses": ok | refusals,
                "security": [],
            }
        },
    }
