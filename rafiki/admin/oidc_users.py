"""Who somebody is here whom a provider vouches for: found by the account there, never by an email alone."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rafiki.admin.auth import hash_password
from rafiki.constants import UserType
from rafiki.entities import Identity, User
from rafiki.errors import UnauthorizedError, UserExistsError
from rafiki.meta_store.base import UserStore
from rafiki.oidc.person import Person
from rafiki.utils.ids import new_secret


class Found(NamedTuple):
    """A user, and what this login has made of them."""

    user: User
    account: Literal["created", "linked"] | None


def find_or_create(users: UserStore, person: Person) -> Found:
    """The user of that account, made at the first login; their role follows the claim where it is mapped.

    Raises:
        UnauthorizedError: they are banned, or a user of that email logs in otherwise.
    """
    identity = Identity(person.issuer, person.subject)
    user = users.find_user_by_identity(identity)
    if user is not None:
        return Found(_follow(users, _not_banned(user), person), None)
    # Nobody knows the password: a login with one is possible only once an admin has set another.
    password_hash = hash_password(new_secret())
    try:
        made = users.create_user(person.email, password_hash, person.role, identity=identity)
    except UserExistsError as e:
        # Made by another login of the same person at the same time?
        user = users.find_user_by_identity(identity)
        if user is not None:
            return Found(_not_banned(user), None)
        error = UnauthorizedError.forbidden(
            f"There is a user {person.email} already, who does not log in with this account of the provider. Link "
            f"both: `rafiki login --oidc --link {person.email}` asks for the password once; or ask an admin."
        )
        error.of_user = person.email
        raise error from e
    return Found(made, "created")


def link(users: UserStore, person: Person, user: User) -> Found:
    """Make the account one more way for a user to log in, which that user has asked for.

    Raises:
        UnauthorizedError: it is another user's, or the superadmin's to be.
    """
    if user.user_type is UserType.SUPERADMIN:
        raise UnauthorizedError.forbidden("The superadmin logs in with the password alone.")
    identity = Identity(person.issuer, person.subject)
    try:
        users.add_identity(user.id, identity)
    except UserExistsError as e:
        owner = users.find_user_by_identity(identity)
        if owner is None or owner.id != user.id:
            raise UnauthorizedError.forbidden(
                "This account of the provider is another user's here. Log in with it, or ask an admin to take it from "
                "them: `rafiki user identity EMAIL --none`."
            ) from e
    return Found(_follow(users, user, person), "linked")


def _not_banned(user: User) -> User:
    if user.banned_date is not None:
        error = UnauthorizedError("This user is banned.")
        error.of_user = user.email
        raise error
    return user


def _follow(users: UserStore, user: User, person: Person) -> User:
    """What the role is by the claim, if it is; the superadmin's is nobody's to change."""
    if not person.is_mapped or user.user_type in (person.role, UserType.SUPERADMIN):
        return user
    return users.set_user_type(user.id, person.role)
