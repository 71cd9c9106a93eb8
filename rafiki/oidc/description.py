"""What a provider says of itself below ``/.well-known/openid-configuration`` (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

import ssl

import msgspec

from rafiki.errors import LoginProviderError
from rafiki.oidc.exchange import Answer, ask
from rafiki.oidc.settings import is_safe_url
from rafiki.utils.clock import Deadline
from rafiki.utils.urls import mask_url

_PATH = "/.well-known/openid-configuration"


class Description(msgspec.Struct, frozen=True):
    """The part of it that is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    device_authorization_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = msgspec.field(default_factory=lambda: ["client_secret_basic"])
    """The default is that of the specification, section 3."""
    authorization_response_iss_parameter_supported: bool = False
    """Whether browsers come back with the issuer, too (RFC 9207)."""


def describe(issuer: str, *, trust: ssl.SSLContext, deadline: Deadline) -> Description:
    """Ask the provider.

    Raises:
        LoginProviderError: it does not answer, or with what is no description of this very provider.
    """
    answer = ask(issuer.rstrip("/") + _PATH, trust=trust, deadline=deadline)
    if answer.status != 200:
        raise LoginProviderError(f"{answer.url} answers with status {answer.status}. Is oidc.issuer right?")
    found = _read(answer)
    if found.issuer != issuer:
        raise LoginProviderError(
            f"{answer.url} describes the issuer {found.issuer[:200]!r}, not {issuer!r}. Write oidc.issuer as it "
            "is there."
        )
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "device_authorization_endpoint",
                 "userinfo_endpoint"):  # fmt: skip
        url = getattr(found, name)
        if url is not None and not is_safe_url(url):
            raise LoginProviderError(
                f"{answer.url} names the {name} {mask_url(url)[:200]!r}, which is neither https nor on this machine."
            )
    return found


def _read(answer: Answer) -> Description:
    try:
        return msgspec.convert(answer.body, Description)
    except msgspec.ValidationError as e:
        from rafiki.utils.mismatch import explain_mismatch

        mismatch = explain_mismatch(answer.body, Description, e)
        what = f"{mismatch.name!r} is missing" if mismatch.problem == "missing" else mismatch.reason
        raise LoginProviderError(f"{answer.url} is no description of a provider: {what}.") from e
