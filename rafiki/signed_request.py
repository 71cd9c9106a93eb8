"""A request to a store that somebody with its credentials has signed: whoever has it may send it for a while."""

from __future__ import annotations

import msgspec


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for one object; nothing else follows from it. It is a credential, and not part of any message."""

    method: str
    """``GET`` or ``PUT``."""
    url: str
    """With the signature in its query."""
    headers: dict[str, str] = {}
    """Have to be sent as they are: they are signed too. Of a PUT: the size and the SHA-256 of its body."""

    def __repr__(self) -> str:
        return f"SignedRequest({self.method})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("method", self.method)]
