"""What has to be known of a login until its browser comes back: sealed, and kept by whoever began it.

So the admin keeps nothing, forgets nothing at a restart, and cannot be filled up by logins that nobody finishes.
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Literal, TypeAlias

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from rafiki.errors import UnauthorizedError
from rafiki.utils.ids import derive_secret, new_secret

CODE_S = 600
"""How long somebody may take at the provider."""
_MOST_CHARS = 8192
Kind: TypeAlias = Literal["loopback", "page", "device"]


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """One login. Of another device's it is the code alone."""

    kind: Kind
    expires_s: float
    """Seconds since 1970."""
    redirect_uri: str = ""
    state: str = ""
    nonce: str = ""
    verifier: str = ""
    device_code: str = ""


def new_flow(kind: Kind, redirect_uri: str) -> Flow:
    """A flow whose browser comes back with a code: 256 bits each of what proves that it is this one."""
    return Flow(
        kind=kind, expires_s=time.time() + CODE_S, redirect_uri=redirect_uri, state=new_secret(), nonce=new_secret(),
        verifier=new_secret(),
    )  # fmt: skip


class FlowSeal:
    """Encrypts and signs flows with a key that is derived from the stack's."""

    def __init__(self, key: str) -> None:
        digest = hashlib.sha256(derive_secret(key, "oidc flows").encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def seal(self, flow: Flow) -> str:
        return self._fernet.encrypt(msgspec.json.encode(flow)).decode()

    def open(self, text: str, *kinds: Kind) -> Flow:
        """The flow.

        Raises:
            UnauthorizedError: it was not sealed here, is of another kind, or its time is over.
        """
        try:
            if len(text) > _MOST_CHARS:
                raise InvalidToken
            flow = msgspec.json.decode(self._fernet.decrypt(text.encode()), type=Flow)
        except (InvalidToken, msgspec.DecodeError, UnicodeError) as e:
            raise UnauthorizedError("This login was not begun here. Begin it anew.") from e
        if flow.kind not in kinds:
            raise UnauthorizedError("This login was begun in another way. Begin it anew.")
        if flow.expires_s <= time.time():
            raise UnauthorizedError("This login took too long. Begin it anew.")
        return flow
