"""Passwords and tokens."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import argon2
import jwt

from rafiki.entities import User
from rafiki.errors import InvalidUserError, UnauthorizedError
from rafiki.meta_store.base import UserStore
from rafiki.utils.clock import utc_now
from rafiki.utils.ids import new_secret

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


_API_TOKEN_PREFIX = "rfk_"
"""By which people and scanners of leaked secrets know an API token."""


def new_api_token() -> str:
    """A fresh API token, with 256 bits of entropy."""
    return _API_TOKEN_PREFIX + new_secret()


def is_api_token(token: str) -> bool:
    """Whether a token is an API token and none of a login, by its form."""
    return token.startswith(_API_TOKEN_PREFIX)


def hash_api_token(token: str) -> str:
    """What is kept of an API token. One round of SHA-256 does: 256 bits of entropy cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def _password_mark(user: User) -> str:
    """Changes with the password, and tells nothing of it."""
    return hashlib.sha256(user.password_hash.encode()).hexdigest()[:16]


class Tokens:
    """Signed tokens that name a user for some hours. A new password of the user ends them."""

    def __init__(self, key: str, hours: float) -> None:
        self._key = key
        self._lifetime = timedelta(hours=hours)

    def issue(self, user: User) -> str:
        claims = {"sub": user.id, "exp": utc_now() + self._lifetime, "pwd": _password_mark(user)}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def user_of(self, token: str, users: UserStore) -> User:
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
        try:
            user = users.get_user(str(claims["sub"]))
        except InvalidUserError as e:
            raise UnauthorizedError("This token's user does not exist in this stack. Log in again.") from e
        if claims.get("pwd", _password_mark(user)) != _password_mark(user):
            raise UnauthorizedError("The password has changed since this login. Log in again with `rafiki login`.")
        return user
