"""What the meta store promises about users."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rafiki.constants import UserType
from rafiki.entities import Identity, User


class UserStore(ABC):
    """Users. An email keeps its spelling, and is compared without regard to case. Users are banned, never
    deleted.
    """

    @abstractmethod
    def create_user(
        self, email: str, password_hash: str, user_type: UserType, *, identity: Identity | None = None
    ) -> User:
        """Add a user, with an account at a provider or without, in the same moment.

        Raises:
            UserExistsError: a user has that email, in whatever case, banned or not; or that account.
        """

    @abstractmethod
    def get_user(self, user_id: str) -> User:
        """The user.

        Raises:
            InvalidUserError: there is none with that id.
        """

    @abstractmethod
    def find_user_by_email(self, email: str) -> User | None:
        """The user with that email in whatever case."""

    @abstractmethod
    def find_user_by_identity(self, identity: Identity) -> User | None:
        """The user whose account at a provider it is, banned or not."""

    @abstractmethod
    def add_identity(self, user_id: str, identity: Identity) -> None:
        """Give a user one more account at a provider.

        Raises:
            InvalidUserError: there is none with that id.
            UserExistsError: it is a user's already.
        """

    @abstractmethod
    def remove_identities(self, user_id: str) -> int:
        """Take all of a user's accounts at providers from them; returns how many they were."""

    @abstractmethod
    def list_users(self, *, offset: int = 0, limit: int | None = None) -> list[User]:
        """All users, in order of creation."""

    @abstractmethod
    def ban_user(self, user_id: str, *, heir_id: str | None = None) -> User:
        """Ban the user from now on; cannot be undone. Of several calls at once, one succeeds.

        With an heir, all that the user owns is the heir's in the same moment: datasets, models, train jobs and
        inference jobs, as they are.

        Raises:
            InvalidUserError: there is none with that id.
            UserAlreadyBannedError: that one is banned already.
            InvalidRequestError: the heir has an app or a model of the same name as the user; nothing is changed.
        """

    @abstractmethod
    def set_user_type(self, user_id: str, user_type: UserType) -> User:
        """Change the role.

        Raises:
            InvalidUserError: there is none with that id.
        """

    @abstractmethod
    def set_password_hash(self, user_id: str, password_hash: str) -> User:
        """Replace the password hash.

        Raises:
            InvalidUserError: there is none with that id.
        """
