"""Signatures of webhooks, by the specification Standard Webhooks (https://www.standardwebhooks.com), version v1:
HMAC-SHA256 over the id, the time and the body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from rafiki.utils.ids import derive_secret

ID_HEADER = "webhook-id"
TIME_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
_PREFIX = "whsec_"
_LEAST_BYTES = 16


def secret_of(job_key: str, receiver_id: str) -> str:
    """The secret of a user's webhook, as people are shown it. Nothing has to be stored for it."""
    return _PREFIX + base64.b64encode(bytes.fromhex(derive_secret(job_key, f"webhook {receiver_id}"))).decode()


def secret_bytes(secret: str) -> bytes:
    """What is signed with: what follows ``whsec_`` in base64, or the bytes of any other text.

    Raises:
        ValueError: it is too short, or no base64; the message says so, without the secret.
    """
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error as e:
            raise ValueError(f"what follows {_PREFIX} is no base64") from e
    else:
        key = secret.encode()
    if len(key) < _LEAST_BYTES:
        raise ValueError(f"it is shorter than {_LEAST_BYTES} bytes; `openssl rand -base64 32` makes a good one")
    return key


def sign(key: bytes, message_id: str, time_s: int, body: bytes) -> dict[str, str]:
    """The headers of a message that is sent at a time, in seconds since the epoch."""
    digest = hmac.new(key, f"{message_id}.{time_s}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {ID_HEADER: message_id, TIME_HEADER: str(time_s), SIGNATURE_HEADER: signature}
