"""Whether an ID token is the provider's, for us, for this login, and still good (OpenID Connect Core 1.0, 3.1.3.7)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, ClaimError, JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from rafiki.errors import LoginProviderError, UnauthorizedError
from rafiki.utils.values import JsonObject, JsonValue

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""With a key pair alone: never ``none``, and no HMAC, whose key would be one that everybody knows."""
_MOST_CHARS = 64 * 1024
_MOST_KEYS = 100
_MOST_SUBJECT_CHARS = 255
"""Section 2."""

PublicKey: TypeAlias = RSAKey | ECKey


class UnknownKeyError(Exception):
    """The token names a key that is not among those of the provider: it may have new ones."""


class Login(NamedTuple):
    """What a token has to be for."""

    issuer: str
    client_id: str
    nonce: str | None
    """None where the flow has none (of devices)."""
    access_token: str | None


def read_keys(url: str, body: JsonObject) -> list[PublicKey]:
    """The public keys of a provider; those of kinds that are not known are left out, as RFC 7517 says.

    Raises:
        LoginProviderError: there are none.
    """
    given = body.get("keys")
    found: list[PublicKey] = []
    for entry in given[:_MOST_KEYS] if isinstance(given, list) else []:
        key = _read_key(entry)
        if key is not None:
            found.append(key)
    if not found:
        raise LoginProviderError(f"{url} holds no key that signatures could be checked with.")
    return found


def _read_key(entry: JsonValue) -> PublicKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    public: dict[str, str | list[str]] = {
        name: value for name, value in entry.items() if isinstance(value, str) and name not in ("d", "p", "q")
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            key = JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, (RSAKey, ECKey)) else None


def read_id_token(token: str, keys: Sequence[PublicKey], login: Login, *, now_s: float, skew_s: float) -> JsonObject:
    """Its claims.

    Args:
        now_s: seconds since 1970.
        skew_s: how far the provider's clock may be off.

    Raises:
        UnknownKeyError: none of the keys is the one that it names.
        UnauthorizedError: it proves nothing, with the reason.
    """
    if len(token) > _MOST_CHARS:
        raise _refusal("it is too long")
    found = _verified(token, keys)
    claims = CodeIDToken(
        found.claims, found.header,
        {"iss": {"essential": True, "value": login.issuer}, "aud": {"essential": True, "value": login.client_id}},
        {"client_id": login.client_id, "nonce": login.nonce, "access_token": login.access_token},
    )  # fmt: skip
    try:
        claims.validate(now_s, skew_s)
    except ClaimError as e:
        raise _refusal(f"its claim {e.claim!r} is missing or wrong ({e.description or e.error})") from e
    except (JoseError, ValueError, TypeError) as e:
        raise _refusal(str(e) or type(e).__name__) from e
    subject = found.claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_SUBJECT_CHARS:
        raise _refusal("its claim 'sub' is no name of a user")
    return dict(found.claims)


def _verified(token: str, keys: Sequence[PublicKey]) -> jwt.Token:
    try:
        header = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError, TypeError) as e:
        raise _refusal("it is no signed token") from e
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in _ALGORITHMS:
        raise _refusal(f"it is signed with {str(algorithm)[:40]!r}, which proves nothing")
    candidates = [key for key in keys if kid is None or key.kid == kid]
    if not candidates:
        raise UnknownKeyError
    for key in candidates:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)
                return jwt.decode(token, key, algorithms=_ALGORITHMS)
        except BadSignatureError:
            continue
        except (JoseError, ValueError, TypeError):
            continue  # A key of another kind than the algorithm's.
    if kid is None:
        raise UnknownKeyError  # Signed with a newer one, perhaps.
    raise _refusal("its signature is not the provider's")


def _refusal(reason: str) -> UnauthorizedError:
    return UnauthorizedError(f"The ID token of the provider is not taken: {reason}. Log in again.")
