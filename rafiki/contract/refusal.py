"""How a refusal travels: the same body from the admin, from a predictor, and to what is not even HTTP."""

from __future__ import annotations

import msgspec

from rafiki.contract.endpoint import ErrorBody
from rafiki.errors import RafikiError, UnauthorizedError

_MOST_CHARS, _LAST_CHARS = 1000, 300
_CUT = " ... "


def refusal_headers(error: RafikiError) -> dict[str, str]:
    """The headers of the answer that tells of ``error``; who is not known is told how to say who it is (RFC 9110)."""
    headers = {"content-type": "application/json"}
    if error.http_status == UnauthorizedError.http_status:
        headers["www-authenticate"] = 'Bearer realm="rafiki"'
    return headers


def refusal_body(error: RafikiError) -> bytes:
    """The JSON body that tells of ``error``.

    Messages quote what came. So what is longer than 1,000 characters is cut in its middle, and what is no Unicode text
    (half a surrogate pair) is replaced.
    """
    message = error.message
    if len(message) > _MOST_CHARS:
        message = message[: _MOST_CHARS - _LAST_CHARS - len(_CUT)] + _CUT + message[-_LAST_CHARS:]
    return msgspec.json.encode(ErrorBody(error.code, message.encode(errors="replace").decode()))
