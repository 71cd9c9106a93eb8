"""Ids, secrets and names are made here and nowhere else. What makes secrets is loaded when one is made."""

import re
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


VERSION_SIGN = "@"
"""Between a model's name and its version: ``wine@3``."""
_WITH_VERSION = re.compile(r"(.+)@([1-9][0-9]{0,8})")


def model_ref(name: str, version: int) -> str:
    """``wine@3``: one version of a model."""
    return f"{name}{VERSION_SIGN}{version}"


def parse_model_ref(text: str) -> tuple[str, int] | None:
    """Name and version of ``wine@3``; None for a text that names no version."""
    found = _WITH_VERSION.fullmatch(text)
    return (found[1], int(found[2])) if found else None


def model_label(name: str, version: int) -> str:
    """What a model is called within a train job, in which its name mostly is enough: ``wine``, later ``wine@3``."""
    return name if version == 1 else model_ref(name, version)


def trial_label(model_name: str, model_version: int, no: int) -> str:
    """``wine#4``, later ``wine@3#4``: a trial within its train job."""
    return f"{model_label(model_name, model_version)}#{no}"
