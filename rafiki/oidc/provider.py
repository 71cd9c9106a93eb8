"""One provider: what is known of it, and the flows of logins that it is asked for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from rafiki.errors import LoginProviderError, UnauthorizedError
from rafiki.oidc.description import Description, describe
from rafiki.oidc.exchange import Answer, ask
from rafiki.oidc.id_token import Login, PublicKey, UnknownKeyError, read_id_token, read_keys
from rafiki.oidc.person import Pending, Person, lacks_claims, read_person
from rafiki.oidc.settings import OidcClient
from rafiki.utils.clock import Deadline, utc_now
from rafiki.utils.values import JsonObject

_DESCRIBED_S = 3600.0
"""How long what a provider says of itself is believed."""
_KEYS_S = 3600.0
_NEW_KEYS_S = 10.0
"""How soon it may be asked for newer keys, when a token names one that is not known."""
_MOST_AT_ONCE = 16
"""Each holds one of the threads that serve all calls."""
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_MOST_SECONDS = 1800
_PENDING, _SLOW_DOWN = "authorization_pending", "slow_down"
_SLOWER_S = 5.0
"""RFC 8628, section 3.5."""


class DeviceLogin(NamedTuple):
    """What somebody opens in a browser, elsewhere."""

    device_code: str
    user_code: str
    url: str
    """Where the code is typed."""
    url_with_code: str | None
    expires_in_s: int
    interval_s: float
    """The least time between two looks."""


class Provider:
    """Safe to share between threads. Whatever it is asked waits ``oidc.timeout_s`` at most, in all."""

    def __init__(self, client: OidcClient) -> None:
        self.client = client
        self._trust = client.trust()
        self._at_once = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._description: tuple[float, Description] | None = None
        self._keys: tuple[float, list[PublicKey]] | None = None
        self._renewed_s = -_NEW_KEYS_S
        """When keys were last asked for because of one that was not known."""

    def authorization_url(self, redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
        """Where a browser goes, to come back to ``redirect_uri``.

        Raises:
            LoginProviderError: the provider cannot be asked.
        """
        with self._turn() as deadline:
            endpoint = self._describe(deadline).authorization_endpoint
        url = prepare_grant_uri(
            endpoint, self.client.client_id, "code", redirect_uri=redirect_uri, scope=" ".join(self.client.scopes),
            state=state, nonce=nonce, code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )  # fmt: skip
        return str(url)

    def finish_code(
        self, code: str, *, redirect_uri: str, nonce: str, verifier: str, returned_issuer: str | None = None
    ) -> Person:
        """Who has come back with a code.

        Args:
            returned_issuer: what came back beside the code (RFC 9207); None = nothing.

        Raises:
            UnauthorizedError: the provider does not take the code, or the person is not let in.
            LoginProviderError: the provider cannot be asked.
        """
        with self._turn() as deadline:
            description = self._describe(deadline)
            is_due = description.authorization_response_iss_parameter_supported
            if (is_due or returned_issuer is not None) and returned_issuer != self.client.issuer:
                raise UnauthorizedError("The browser came back from another provider. Log in again.")
            body = prepare_token_request(
                "authorization_code", "", redirect_uri=redirect_uri, code=code, code_verifier=verifier
            )
            answer = self._ask_as_client(description.token_endpoint, body, deadline)
            if (error := answer.error()) is not None:
                raise UnauthorizedError(f"The provider does not take the code ({error}). Log in again.")
            return self._person(answer, nonce, deadline)

    def start_device(self) -> DeviceLogin:
        """Begin a login whose browser is elsewhere (RFC 8628).

        Raises:
            LoginProviderError: the provider cannot be asked, or offers no such logins.
        """
        with self._turn() as deadline:
            endpoint = self._describe(deadline).device_authorization_endpoint
            if endpoint is None:
                raise LoginProviderError(
                    f"{self.client.issuer} offers no logins of devices without a browser "
                    "(device_authorization_endpoint). Use `rafiki login --oidc --browser`."
                )
            body_sent = urlencode({"scope": " ".join(self.client.scopes)})
            answer = self._ask_as_client(endpoint, body_sent, deadline)
        body = answer.body
        texts = [body.get(name) for name in ("device_code", "user_code", "verification_uri")]
        if answer.status != 200 or not all(isinstance(t, str) and 0 < len(t) <= 2048 for t in texts):
            why = answer.error() or f"status {answer.status}, without a code"
            raise LoginProviderError(f"The provider begins no login of a device: {why}.")
        complete = body.get("verification_uri_complete")
        return DeviceLogin(
            device_code=str(texts[0]), user_code=str(texts[1]), url=str(texts[2]),
            url_with_code=complete if isinstance(complete, str) and len(complete) <= 2048 else None,
            expires_in_s=int(_seconds(body, "expires_in", 600)), interval_s=_seconds(body, "interval", 5),
        )  # fmt: skip

    def finish_device(self, device_code: str) -> Person | Pending:
        """Who has logged in with a device's code, if anybody has.

        Raises:
            UnauthorizedError: it was refused or has expired, or the person is not let in.
            LoginProviderError: the provider cannot be asked.
        """
        with self._turn() as deadline:
            endpoint = self._describe(deadline).token_endpoint
            body = prepare_token_request(_DEVICE_GRANT, "", device_code=device_code)
            answer = self._ask_as_client(endpoint, body, deadline)
            error = answer.error()
            if error in (_PENDING, _SLOW_DOWN):
                return Pending(_SLOWER_S if error == _SLOW_DOWN else 0.0)
            if error is not None:
                words = {"access_denied": "it was refused there", "expired_token": "the code has expired"}
                raise UnauthorizedError(f"The provider lets nobody in: {words.get(error, error)}. Log in again.")
            return self._person(answer, None, deadline)

    # ---- what it is asked

    @contextlib.contextmanager
    def _turn(self) -> Iterator[Deadline]:
        """Those who wait for a slow provider must not be so many that nobody else is served, so one more is refused at
        once."""
        deadline = Deadline(self.client.timeout_s)
        if not self._at_once.acquire(blocking=False):
            raise LoginProviderError("Too many logins wait for the provider. Try again later.")
        try:
            yield deadline
        finally:
            self._at_once.release()

    def _describe(self, deadline: Deadline) -> Description:
        known = self._description
        if known is None or time.monotonic() - known[0] > _DESCRIBED_S:
            found = describe(self.client.issuer, trust=self._trust, deadline=deadline)
            known = self._description = (time.monotonic(), found)
        return known[1]

    def _ask_as_client(self, endpoint: str, body: str, deadline: Deadline) -> Answer:
        methods = self._describe(deadline).token_endpoint_auth_methods_supported
        secret = self.client.secret
        if secret is None:
            method = "none"
        else:
            is_post = "client_secret_post" in methods and "client_secret_basic" not in methods
            method = "client_secret_post" if is_post else "client_secret_basic"
        client_id = self.client.client_id
        if method == "client_secret_basic":
            # RFC 6749, section 2.3.1: encoded before they are joined.
            client_id, secret = quote(client_id, safe=""), quote(secret or "", safe="")
        auth = ClientAuth(client_id, secret, method)
        url, headers, form = auth.prepare("POST", endpoint, dict[str, str](), body)
        answer = ask(str(url), form=str(form), headers=_plain(headers), trust=self._trust, deadline=deadline)
        if answer.status >= 500 or answer.error() in ("invalid_client", "unauthorized_client"):
            why = answer.error() or f"status {answer.status}"
            raise LoginProviderError(
                f"The provider does not serve this stack ({why}). Are oidc.client_id and the client's secret right?"
            )
        return answer

    def _person(self, answer: Answer, nonce: str | None, deadline: Deadline) -> Person:
        token, access_token = answer.body.get("id_token"), answer.body.get("access_token")
        if answer.status != 200 or not isinstance(token, str):
            raise LoginProviderError("The provider gives no ID token. Is 'openid' allowed as a scope of this client?")
        access_token = access_token if isinstance(access_token, str) else None
        login = Login(self.client.issuer, self.client.client_id, nonce, access_token)
        claims = self._read(token, login, deadline)
        if lacks_claims(claims, self.client) and access_token is not None:
            claims = {**self._user_info(claims, access_token, deadline), **claims}
        return read_person(claims, self.client)

    def _read(self, token: str, login: Login, deadline: Deadline) -> JsonObject:
        now_s, skew_s = utc_now().timestamp(), self.client.clock_skew_s
        for is_new in (False, True):
            with contextlib.suppress(UnknownKeyError):
                keys = self._find_keys(deadline, is_new=is_new)
                return read_id_token(token, keys, login, now_s=now_s, skew_s=skew_s)
        raise UnauthorizedError("The ID token of the provider is signed with none of its keys. Log in again.")

    def _find_keys(self, deadline: Deadline, *, is_new: bool) -> list[PublicKey]:
        """Its keys.

        Args:
            is_new: a token names one that is not among those that are known.
        """
        known, now_s = self._keys, time.monotonic()
        is_renewed = is_new and now_s - self._renewed_s >= _NEW_KEYS_S
        if is_renewed:
            self._renewed_s = now_s
        if known is None or is_renewed or now_s - known[0] > _KEYS_S:
            url = self._describe(deadline).jwks_uri
            found = read_keys(url, ask(url, trust=self._trust, deadline=deadline).body)
            known = self._keys = (now_s, found)
        return known[1]

    def _user_info(self, claims: JsonObject, access_token: str, deadline: Deadline) -> JsonObject:
        """More claims of the same person (OpenID Connect Core 1.0, 5.3)."""
        url = self._describe(deadline).userinfo_endpoint
        if url is None:
            return {}
        headers = {"authorization": f"Bearer {access_token}"}
        answer = ask(url, headers=headers, trust=self._trust, deadline=deadline)
        if answer.status != 200:
            raise LoginProviderError(f"{url} does not say who has logged in (status {answer.status}).")
        if answer.body.get("sub") != claims["sub"]:
            raise UnauthorizedError("The provider says two things about who has logged in. Log in again.")
        return answer.body


def _seconds(body: JsonObject, name: str, default: float) -> float:
    value = body.get(name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(min(max(value, 1), _MOST_SECONDS)) if is_number else default  # type: ignore[type-var,arg-type]


def _plain(headers: Mapping[str, object]) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers.items()}
