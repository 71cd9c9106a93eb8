"""Tokens and users."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.constants import UserType
from rafiki.contract.endpoint import (
    ADMINS,
    ALL_USERS,
    JOB_TIMEOUT_S,
    AnyEndpoint,
    Audited,
    Empty,
    Endpoint,
    RequestStruct,
)


class TokenRequest(RequestStruct, frozen=True, kw_only=True):
    email: str
    password: str


class TokenView(msgspec.Struct, frozen=True):
    user_id: str
    user_type: UserType
    token: str
    """Goes into the header ``Authorization: Bearer TOKEN``; it lasts `admin.token_hours`."""


class CreateUserRequest(RequestStruct, frozen=True, kw_only=True):
    email: str
    password: str
    user_type: UserType
    is_typed: bool = False
    """Whether a person chose the password: it is then held to the password policy also where no setting asks for it."""


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    email: str
    user_type: UserType
    banned_date: datetime | None = None
    """When the user was banned; None unless banned."""


class BanUserRequest(RequestStruct, frozen=True, kw_only=True):
    email: str
    hand_over_to: str | None = None
    """Email of the user who gets the datasets, models and jobs, which go on; None = live jobs are stopped."""


class SetUserTypeRequest(RequestStruct, frozen=True, kw_only=True):
    email: str
    user_type: UserType
    """The new role."""


class SetPasswordRequest(RequestStruct, frozen=True, kw_only=True):
    password: str
    """The new one."""
    old_password: str | None = None
    """Needed for one's own."""
    email: str | None = None
    """Whose; None = one's own."""


LOGIN: Endpoint[TokenRequest, TokenView] = Endpoint(
    name="login", method="POST", path="/tokens", request=TokenRequest, response=TokenView, roles=None,
    summary="A token for an email and a password.",
    audited=Audited("login", ("email",)),
)  # fmt: skip
CREATE_USER: Endpoint[CreateUserRequest, UserView] = Endpoint(
    name="create_user", method="POST", path="/users", request=CreateUserRequest, response=UserView, roles=ADMINS,
    is_login_only=True, summary="Create a user. Only the superadmin makes admins.",
    audited=Audited("user.create", ("email", "user_type", "id")),
)  # fmt: skip
GET_USERS: Endpoint[Empty, list[UserView]] = Endpoint(
    name="get_users", method="GET", path="/users", request=Empty, response=list[UserView], roles=ADMINS,
    summary="All users.",
)  # fmt: skip
GET_CURRENT_USER: Endpoint[Empty, UserView] = Endpoint(
    name="get_current_user", method="GET", path="/users/me", request=Empty, response=UserView, roles=ALL_USERS,
    summary="The user whom the token belongs to.",
)  # fmt: skip
BAN_USER: Endpoint[BanUserRequest, UserView] = Endpoint(
    name="ban_user", method="DELETE", path="/users", request=BanUserRequest, response=UserView, roles=ADMINS,
    timeout_s=JOB_TIMEOUT_S,
    summary="Ban a user for good, and stop their jobs or hand them over. Only the superadmin bans admins.",
    audited=Audited("user.ban", ("email", "hand_over_to", "id")),
)  # fmt: skip
SET_PASSWORD: Endpoint[SetPasswordRequest, UserView] = Endpoint(
    name="set_password", method="POST", path="/users/password", request=SetPasswordRequest, response=UserView,
    roles=ALL_USERS, is_login_only=True,
    summary="Change your own password, or reset that of a user as an admin. Only the superadmin resets those of "
    "admins. It ends the user's logins, not their API tokens.",
    audited=Audited("user.password", ("email", "id")),
)  # fmt: skip
SET_USER_TYPE: Endpoint[SetUserTypeRequest, UserView] = Endpoint(
    name="set_user_type", method="POST", path="/users/type", request=SetUserTypeRequest, response=UserView,
    roles=ADMINS, is_login_only=True,
    summary="Change the role of a user, from the next call on. Only the superadmin makes admins, and unmakes them.",
    audited=Audited("user.role", ("email", "user_type", "id")),
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [LOGIN, CREATE_USER, GET_USERS, GET_CURRENT_USER, BAN_USER, SET_PASSWORD, SET_USER_TYPE]
