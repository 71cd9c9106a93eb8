"""Tokens and users."""

from __future__ import annotations

import re

from rafiki.admin.auth import hash_password, is_password
from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.operation import bind, bind_from
from rafiki.admin.ops.inference_jobs import stop_jobs_of
from rafiki.admin.password_policy import check_password
from rafiki.constants import UserType
from rafiki.contract.endpoint import Empty
from rafiki.contract.users import (
    BAN_USER,
    CREATE_USER,
    GET_CURRENT_USER,
    GET_USERS,
    LOGIN,
    SET_PASSWORD,
    SET_USER_TYPE,
    BanUserRequest,
    CreateUserRequest,
    SetPasswordRequest,
    SetUserTypeRequest,
    TokenRequest,
    TokenView,
    UserView,
)
from rafiki.entities import User
from rafiki.errors import InvalidPasswordError, InvalidRequestError, InvalidUserError, UnauthorizedError

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MOST_EMAIL_CHARS = 254
"""RFC 5321, section 4.5.3.1.3 less the angle brackets."""


def _view(user: User) -> UserView:
    return UserView(id=user.id, email=user.email, user_type=user.user_type, banned_date=user.banned_date)


def login(context: AdminContext, actor: None, request: TokenRequest, address: str | None) -> TokenView:
    with context.login_limits.attempt(request.email, address, request.password) as attempt:
        user = context.store.users.find_user_by_email(request.email)
        if not is_password(user, request.password) or user is None:
            attempt.fail()
            raise InvalidPasswordError
        attempt.succeed()
    if user.banned_date is not None:
        raise UnauthorizedError("This user is banned.")
    return TokenView(user.id, user.user_type, context.tokens.issue(user))


def create_user(context: AdminContext, actor: User, request: CreateUserRequest) -> UserView:
    email = request.email
    if not _EMAIL.fullmatch(email) or not email.isprintable() or len(email) > _MOST_EMAIL_CHARS:
        raise InvalidRequestError(f"Field 'email': {email[:80]!r} is no email address (name@host).")
    check_password(request.password, email, context.config.users, is_by_program=not request.is_typed)
    if request.user_type is UserType.SUPERADMIN:
        raise UnauthorizedError.forbidden("There is one superadmin; nobody can make another.")
    if request.user_type is UserType.ADMIN and actor.user_type is not UserType.SUPERADMIN:
        raise UnauthorizedError.forbidden("Only the superadmin makes admins.")
    user = context.store.users.create_user(
        email=email, password_hash=hash_password(request.password), user_type=request.user_type
    )
    return _view(user)


def set_password(context: AdminContext, actor: User, request: SetPasswordRequest, address: str | None) -> UserView:
    if not request.password:
        raise InvalidRequestError("Field 'password': must not be empty.")
    user = actor if request.email is None else context.store.users.find_user_by_email(request.email)
    if user is not None and user.id == actor.id:
        # Whoever sits at an unlocked terminal must not lock its owner out.
        if request.old_password is None:
            raise InvalidRequestError("Field 'old_password' is missing: it is needed for one's own password.")
        with context.login_limits.attempt(actor.email, address, request.old_password) as attempt:
            if not is_password(actor, request.old_password):
                attempt.fail()
                raise InvalidPasswordError("The old password is wrong.")
            attempt.succeed()
    elif not is_admin(actor):
        raise UnauthorizedError.forbidden("Only admins reset the passwords of others.")
    elif user is None:
        raise InvalidUserError(f"There is no user {(request.email or '')[:80]!r}.")
    elif is_admin(user) and actor.user_type is not UserType.SUPERADMIN:
        raise UnauthorizedError.forbidden("Only the superadmin resets the passwords of admins.")
    check_password(request.password, user.email, context.config.users)
    return _view(context.store.users.set_password_hash(user.id, hash_password(request.password)))


def get_users(context: AdminContext, actor: User, request: Empty) -> list[UserView]:
    return [_view(u) for u in context.store.users.list_users()]


def get_current_user(context: AdminContext, actor: User, request: Empty) -> UserView:
    return _view(actor)


def ban_user(context: AdminContext, actor: User, request: BanUserRequest) -> UserView:
    user = context.store.users.find_user_by_email(request.email)
    if user is None:
        raise InvalidUserError(f"There is no user {request.email[:80]!r}.")
    if user.id == actor.id:
        raise UnauthorizedError.forbidden("You cannot ban yourself.")
    if user.user_type in (UserType.ADMIN, UserType.SUPERADMIN) and actor.user_type is not UserType.SUPERADMIN:
        raise UnauthorizedError.forbidden("Only the superadmin bans admins.")
    heir = None if request.hand_over_to is None else _heir(context, user, request.hand_over_to)
    banned = context.store.users.ban_user(user.id, heir_id=heir.id if heir else None)
    # What was begun in the last moment is handed over to nobody.
    stop_jobs_of(context, user.id)
    return _view(banned)


def _heir(context: AdminContext, user: User, email: str) -> User:
    heir = context.store.users.find_user_by_email(email)
    if heir is None:
        raise InvalidUserError(f"Field 'hand_over_to': there is no user {email[:80]!r}.")
    if heir.id == user.id or heir.banned_date is not None:
        why = "is who is to be banned" if heir.id == user.id else "is banned"
        raise InvalidRequestError(f"Field 'hand_over_to': {heir.email} {why}. Name another user.")
    return heir


def set_user_type(context: AdminContext, actor: User, request: SetUserTypeRequest) -> UserView:
    user = context.store.users.find_user_by_email(request.email)
    if user is None:
        raise InvalidUserError(f"There is no user {request.email[:80]!r}.")
    if UserType.SUPERADMIN in (user.user_type, request.user_type):
        raise UnauthorizedError.forbidden(
            "There is one superadmin; nobody can make another, and nobody changes that role."
        )
    if user.id == actor.id:
        raise UnauthorizedError.forbidden("You cannot change your own role.")
    if UserType.ADMIN in (user.user_type, request.user_type) and actor.user_type is not UserType.SUPERADMIN:
        raise UnauthorizedError.forbidden("Only the superadmin makes admins, and takes that role from them.")
    return _view(context.store.users.set_user_type(user.id, request.user_type))


OPERATIONS = [
    bind_from(LOGIN, login),
    bind(CREATE_USER, create_user),
    bind(GET_USERS, get_users),
    bind(GET_CURRENT_USER, get_current_user),
    bind(BAN_USER, ban_user),
    bind(SET_USER_TYPE, set_user_type),
    bind_from(SET_PASSWORD, set_password),
]
