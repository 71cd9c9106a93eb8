"""Logins, users and API tokens."""

from __future__ import annotations

from rafiki.client.calls import Calls
from rafiki.client.plain_answers import Json
from rafiki.constants import UserType
from rafiki.contract import api_tokens, oidc, users


class UserCalls(Calls):
    """Calls about who may do what."""

    def login(self, email: str, password: str) -> Json:
        """Log in; later calls are made as this user. Returns ``id`` (and ``user_id``), ``user_type``, ``token``."""
        answer = self._one(users.LOGIN, email=email, password=password)
        self.token = answer["token"]
        return {"id": answer["user_id"], **answer}

    def logout(self) -> None:
        """Forget the token."""
        self.token, self._caller.find_token = None, None

    def get_current_user(self) -> Json | None:
        """The user who is logged in; None before a login."""
        return None if self._caller.known_token() is None else self._one(users.GET_CURRENT_USER)

    def create_user(self, email: str, password: str, user_type: str | UserType) -> Json:
        """Create a user of a :class:`~rafiki.constants.UserType`."""
        return self._one(users.CREATE_USER, email=email, password=password, user_type=str(user_type))

    def get_users(self) -> list[Json]:
        """All users."""
        return self._many(users.GET_USERS)

    def ban_user(self, email: str, *, hand_over_to: str | None = None) -> Json:
        """Ban a user for good.

        Args:
            hand_over_to: email of who gets their datasets, models and jobs, which go on; None = live jobs are stopped.
        """
        return self._one(users.BAN_USER, email=email, hand_over_to=hand_over_to)

    def set_user_type(self, email: str, user_type: str | UserType) -> Json:
        """Change the role of a user."""
        return self._one(users.SET_USER_TYPE, email=email, user_type=str(user_type))

    def set_password(self, password: str, *, old_password: str | None = None, email: str | None = None) -> Json:
        """Change a password, which ends the logins that were made with the old one: this client needs a new one too
        where it was its own.

        Args:
            password: the new one.
            old_password: needed for one's own.
            email: whose, for admins; None = one's own.
        """
        return self._one(users.SET_PASSWORD, password=password, old_password=old_password, email=email)

    def get_oidc(self) -> Json:
        """Whether accounts of an organisation may log in: ``issuer`` is the provider's address, or None."""
        return self._one(oidc.GET_OIDC)

    def start_oidc_login(self, redirect_uri: str | None = None) -> Json:
        """Begin a login with an account of an organisation.

        Args:
            redirect_uri: where the browser comes back to on this machine; None = the browser is on another device.

        Returns:
            ``url`` to open in a browser, ``login`` for :meth:`finish_oidc_login`; of another device's also
            ``user_code`` and ``interval_s``.
        """
        return self._one(oidc.START_OIDC_LOGIN, redirect_uri=redirect_uri)

    def finish_oidc_login(
        self,
        login: str,
        *,
        code: str | None = None,
        state: str | None = None,
        iss: str | None = None,
        link_to: str | None = None,
    ) -> Json:
        """Finish a login; once nothing ``is_pending``, later calls are made as that user.

        Args:
            login: what began it.
            code, state, iss: what the browser came back with; None = it is on another device.
            link_to: token of a user here, whose account at the provider this becomes.
        """
        answer = self._one(oidc.FINISH_OIDC_LOGIN, login=login, code=code, state=state, iss=iss, link_to=link_to)
        if not answer["is_pending"]:
            self.token = answer["token"]
        return answer

    def set_identity(self, email: str, subject: str | None) -> Json:
        """Link a user to the account of the provider with that id; None takes all such accounts from the user."""
        return self._one(oidc.SET_IDENTITY, email=email, subject=subject)

    def create_api_token(self, name: str, expires_in_s: int | None = None) -> Json:
        """Make an API token, which programs use instead of a login.

        Args:
            expires_in_s: how long it is valid; None = as long as the stack allows.

        Returns:
            ``id``, ``name``, ``datetime_expires`` and ``token``, which is shown this once.
        """
        return self._one(api_tokens.CREATE_API_TOKEN, name=name, expires_in_s=expires_in_s)

    def get_api_tokens(self) -> list[Json]:
        """Your API tokens that are not revoked, without the tokens themselves."""
        return self._many(api_tokens.GET_API_TOKENS)

    def revoke_api_token(self, token_id: str) -> Json:
        """Revoke one of your API tokens, from now on and for good."""
        return self._one(api_tokens.REVOKE_API_TOKEN, token_id=token_id)
