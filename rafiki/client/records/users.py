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
from rafiki.contract.oidc import (
    FINISH_OIDC_LOGIN,
    GET_OIDC,
    SET_IDENTITY,
    START_OIDC_LOGIN,
    FinishOidcLoginRequest,
    OidcLoginView,
    OidcStartView,
    OidcView,
    SetIdentityRequest,
    StartOidcLoginRequest,
)
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

    def create_user(self, email: str, password: str, user_type: UserType, *, is_typed: bool = False) -> UserView:
        """Create a user."""
        request = CreateUserRequest(email=email, password=password, user_type=user_type, is_typed=is_typed)
        return self._call(CREATE_USER, request)

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

    def get_oidc(self) -> OidcView:
        """Whether accounts of an organisation may log in."""
        return self._call(GET_OIDC, Empty())

    def start_oidc_login(self, redirect_uri: str | None = None) -> OidcStartView:
        """Begin a login with an account of an organisation."""
        return self._call(START_OIDC_LOGIN, StartOidcLoginRequest(redirect_uri=redirect_uri))

    def finish_oidc_login(
        self,
        login: str,
        *,
        code: str | None = None,
        state: str | None = None,
        iss: str | None = None,
        link_to: str | None = None,
    ) -> OidcLoginView:
        """Finish a login; once nothing is pending, later calls are made as that user."""
        request = FinishOidcLoginRequest(login=login, code=code, state=state, iss=iss, link_to=link_to)
        answer = self._call(FINISH_OIDC_LOGIN, request)
        if not answer.is_pending:
            self.token = answer.token
        return answer

    def set_identity(self, email: str, subject: str | None) -> UserView:
        """Link a user to an account of the provider, or take all from them."""
        return self._call(SET_IDENTITY, SetIdentityRequest(email=email, subject=subject))

    def create_api_token(self, name: str, expires_in_s: int | None = None) -> NewApiTokenView:
        """Make an API token."""
        return self._call(CREATE_API_TOKEN, CreateApiTokenRequest(name=name, expires_in_s=expires_in_s))

    def get_api_tokens(self) -> list[ApiTokenView]:
        """Your API tokens that are not revoked."""
        return self._call(GET_API_TOKENS, Empty())

    def revoke_api_token(self, token_id: str) -> ApiTokenView:
        """Revoke one of your API tokens."""
        return self._call(REVOKE_API_TOKEN, RevokeApiTokenRequest(token_id=token_id))
