"""Users in SQL."""

from __future__ import annotations

from rafiki.constants import UserType
from rafiki.entities import User
from rafiki.errors import InvalidUserError, UserAlreadyBannedError, UserExistsError
from rafiki.meta_store.base import UserStore
from rafiki.meta_store.sql.database import Refusals, not_found
from rafiki.meta_store.sql.records import Records
from rafiki.meta_store.sql.schema import users
from rafiki.utils.ids import new_id


class SqlUserStore(Records, UserStore):
    def create_user(self, email: str, password_hash: str, user_type: UserType) -> User:
        values = {
            "id": new_id(),
            "email": email,
            "email_key": email.casefold(),
            "password_hash": password_hash,
            "user_type": user_type,
            "datetime_created": self._db.now(),
        }
        taken = UserExistsError(f"A user with the email {email} exists already.")
        return self._create(users, User, values, Refusals(unique={"uq_users_email_key": taken}))

    def get_user(self, user_id: str) -> User:
        return self._get(users, User, user_id, "user", InvalidUserError)

    def find_user_by_email(self, email: str) -> User | None:
        return self._find(users, User, users.c.email_key == email.casefold())

    def list_users(self, *, offset: int = 0, limit: int | None = None) -> list[User]:
        return self._list(users, User, [], [users.c.datetime_created, users.c.id], offset, limit)

    def ban_user(self, user_id: str) -> User:
        not_banned = [users.c.id == user_id, users.c.banned_date.is_(None)]
        banned = self._update(users, User, not_banned, {"banned_date": self._db.now()})
        if banned is None:
            raise UserAlreadyBannedError(f"The user {self.get_user(user_id).email} is banned already.")
        return banned

    def set_password_hash(self, user_id: str, password_hash: str) -> User:
        changed = self._update(users, User, [users.c.id == user_id], {"password_hash": password_hash})
        if changed is None:
            raise not_found(InvalidUserError, "user", user_id)
        return changed
