"""The provider of logins with accounts of an organisation, and the settings about it."""

from __future__ import annotations

from collections.abc import Iterator

from rafiki.errors import RafikiError
from rafiki.utils.clock import Deadline
from rafiki_cli.doctor.findings import Finding, ok, problem, warning
from rafiki_cli.doctor.subject import Subject

_TIMEOUT_S = 8.0
_CHECK = "logins"


def check_logins(subject: Subject) -> Iterator[Finding]:
    """Nothing is told of a stack that takes passwords alone."""
    assert subject.config
    assert subject.loaded
    from rafiki.oidc.settings import read_oidc

    try:
        client = read_oidc(subject.loaded)
    except RafikiError as e:
        yield problem(_CHECK, e.message, "Correct the setting, or the file.")
        return
    if client is None:
        return
    from rafiki.oidc.description import describe

    try:
        found = describe(client.issuer, trust=client.trust(), deadline=Deadline(min(client.timeout_s, _TIMEOUT_S)))
    except RafikiError as e:
        yield problem(_CHECK, e.message, "Logins with passwords go on; `rafiki login --help` has both.")
        return
    ways = ["browsers of the same machine"]
    ways += ["other devices"] if found.device_authorization_endpoint else []
    ways += ["/oidc/login"] if client.callback_url else []
    yield ok(_CHECK, f"{client.issuer} answers; logins by {', '.join(ways)}.")
    if client.email_verified_claim is None and not client.email_domains:
        told = "Emails count that the provider has not verified (oidc.email_verified_claim), of all domains."
        yield warning(_CHECK, told, "Name your domains with oidc.email_domains.")
    elif client.default_role is not None and not client.email_domains:
        told = f"Everybody who has an account at {client.issuer} is let in, as {client.default_role}."
        yield warning(_CHECK, told, "Name your domains with oidc.email_domains, unless all accounts there are yours.")
