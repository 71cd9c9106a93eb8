"""Logins with accounts of an organisation."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rafiki.admin import oidc_users
from rafiki.admin.auth import is_api_token
from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.oidc_flows import CODE_S, Flow, Kind, new_flow
from rafiki.admin.operation import bind, bind_from, bind_open
from rafiki.constants import UserType
from rafiki.contract.endpoint import Empty
from rafiki.contract.oidc import (
    FINISH_OIDC_LOGIN,
    GET_OIDC,
    SET_IDENTITY,
    START_OIDC_LOGIN,
    FinishOidcLoginRequest,
    OidcLoginView,
    OidcStartView,
    OidcView,
    SetIdentityRequest,
    StartOidcLoginRequest,
)
from rafiki.contract.users import UserView
from rafiki.entities import Identity, User
from rafiki.errors import InvalidRequestError, InvalidUserError, NotFoundError, UnauthorizedError
from rafiki.oidc.person import Pending, Person
from rafiki.utils.addresses import parse_ip

if TYPE_CHECKING:
    from rafiki.oidc.provider import Provider

_MOST_SUBJECT_CHARS = 255
_STRANGER = "oidc"
"""Whose attempts they are that belong to no login of ours."""


def get_oidc(context: AdminContext, actor: None, request: Empty) -> OidcView:
    if context.oidc is None:
        return OidcView(issuer=None, has_pages=False)
    client = context.oidc.client
    return OidcView(issuer=client.issuer, has_pages=client.callback_url is not None)


def provider_of(context: AdminContext) -> Provider:
    """The provider whose accounts may log in.

    Raises:
        NotFoundError: there is none.
    """
    if context.oidc is None:
        raise NotFoundError("This server takes no accounts of an organisation (oidc.issuer). Log in with a password.")
    return context.oidc


def start_oidc_login(context: AdminContext, actor: None, request: StartOidcLoginRequest) -> OidcStartView:
    provider = provider_of(context)
    if request.redirect_uri is None:
        device = provider.start_device()
        flow = Flow(kind="device", expires_s=time.time() + device.expires_in_s, device_code=device.device_code)
        return OidcStartView(
            url=device.url_with_code or device.url, login=context.flows.seal(flow),
            expires_in_s=device.expires_in_s, user_code=device.user_code, interval_s=device.interval_s,
        )  # fmt: skip
    _refuse_far_away(request.redirect_uri)
    flow = new_flow("loopback", request.redirect_uri)
    url = provider.authorization_url(flow.redirect_uri, state=flow.state, nonce=flow.nonce, verifier=flow.verifier)
    return OidcStartView(url=url, login=context.flows.seal(flow), expires_in_s=CODE_S)


def _refuse_far_away(redirect_uri: str) -> None:
    """RFC 8252, section 7.3: who begins a login here gets its code on their own machine, and nobody elsewhere."""
    try:
        parts = urlsplit(redirect_uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    ip = parse_ip(host)
    is_right = (
        ip is not None and ip.is_loopback and port is not None and parts.scheme == "http" and not parts.fragment
        and "@" not in parts.netloc and redirect_uri.isascii() and redirect_uri.isprintable()
        and len(redirect_uri) <= 2048
    )  # fmt: skip
    if not is_right:
        raise InvalidRequestError(
            f"Field 'redirect_uri': {redirect_uri[:80]!r} is no address of the machine of whoever logs in: "
            "http://127.0.0.1:PORT/PATH."
        )


def finish_oidc_login(
    context: AdminContext, actor: None, request: FinishOidcLoginRequest, address: str | None
) -> OidcLoginView:
    provider = provider_of(context)
    flow = _open(context, request.login, address, "loopback", "device")

    def ask() -> Person | Pending:
        if flow.kind == "device":
            return provider.finish_device(flow.device_code)
        return finish_code(provider, flow, request.code, request.state, request.iss)

    user = None if request.link_to is None else _user_to_link(context, request.link_to)
    return _finish(context, request.login, address, ask, user)


def finish_page(
    context: AdminContext, sealed: str, code: str | None, state: str | None, iss: str | None, address: str | None
) -> OidcLoginView:
    """A login that a browser began at ``/oidc/login``."""
    provider = provider_of(context)
    flow = _open(context, sealed, address, "page")
    return _finish(context, sealed, address, lambda: finish_code(provider, flow, code, state, iss), None)


def _open(context: AdminContext, sealed: str, address: str | None, *kinds: Kind) -> Flow:
    """The login that was begun here; guesses at one wait longer and longer, and keep nobody from finishing theirs."""
    try:
        return context.flows.open(sealed, *kinds)
    except UnauthorizedError:
        with context.login_limits.attempt(_STRANGER, address, sealed) as attempt:
            attempt.fail()
        raise


def finish_code(provider: Provider, flow: Flow, code: str | None, state: str | None, iss: str | None) -> Person:
    """Who came back, if it is the browser of this flow."""
    if not hmac.compare_digest((state or "").encode(errors="replace"), flow.state.encode()):
        raise UnauthorizedError("The browser came back from another login (its state differs). Begin it anew.")
    if not code:
        raise UnauthorizedError("The browser came back without a code: the provider let nobody in. Begin it anew.")
    return provider.finish_code(
        code, redirect_uri=flow.redirect_uri, nonce=flow.nonce, verifier=flow.verifier, returned_issuer=iss
    )


def _finish(
    context: AdminContext, sealed: str, address: str | None, ask: Callable[[], Person | Pending], user: User | None
) -> OidcLoginView:
    """Each login counts for itself, and its failures for the address that they come from."""
    with context.login_limits.attempt(f"{_STRANGER} {sealed}", address, sealed) as attempt:
        try:
            person = ask()
            if isinstance(person, Pending):
                return OidcLoginView(is_pending=True, slower_s=person.slower_s)
            users = context.store.users
            found = oidc_users.link(users, person, user) if user else oidc_users.find_or_create(users, person)
        except UnauthorizedError:
            attempt.fail()
            raise
    return OidcLoginView(
        is_pending=False, user_id=found.user.id, user_type=found.user.user_type, email=found.user.email,
        token=context.tokens.issue(found.user), issuer=person.issuer, account=found.account,
    )  # fmt: skip


def _user_to_link(context: AdminContext, token: str) -> User:
    if is_api_token(token):
        raise UnauthorizedError.forbidden("Field 'link_to': an API token links no accounts. Log in for that.")
    return context.user_of_token(token)


def set_identity(context: AdminContext, actor: User, request: SetIdentityRequest) -> UserView:
    user = context.store.users.find_user_by_email(request.email)
    if user is None:
        raise InvalidUserError(f"There is no user {request.email[:80]!r}.")
    if user.user_type is UserType.SUPERADMIN:
        raise UnauthorizedError.forbidden("The superadmin logs in with the password alone.")
    if is_admin(user) and actor.user_type is not UserType.SUPERADMIN:
        raise UnauthorizedError.forbidden("Only the superadmin links admins to accounts of a provider.")
    if request.subject is None:
        context.store.users.remove_identities(user.id)
    else:
        if not 0 < len(request.subject) <= _MOST_SUBJECT_CHARS or not request.subject.isprintable():
            raise InvalidRequestError("Field 'subject': must be an id of the provider, of 1 to 255 characters.")
        identity = Identity(provider_of(context).client.issuer, request.subject)
        context.store.users.add_identity(user.id, identity)
    return UserView(id=user.id, email=user.email, user_type=user.user_type, banned_date=user.banned_date)


OPERATIONS = [
    bind_open(GET_OIDC, get_oidc),
    bind_open(START_OIDC_LOGIN, start_oidc_login),
    bind_from(FINISH_OIDC_LOGIN, finish_oidc_login),
    bind(SET_IDENTITY, set_identity),
]
