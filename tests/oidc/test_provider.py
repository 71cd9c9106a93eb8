"""What is believed of a provider: of a real one, in a process of its own, that tells the truth or anything else."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.oidc.provider import ProviderProcess
from support.stacks.running_stack import eventually

from rafiki.constants import UserType
from rafiki.errors import LoginProviderError, UnauthorizedError
from rafiki.oidc.person import Pending, Person
from rafiki.oidc.provider import Provider
from rafiki.utils.ids import new_secret

BACK = "http://127.0.0.1:9/back"


def log_in(provider: ProviderProcess, client: Provider, **other: Any) -> Person:
    """A whole login with a code; ``other`` is what somebody changes on the way."""
    sent = {"state": new_secret(), "nonce": new_secret(), "verifier": new_secret()}
    back = provider.open(client.authorization_url(BACK, **sent))
    query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    assert back.startswith(BACK) and query["state"] == sent["state"]
    finish = {"redirect_uri": BACK, "nonce": sent["nonce"], "verifier": sent["verifier"], **other}
    return client.finish_code(finish.pop("code", query["code"]), **finish)


def test_a_code_is_exchanged_for_whoever_logged_in(provider: ProviderProcess, tmp_path: Path) -> None:
    person = log_in(provider, provider.client(tmp_path))
    assert person == Person(
        issuer=provider.issuer, subject="42", email="ada@example.org", role=UserType.APP_DEVELOPER, is_mapped=False
    )


@pytest.mark.parametrize("more", [{}, {"token_endpoint_auth_methods_supported": ["client_secret_post"]}])
def test_the_clients_secret_goes_as_the_provider_takes_it(
    provider: ProviderProcess, tmp_path: Path, more: dict[str, Any]
) -> None:
    provider.set(description=more)
    assert log_in(provider, provider.client(tmp_path)).subject == "42"


def test_a_public_client_needs_no_secret(provider: ProviderProcess, tmp_path: Path) -> None:
    provider.set(is_public=True)
    assert log_in(provider, provider.client(tmp_path, client_secret_file=None)).subject == "42"
    provider.set(is_public=False)
    with pytest.raises(LoginProviderError, match="secret right"):
        log_in(provider, provider.client(tmp_path, client_secret_file=None))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256"])
def test_new_keys_are_asked_for_when_a_token_names_one(
    provider: ProviderProcess, tmp_path: Path, algorithm: str
) -> None:
    client = provider.client(tmp_path)
    log_in(provider, client)
    provider.set(rotate=algorithm)
    assert log_in(provider, client).subject == "42"
    log_in(provider, client)
    assert provider.set(reset=True).count("/jwks") == 2
    # A stranger who makes up keys cannot have them asked for again and again.
    provider.set(header={"kid": "made up"})
    for _ in range(3):
        with pytest.raises(UnauthorizedError, match="none of its keys"):
            log_in(provider, client)
    assert provider.set().count("/jwks") == 0


def test_a_token_that_names_no_key_is_checked_with_each(provider: ProviderProcess, tmp_path: Path) -> None:
    provider.set(header={"kid": None})
    assert log_in(provider, provider.client(tmp_path)).subject == "42"


@pytest.mark.parametrize("sign_with", ["none", "HS256", "another key"])
def test_a_signature_that_proves_nothing_is_refused(provider: ProviderProcess, tmp_path: Path, sign_with: str) -> None:
    provider.set(sign_with=sign_with)
    with pytest.raises(UnauthorizedError, match=r"proves nothing|not the provider's"):
        log_in(provider, provider.client(tmp_path))


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"iss": "https://evil.example.org"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "another client"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": ["rafiki", "another"]}, "azp"),
        ({"aud": ["rafiki", "another"], "azp": "another"}, "azp"),
        ({"azp": "another"}, "azp"),
        ({"exp": 1_000_000_000}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": "tomorrow"}, "exp"),
        ({"iat": 9_999_999_999}, "iat"),
        ({"iat": None}, "iat"),
        ({"nbf": 9_999_999_999}, "nbf"),
        ({"nonce": "of another login"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "at_hash"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 42}, "sub"),
        ({"sub": "x" * 256}, "sub"),
    ],
)
def test_a_token_for_another_time_place_or_login_is_refused(
    provider: ProviderProcess, tmp_path: Path, claims: dict[str, Any], named: str
) -> None:
    provider.set(claims=claims)
    with pytest.raises(UnauthorizedError, match=named) as refused:
        log_in(provider, provider.client(tmp_path))
    assert refused.value.http_status == 401


@pytest.mark.parametrize("off_s", [-30, 30])
def test_clocks_may_differ_a_little(provider: ProviderProcess, tmp_path: Path, off_s: int) -> None:
    now = int(time.time())
    times = {"iat": now + off_s, "exp": now + off_s} if off_s < 0 else {"iat": now + off_s, "nbf": now + off_s}
    provider.set(claims=times)
    assert log_in(provider, provider.client(tmp_path)).subject == "42"
    with pytest.raises(UnauthorizedError):
        log_in(provider, provider.client(tmp_path, clock_skew_s=5.0))


def test_more_audiences_are_taken_where_the_token_is_made_for_us(provider: ProviderProcess, tmp_path: Path) -> None:
    provider.set(claims={"aud": ["another", "rafiki"], "azp": "rafiki"})
    assert log_in(provider, provider.client(tmp_path)).subject == "42"


@pytest.mark.parametrize(
    "other",
    [{"code": "made up"}, {"verifier": "v" * 43}, {"redirect_uri": "http://127.0.0.1:9/other"}, {"nonce": "n" * 43}],
)
def test_a_code_is_good_for_the_login_that_it_was_given_to(
    provider: ProviderProcess, tmp_path: Path, other: dict[str, str]
) -> None:
    with pytest.raises(UnauthorizedError):
        log_in(provider, provider.client(tmp_path), **other)


def test_a_browser_that_comes_back_from_another_provider_is_refused(provider: ProviderProcess, tmp_path: Path) -> None:
    client = provider.client(tmp_path)
    assert log_in(provider, client, returned_issuer=provider.issuer).subject == "42"
    with pytest.raises(UnauthorizedError, match="another provider"):
        log_in(provider, client, returned_issuer="https://evil.example.org")
    provider.set(description={"authorization_response_iss_parameter_supported": True})
    with pytest.raises(UnauthorizedError, match="another provider"):
        log_in(provider, provider.client(tmp_path))


# ---- a device without a browser


def test_a_device_waits_until_somebody_agrees_elsewhere(provider: ProviderProcess, tmp_path: Path) -> None:
    client = provider.client(tmp_path)
    device = client.start_device()
    assert client.finish_device(device.device_code) == Pending(0.0)
    provider.open(str(device.url_with_code))
    person = client.finish_device(device.device_code)
    assert isinstance(person, Person)
    assert (person.subject, device.interval_s, device.expires_in_s) == ("42", 1.0, 600)
    with pytest.raises(UnauthorizedError, match="expired"):
        client.finish_device(device.device_code)


def test_a_device_learns_of_a_refusal_and_of_haste(provider: ProviderProcess, tmp_path: Path) -> None:
    client = provider.client(tmp_path)
    device = client.start_device()
    provider.open(f"{device.url_with_code}&decision=no")
    with pytest.raises(UnauthorizedError, match="refused"):
        client.finish_device(device.device_code)
    provider.set(raw={"/token": [400, '{"error": "slow_down"}', {}]})
    assert client.finish_device(device.device_code) == Pending(5.0)


@pytest.mark.parametrize(
    "fault",
    [
        {"description": {"device_authorization_endpoint": None}},
        {"raw": {"/device_authorization": [200, "{}", {}]}},
        {"raw": {"/device_authorization": [400, '{"error": "unauthorized_client"}', {}]}},
    ],
)
def test_a_provider_without_logins_of_devices_says_so(
    provider: ProviderProcess, tmp_path: Path, fault: dict[str, Any]
) -> None:
    provider.set(**fault)
    with pytest.raises(LoginProviderError):
        provider.client(tmp_path).start_device()


# ---- who is let in


def test_claims_that_only_userinfo_has_are_asked_for_there(provider: ProviderProcess, tmp_path: Path) -> None:
    provider.set(only_in_userinfo=["email", "email_verified", "groups"])
    client = provider.client(tmp_path, roles={"staff": "MODEL_DEVELOPER"})
    assert log_in(provider, client).role is UserType.MODEL_DEVELOPER
    provider.set(userinfo={"sub": "43"})
    with pytest.raises(UnauthorizedError, match="two things"):
        log_in(provider, client)


@pytest.mark.parametrize(
    ("person", "settings", "expected"),
    [
        ({"groups": ["staff", "admins"]}, {}, UserType.ADMIN),
        ({"groups": "staff"}, {}, UserType.MODEL_DEVELOPER),
        ({"groups": ["others"]}, {}, UserType.APP_DEVELOPER),
        ({"groups": []}, {"default_role": None}, "group"),
        ({"groups": [1, None, {}]}, {"default_role": None}, "group"),
        ({"realm": {"roles": ["admins"]}}, {"roles_claim": "realm.roles"}, UserType.ADMIN),
        ({"https://x.org/roles": ["admins"]}, {"roles_claim": "https://x.org/roles"}, UserType.ADMIN),
        ({"email": None}, {}, "no email"),
        ({"email": "no email"}, {}, "no email"),
        ({"email": ["a@example.org"]}, {}, "no email"),
        ({"email_verified": False}, {}, "not true"),
        ({"email_verified": None}, {}, "not true"),
        ({"email_verified": "true"}, {}, UserType.MODEL_DEVELOPER),
        ({"email_verified": None}, {"email_verified_claim": None}, UserType.MODEL_DEVELOPER),
        ({"upn": "bob@example.org"}, {"email_claim": "upn"}, UserType.MODEL_DEVELOPER),
        ({}, {"email_domains": ["EXAMPLE.org"]}, UserType.MODEL_DEVELOPER),
        ({}, {"email_domains": ["ample.org", "sub.example.org"]}, "may not log in"),
        ({"email": "ada@evil.org@example.org"}, {}, "no email"),
    ],
)
def test_settings_say_whom_claims_let_in_and_as_what(
    provider: ProviderProcess, tmp_path: Path, person: dict[str, Any], settings: dict[str, Any], expected: Any
) -> None:
    whole = {"sub": "42", "email": "ada@example.org", "email_verified": True, "groups": ["staff"], **person}
    provider.set(person={k: v for k, v in whole.items() if v is not None})
    client = provider.client(tmp_path, **{"roles": {"admins": "ADMIN", "staff": "MODEL_DEVELOPER"}, **settings})
    if isinstance(expected, UserType):
        assert log_in(provider, client).role is expected
        return
    with pytest.raises(UnauthorizedError, match=expected) as refused:
        log_in(provider, client)
    assert refused.value.http_status == 403


# ---- a provider that is down, slow or something else


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/jwks"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("hang", "within 1 s"),
        ("drip", "within 1 s"),
        ([302, "", {"location": "http://169.254.169.254/latest"}], "redirects to http://169.254.169.254/latest"),
        ([200, 2 << 20, {}], "more than 1,048,576 bytes"),
        ([200, "<html>", {}], "no JSON"),
        ([200, "[]", {}], "no object"),
        ([200, "{}", {}], "missing|no ID token|no key"),
        ([500, "{}", {}], "status 500|no key"),
        ([200, "{}", {"content-encoding": "gzip"}], "compressed"),
    ],
)  # fmt: skip
def test_a_provider_that_answers_badly_costs_a_clear_error(
    provider: ProviderProcess, tmp_path: Path, path: str, fault: Any, said: str
) -> None:
    client = provider.client(tmp_path, timeout_s=1.0 if isinstance(fault, str) else 30.0)
    provider.set(**({fault: [path]} if isinstance(fault, str) else {"raw": {path: fault}}))
    with pytest.raises(LoginProviderError, match=said):
        log_in(provider, client)
    # And it is asked again, not given up.
    provider.set(reset=True)
    assert log_in(provider, provider.client(tmp_path)).subject == "42"


def test_a_provider_that_is_down_costs_a_clear_error(provider: ProviderProcess, tmp_path: Path) -> None:
    client = provider.client(tmp_path, issuer="http://127.0.0.1:1")
    with pytest.raises(LoginProviderError, match=r"127\.0\.0\.1:1"):
        client.start_device()


def test_so_many_wait_for_a_slow_provider_and_one_more_is_refused_at_once(
    provider: ProviderProcess, tmp_path: Path
) -> None:
    client, path = provider.client(tmp_path, timeout_s=20.0), "/.well-known/openid-configuration"
    provider.set(hang=[path])
    with ThreadPoolExecutor(16) as waiting:
        answers = [waiting.submit(client.start_device) for _ in range(16)]
        eventually(lambda: provider.set().count(path) == 16, "the provider is asked")
        with pytest.raises(LoginProviderError, match="Too many logins"):
            client.start_device()
        assert not any(a.done() for a in answers)
        provider.set(hang=[], let_go=True)
        assert all(isinstance(a.exception(60), LoginProviderError) for a in answers)
    assert log_in(provider, client).subject == "42"


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({"issuer": "https://evil.example.org"}, "describes the issuer 'https://evil.example.org'"),
        ({"token_endpoint": None}, "'token_endpoint' is missing"),
        ({"token_endpoint": "http://evil.example.org/token"}, "neither https"),
        ({"jwks_uri": "file:///etc/passwd"}, "neither https"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "neither https"),
        ({"userinfo_endpoint": "http://user@127.0.0.1/"}, "neither https"),
        ({"jwks_uri": 3}, "no description"),
    ],
)
def test_a_wrong_description_is_refused_with_what_is_wrong(
    provider: ProviderProcess, tmp_path: Path, description: dict[str, Any], said: str
) -> None:
    provider.set(description=description)
    with pytest.raises(LoginProviderError, match=said):
        log_in(provider, provider.client(tmp_path))
