"""The section ``oidc`` of rafiki.yaml, checked, with the files that it names read."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from rafiki.config import LoadedConfig
from rafiki.constants import MappedRole
from rafiki.errors import ConfigError
from rafiki.utils.addresses import is_loopback
from rafiki.utils.certificates import CertificateError, context_trusting, read_authority
from rafiki.utils.paths import expand, why

_MOST_SECRET_BYTES = 4096
_Refuse: TypeAlias = Callable[[str, str], ConfigError]
"""The error for a setting of the section, and what is wrong with it."""


class OidcClient(msgspec.Struct, frozen=True, kw_only=True):
    """The stack, as it is registered with a provider, and whom it lets in."""

    issuer: str
    client_id: str
    secret: str | None
    """None of a public client."""
    scopes: list[str]
    callback_url: str | None
    email_claim: str
    email_verified_claim: str | None
    email_domains: frozenset[str]
    roles_claim: str
    roles: Mapping[str, MappedRole]
    default_role: MappedRole | None
    authority: str | None
    """Certificates in PEM that are trusted; None = those of the machine."""
    timeout_s: float
    clock_skew_s: float

    def trust(self) -> ssl.SSLContext:
        """What TLS to the provider is spoken with."""
        return context_trusting(self.authority, "oidc.ca")


def read_oidc(loaded: LoadedConfig) -> OidcClient | None:
    """What the settings say; None where they offer no such logins.

    Raises:
        ConfigError: one is wrong or missing, with where it stands and what to write.
    """
    settings = loaded.config.oidc
    where = {o.key: o.origin for o in loaded.origins}

    def wrong(key: str, reason: str) -> ConfigError:
        return ConfigError(f"{where.get(f'oidc.{key}', 'default')}: oidc.{key}: {reason}")

    if settings.issuer is None:
        if settings.client_id is not None:
            raise wrong("client_id", "is of no use without oidc.issuer, the address of the provider.")
        return None
    if (reason := _why_no_issuer(settings.issuer)) is not None:
        raise wrong("issuer", f"{settings.issuer!r} {reason}")
    if settings.client_id is None:
        raise wrong("issuer", "wants oidc.client_id, the name under which this stack is registered there.")
    if "openid" not in settings.scopes:
        raise wrong("scopes", "has to hold 'openid': without it the provider does not say who somebody is.")
    if settings.callback_url is not None and (reason := _why_no_callback(settings.callback_url)) is not None:
        raise wrong("callback_url", f"{settings.callback_url!r} {reason}")
    for domain in settings.email_domains:
        if not domain or "@" in domain or domain != domain.strip():
            raise wrong("email_domains", f"{domain!r} is no domain: write what follows the @, as in example.org.")
    if not settings.roles and settings.default_role is None:
        raise wrong(
            "issuer", "lets nobody in: say which roles users get, with oidc.roles (by group) or oidc.default_role."
        )
    return OidcClient(
        issuer=settings.issuer, client_id=settings.client_id, secret=_secret(loaded, wrong), scopes=settings.scopes,
        callback_url=settings.callback_url, email_claim=settings.email_claim,
        email_verified_claim=settings.email_verified_claim,
        email_domains=frozenset(domain.casefold() for domain in settings.email_domains),
        roles_claim=settings.roles_claim, roles=settings.roles, default_role=settings.default_role,
        authority=_authority(loaded, wrong), timeout_s=settings.timeout_s, clock_skew_s=settings.clock_skew_s,
    )  # fmt: skip


def is_safe_url(url: str) -> bool:
    """Whether what is sent there can be read by nobody on the way: https, or this machine."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return bool(host) and "@" not in parts.netloc and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    )  # fmt: skip


def _why_no_issuer(issuer: str) -> str | None:
    if not is_safe_url(issuer):
        return "is no address of a provider: write https://HOST/PATH (http for one on this machine alone)."
    parts = urlsplit(issuer)
    if parts.query or parts.fragment:
        return "must have neither ? nor #: write it as the provider's own description says it, in `issuer`."
    return None


def _why_no_callback(url: str) -> str | None:
    if not is_safe_url(url):
        return "is no address that browsers may be sent to: write https://HOST:PORT/oidc/callback."
    return "must have no #." if urlsplit(url).fragment else None


def _secret(loaded: LoadedConfig, wrong: _Refuse) -> str | None:
    settings = loaded.config.oidc
    if settings.client_secret is not None and settings.client_secret_file is not None:
        raise wrong("client_secret_file", "is set, and so is RAFIKI_OIDC__CLIENT_SECRET. Leave one of them out.")
    if settings.client_secret_file is None:
        return settings.client_secret
    try:
        file = expand(loaded.base_folder, settings.client_secret_file)
        with file.open("rb") as f:
            secret = f.read(_MOST_SECRET_BYTES).decode("utf-8").strip()
    except (ValueError, OSError) as e:
        reason = why(e) if isinstance(e, OSError) else "it is no text" if isinstance(e, UnicodeError) else str(e)
        raise wrong("client_secret_file", f"{settings.client_secret_file} cannot be read: {reason}.") from e
    if not secret:
        raise wrong("client_secret_file", f"{file} is empty. Write the secret into it that the provider gave out.")
    return secret


def _authority(loaded: LoadedConfig, wrong: _Refuse) -> str | None:
    if loaded.config.oidc.ca is None:
        return None
    try:
        return read_authority(Path(expand(loaded.base_folder, loaded.config.oidc.ca)))
    except (ValueError, CertificateError) as e:
        raise wrong("ca", f"{e}.") from e
