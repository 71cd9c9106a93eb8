"""Logins, users and API tokens."""

from __future__ import annotations

from rafiki.client.records.calls import Calls
from rafiki.constants import UserType
from rafiki.contract.api_tokens import (
    CREATE_API_TOKEN,
    GET_API_TOKENS,
    REVOKE_API_TOKEN,
    ApiTokenView,
    CreateApiTokenRequest,
    NewApiTokenView,
    RevokeApiTokenRequest,
)
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


class UserCalls(Calls):
    """Calls about who may do what."""

    def login(self, email: str, password: str) -> TokenView:
        """Log in; later calls are made as this user."""
        answer = self._call(LOGIN, TokenRequest(email=email, password=password))
        self.token = answer.token
        return answer

    def logout(self) -> None:
        """Forget the token."""
        self.token = None

    def get_current_user(self) -> UserView:
        """The user who is logged in."""
        return self._call(GET_CURRENT_USER, Empty())

    def create_user(self, email: str, password: str, user_type: UserType) -> UserView:
        """Create a user."""
        return self._call(CREATE_USER, CreateUserRequest(email=email, password=password, user_type=user_type))

    def get_users(self) -> list[UserView]:
        """All users."""
        return self._call(GET_USERS, Empty())

    def ban_user(self, email: str, *, hand_over_to: str | None = None) -> UserView:
        """Ban a user for good."""
        return self._call(BAN_USER, BanUserRequest(email=email, hand_over_to=hand_over_to))

    def set_user_type(self, email: str, user_type: UserType) -> UserView:
        """Change the role of a user."""
        return self._call(SET_USER_TYPE, SetUserTypeRequest(email=email, user_type=user_type))

    def set_password(self, password: str, *, old_password: str | None = None, email: str | None = None) -> UserView:
        """Change a password."""
        return self._call(SET_PASSWORD, SetPasswordRequest(password=password, old_password=old_password, email=email))

    def create_api_token(self, name: str, expires_in_s: int | None = None) -> NewApiTokenView:
        """Make an API token."""
        return self._call(CREATE_API_TOKEN, CreateApiTokenRequest(name=name, expires_in_s=expires_in_s))

    def get_api_tokens(self) -> list[ApiTokenView]:
        """Your API tokens that are not revoked."""
        return self._call(GET_API_TOKENS, Empty())

    def revoke_api_token(self, token_id: str) -> ApiTokenView:
        """Revoke one of your API tokens."""
        return self._call(REVOKE_API_TOKEN, RevokeApiTokenRequest(token_id=token_id))
