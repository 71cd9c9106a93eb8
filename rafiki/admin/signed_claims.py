"""Claims signed with a key, as JSON Web Tokens of the algorithm HS256 (RFC 7519, RFC 7515) and no other.

PyJWT writes the same, and loads all of cryptography where that is installed: a ninth of the admin's memory.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import msgspec

from rafiki.utils.values import JsonObject

_HEADER = b'{"alg":"HS256","typ":"JWT"}'


class ForgedError(Exception):
    """What came was not signed with this key, or is no token."""


def sign(claims: JsonObject, key: str) -> str:
    """A token that holds the claims for everybody to read, and nobody to change."""
    signed = _pack(_HEADER) + b"." + _pack(msgspec.json.encode(claims))
    return (signed + b"." + _signature(signed, key)).decode()


def read(token: str, key: str) -> JsonObject:
    """The claims of a token that :func:`sign` made with the key. Whether they still hold is the caller's to say.

    Raises:
        ForgedError: it did not.
    """
    signed, _, signature = token.encode(errors="replace").rpartition(b".")
    # Compared as text: each token has one spelling. And before anything of it is read.
    if not hmac.compare_digest(_signature(signed, key), signature):
        raise ForgedError
    try:
        header, claims = (msgspec.json.decode(_unpack(part)) for part in signed.split(b"."))
    except (ValueError, msgspec.DecodeError) as e:
        raise ForgedError from e
    if not isinstance(header, dict) or header.get("alg") != "HS256" or not isinstance(claims, dict):
        raise ForgedError
    return claims


def _signature(signed: bytes, key: str) -> bytes:
    return _pack(hmac.digest(key.encode(), signed, hashlib.sha256))


def _pack(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unpack(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
