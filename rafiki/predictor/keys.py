"""Whether a request comes with a key that opens the predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rafiki.errors import UnauthorizedError
from rafiki.key_file import KeyReader

if TYPE_CHECKING:
    from starlette.types import Scope


def bearer_of(scope: Scope) -> bytes | None:
    """What ``Authorization: Bearer`` holds; None without such a header, empty with one of another scheme."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            return bytes(key.strip()) if scheme.lower() == b"bearer" else b""
    return None


def check_key(keys: KeyReader, scope: Scope) -> None:
    """
    Raises:
        UnauthorizedError: the request comes with no valid key.
    """
    if (key := bearer_of(scope)) is None:
        raise UnauthorizedError(
            "This predictor takes queries with a key only: `Authorization: Bearer KEY`. `rafiki key create APP` makes "
            "one."
        )
    if not keys.has(key):
        raise UnauthorizedError("This key is not valid here, or was revoked. Make one with `rafiki key create APP`.")
