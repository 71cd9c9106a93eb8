"""Passwords and tokens."""

from __future__ import annotations

from datetime import timedelta

import argon2
import jwt

from rafiki.entities import User
from rafiki.errors import UnauthorizedError
from rafiki.utils.clock import utc_now

_ALGORITHM = "HS256"
# OWASP's Password Storage Cheat Sheet, Argon2id with 7 MiB and 5 passes: of its settings of equal strength the one with
# the least memory. The library's default of 64 MiB a login would be half of an admin's memory.
_hasher = argon2.PasswordHasher(time_cost=5, memory_cost=7 * 1024, parallelism=1)
_NOBODY = _hasher.hash("nobody has this password")


def hash_password(password: str) -> str:
    """An Argon2id hash with its salt and parameters."""
    return _hasher.hash(password)


def is_password(user: User | None, password: str) -> bool:
    """Whether the password is this user's; takes as long when there is no such user."""
    try:
        return _hasher.verify(user.password_hash if user else _NOBODY, password) and user is not None
    except argon2.exceptions.VerificationError:
        return False


class Tokens:
    """Signed tokens that name a user for some hours."""

    def __init__(self, key: str, hours: float) -> None:
        self._key = key
        self._lifetime = timedelta(hours=hours)

    def issue(self, user: User) -> str:
        claims = {"sub": user.id, "exp": utc_now() + self._lifetime}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def user_id(self, token: str) -> str:
        """Whom the token names.

        Raises:
            UnauthorizedError: when it is forged, damaged or too old.
        """
        try:
            claims = jwt.decode(token, self._key, algorithms=[_ALGORITHM], options={"require": ["sub", "exp"]})
        except jwt.ExpiredSignatureError as e:
            raise UnauthorizedError("Your login has expired. Log in again with `rafiki login`.") from e
        except jwt.InvalidTokenError as e:
            raise UnauthorizedError("This token is not valid. Log in with `rafiki login`.") from e
        return str(claims["sub"])
