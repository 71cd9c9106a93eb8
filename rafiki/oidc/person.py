"""Who somebody is by the claims of a provider, and what that makes of them here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from rafiki.constants import MappedRole, UserType
from rafiki.errors import UnauthorizedError
from rafiki.oidc.settings import OidcClient
from rafiki.utils.values import JsonObject, JsonValue

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MOST_EMAIL_CHARS = 254
_MOST_GROUPS = 10_000
_STRONGEST_FIRST: tuple[MappedRole, ...] = ("ADMIN", "MODEL_DEVELOPER", "APP_DEVELOPER")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whom the provider vouches for and the settings let in."""

    issuer: str
    subject: str
    """Their id at the provider, for good."""
    email: str
    role: UserType
    is_mapped: bool
    """Whether the role follows a claim, at each login anew."""


class Pending(NamedTuple):
    """Nobody has decided yet."""

    slower_s: float
    """How much longer to wait between two looks from now on."""


def lacks_claims(claims: JsonObject, client: OidcClient) -> bool:
    """Whether the provider has to be asked for more than the ID token says."""
    return client.email_claim not in claims or (bool(client.roles) and _find(claims, client.roles_claim) is None)


def read_person(claims: JsonObject, client: OidcClient) -> Person:
    """The person whom claims describe, which are known to be the provider's.

    Raises:
        UnauthorizedError: the settings do not let them in, with the reason.
    """
    email = claims.get(client.email_claim)
    if (
        not isinstance(email, str) or not _EMAIL.fullmatch(email) or not email.isprintable()
        or len(email) > _MOST_EMAIL_CHARS
    ):  # fmt: skip
        raise UnauthorizedError.forbidden(
            f"The provider tells no email of yours in the claim {client.email_claim!r} (oidc.email_claim). Ask the "
            "stack's owner, who may have to ask for another scope (oidc.scopes)."
        )
    try:
        _check_email(email, claims, client)
        role, is_mapped = _role_of(claims, client)
    except UnauthorizedError as e:
        e.of_user = email
        raise
    return Person(
        issuer=client.issuer, subject=str(claims["sub"]), email=email, role=role, is_mapped=is_mapped,
    )  # fmt: skip


def _check_email(email: str, claims: JsonObject, client: OidcClient) -> None:
    verified = client.email_verified_claim
    # Some providers write truths as texts.
    if verified is not None and claims.get(verified) not in (True, "true"):
        raise UnauthorizedError.forbidden(
            f"The provider does not say that {email} is yours (its claim {verified!r} is not true). Verify it there."
        )
    domain = email.rpartition("@")[2].casefold()
    if client.email_domains and domain not in client.email_domains:
        raise UnauthorizedError.forbidden(
            f"Emails of {domain} may not log in here (oidc.email_domains). Use an account of your organisation."
        )


def _role_of(claims: JsonObject, client: OidcClient) -> tuple[UserType, bool]:
    values = _texts(_find(claims, client.roles_claim))
    found = {client.roles[value] for value in values if value in client.roles}
    for role in _STRONGEST_FIRST:
        if role in found:
            return UserType(role), True
    if client.default_role is None:
        raise UnauthorizedError.forbidden(
            f"None of your values of the claim {client.roles_claim!r} has a role here (oidc.roles). Ask the stack's "
            "owner to let your group in."
        )
    return UserType(client.default_role), bool(client.roles)


def _find(claims: Mapping[str, JsonValue], path: str) -> JsonValue:
    """The claim of that very name, else what a path of names leads to; None where there is none."""
    if path in claims:
        return claims[path]
    found: JsonValue = dict(claims)
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _texts(value: JsonValue) -> set[str]:
    if isinstance(value, str):
        return {value}
    return {v for v in value[:_MOST_GROUPS] if isinstance(v, str)} if isinstance(value, list) else set()
