"""What the meta store promises about API tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from rafiki.entities import ApiToken


class ApiTokenStore(ABC):
    """Tokens that users made for programs, found by the hash of their secret. They are revoked, never deleted."""

    @abstractmethod
    def create_api_token(self, user_id: str, name: str, secret_hash: str, datetime_expires: datetime) -> ApiToken:
        """Add a token.

        Raises:
            InvalidUserError: there is no such user.
            ApiTokenExistsError: the user has one of that name that is not revoked.
        """

    @abstractmethod
    def find_api_token(self, secret_hash: str) -> ApiToken | None:
        """The token with that hash, revoked or expired ones too."""

    @abstractmethod
    def list_api_tokens(self, user_id: str) -> list[ApiToken]:
        """The tokens of a user that are not revoked, in order of creation."""

    @abstractmethod
    def set_api_token_used(self, token_id: str, *, unless_since: datetime) -> None:
        """Note that the token is used now. Changes nothing when it was used after ``unless_since``, and when there is
        no such token.
        """

    @abstractmethod
    def revoke_api_token(self, user_id: str, token_id: str) -> ApiToken:
        """Revoke the token from now on; cannot be undone. Of several calls at once, one succeeds.

        Raises:
            InvalidApiTokenError: the user has none with that id that is not revoked.
        """
