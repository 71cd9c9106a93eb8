"""Ids, secrets and names are made here and nowhere else. What makes secrets is loaded when one is made."""

import uuid


def new_id() -> str:
    """A fresh random id (UUID 4, 36 characters) for a row of the meta store."""
    return str(uuid.uuid4())


def new_secret(n_bytes: int = 32) -> str:
    """A fresh URL-safe secret with ``n_bytes`` of entropy."""
    import secrets

    return secrets.token_urlsafe(n_bytes)


def derive_secret(master_secret: str, purpose: str) -> str:
    """A secret for one purpose (such as one job's cache credential), derived from the stack's own by HMAC-SHA256.

    Nothing has to be stored for it, and a restarted admin derives the same one.
    """
    import hashlib
    import hmac

    return hmac.new(master_secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def short_id(full_id: str) -> str:
    """The first 8 characters: what tables show to people."""
    return full_id[:8]
