"""Tokens of our own are JSON Web Tokens like those of others, and nothing else passes for one."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from rafiki.admin.signed_claims import ForgedError, read, sign

KEY = "k" * 40
CLAIMS: dict[str, Any] = {"sub": "ada", "exp": 4102444800, "pwd": "é"}


def packed(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_library_reads_what_is_signed_here_and_the_other_way_round() -> None:
    assert jwt.decode(sign(CLAIMS, KEY), KEY, algorithms=["HS256"]) == CLAIMS
    assert read(jwt.encode(CLAIMS, KEY, algorithm="HS256"), KEY) == CLAIMS
    assert read(sign(CLAIMS, KEY), KEY) == CLAIMS


@pytest.mark.parametrize(
    "token",
    [
        "", ".", "..", "a.b.c", "é.é.é", "\ud800", sign(CLAIMS, "another key"), sign(CLAIMS, KEY) + "=",
        sign(CLAIMS, KEY) + "A", sign(CLAIMS, KEY)[:-1], " " + sign(CLAIMS, KEY), sign(CLAIMS, KEY) + ".x",
        jwt.encode(CLAIMS, KEY, algorithm="HS512"), jwt.encode(CLAIMS, "", algorithm="none"),
        ".".join([packed({"alg": "HS256"}), packed({**CLAIMS, "sub": "eve"}), sign(CLAIMS, KEY).split(".")[2]]),
    ],
)  # fmt: skip
def test_what_was_not_signed_with_the_key_is_refused(token: str) -> None:
    with pytest.raises(ForgedError):
        read(token, KEY)


@pytest.mark.parametrize("claims", [["a list"], "a text", None])
def test_what_is_signed_and_holds_no_claims_is_refused(claims: Any) -> None:
    with pytest.raises(ForgedError):
        read(sign(claims, KEY), KEY)


def test_another_algorithm_is_refused_though_the_signature_fits() -> None:
    import hashlib
    import hmac

    signed = f"{packed({'alg': 'none'})}.{packed(CLAIMS)}".encode()
    signature = base64.urlsafe_b64encode(hmac.digest(KEY.encode(), signed, hashlib.sha256)).rstrip(b"=")
    with pytest.raises(ForgedError):
        read((signed + b"." + signature).decode(), KEY)
