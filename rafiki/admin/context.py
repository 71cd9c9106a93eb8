"""What the admin's operations work with."""

from __future__ import annotations

import msgspec

from rafiki.admin.auth import Tokens
from rafiki.admin.supervisor import Supervisor
from rafiki.config import Config
from rafiki.constants import UserType
from rafiki.container.base import ContainerManager
from rafiki.data_store.base import DataStore
from rafiki.entities import User
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import InvalidUserError, UnauthorizedError
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.stack_folder import StackFolder


class AdminContext(msgspec.Struct, frozen=True, kw_only=True):
    """One stack, as the operations see it."""

    config: Config
    folder: StackFolder
    store: MetaStore
    datasets: DataStore
    params: ParamStore
    containers: ContainerManager
    environments: EnvironmentStore
    supervisor: Supervisor
    tokens: Tokens

    def user_of_token(self, token: str) -> User:
        """Who calls.

        Raises:
            UnauthorizedError: when the token is not valid or its user is banned.
        """
        try:
            user = self.store.users.get_user(self.tokens.user_id(token))
        except InvalidUserError as e:
            raise UnauthorizedError("This token's user does not exist in this stack. Log in again.") from e
        if user.banned_date is not None:
            raise UnauthorizedError("This user is banned.")
        return user


def is_admin(user: User) -> bool:
    return user.user_type in (UserType.ADMIN, UserType.SUPERADMIN)
