"""Users in SQL."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, select, update

from rafiki.constants import UserType
from rafiki.entities import Identity, User
from rafiki.errors import InvalidRequestError, InvalidUserError, UserAlreadyBannedError, UserExistsError
from rafiki.meta_store.base import UserStore
from rafiki.meta_store.sql.database import Parents, Refusals, not_found
from rafiki.meta_store.sql.outbox import turn_off
from rafiki.meta_store.sql.records import Records, to_entity
from rafiki.meta_store.sql.schema import (
    columns_of,
    datasets,
    identities,
    inference_jobs,
    models,
    predictor_keys,
    receivers,
    train_jobs,
    users,
)
from rafiki.utils.ids import new_id


def _same_names(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"Field 'hand_over_to': that user has {what} too. Name another user.")


_SAME_NAMES = Refusals(
    unique={
        "uq_models_user_id_name_version": _same_names("a model of the same name"),
        "uq_train_jobs_user_id_app_app_version": _same_names("an app of the same name"),
        "uq_train_jobs_live": _same_names("an app of the same name"),
    }
)
"""Made between the look and the change."""


def _hand_over(connection: Connection, user_id: str, heir_id: str) -> None:
    """Versions of an app or a model are one owner's: two that only share a name must not become one."""
    for table, column, noun in ((train_jobs, train_jobs.c.app, "app"), (models, models.c.name, "model")):
        of_heir = select(column).where(table.c.user_id == heir_id)
        both = select(column).where(table.c.user_id == user_id, column.in_(of_heir)).distinct().order_by(column)
        if names := list(connection.execute(both).scalars()):
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise _same_names(f"the {noun}(s) {', '.join(names[:5])}{more}")
    for table in (datasets, models, train_jobs, inference_jobs, predictor_keys):
        connection.execute(update(table).where(table.c.user_id == user_id).values(user_id=heir_id))


_TAKEN = UserExistsError("That account of the provider belongs to a user already.")


class SqlUserStore(Records, UserStore):
    def create_user(
        self, email: str, password_hash: str, user_type: UserType, *, identity: Identity | None = None
    ) -> User:
        values = {
            "id": new_id(),
            "email": email,
            "email_key": email.casefold(),
            "password_hash": password_hash,
            "user_type": user_type,
            "datetime_created": self._db.now(),
        }
        taken = UserExistsError(f"A user with the email {email} exists already.")
        refusals = Refusals(unique={"uq_users_email_key": taken, "pk_identities": _TAKEN})
        if identity is None:
            return self._create(users, User, values, refusals)
        with self._db.write(refusals) as connection:
            user = self._insert(connection, users, User, values)
            connection.execute(identities.insert().values(**self._identity(user.id, identity)))
        return user

    def _identity(self, user_id: str, identity: Identity) -> dict[str, object]:
        return {**msgspec.structs.asdict(identity), "user_id": user_id, "datetime_created": self._db.now()}

    def find_user_by_identity(self, identity: Identity) -> User | None:
        is_it = (identities.c.issuer == identity.issuer, identities.c.subject == identity.subject)
        owner = select(identities.c.user_id).where(*is_it).scalar_subquery()
        return self._find(users, User, users.c.id == owner)

    def add_identity(self, user_id: str, identity: Identity) -> None:
        parents = [Parents(users, [user_id], "user", InvalidUserError)]
        with self._db.write_once(Refusals(unique={"pk_identities": _TAKEN}, parents=parents)) as connection:
            connection.execute(identities.insert().values(**self._identity(user_id, identity)))

    def remove_identities(self, user_id: str) -> int:
        with self._db.write_once() as connection:
            return connection.execute(delete(identities).where(identities.c.user_id == user_id)).rowcount

    def get_user(self, user_id: str) -> User:
        return self._get(users, User, user_id, "user", InvalidUserError)

    def find_user_by_email(self, email: str) -> User | None:
        return self._find(users, User, users.c.email_key == email.casefold())

    def list_users(self, *, offset: int = 0, limit: int | None = None) -> list[User]:
        return self._list(users, User, [], [users.c.datetime_created, users.c.id], offset, limit)

    def ban_user(self, user_id: str, *, heir_id: str | None = None) -> User:
        self.get_user(user_id)
        not_banned = (users.c.id == user_id, users.c.banned_date.is_(None))
        ban = update(users).where(*not_banned).values(banned_date=self._db.now()).returning(*columns_of(users, User))
        with self._db.write(_SAME_NAMES) as connection:
            row = connection.execute(ban).one_or_none()
            if row is not None and heir_id is not None:
                _hand_over(connection, user_id, heir_id)
            if row is not None:
                turn_off(connection, receivers.c.user_id == user_id, "Its user is banned.", self._db.now())
        if row is None:
            raise UserAlreadyBannedError(f"The user {self.get_user(user_id).email} is banned already.")
        return to_entity(User, row)

    def set_user_type(self, user_id: str, user_type: UserType) -> User:
        changed = self._update(users, User, [users.c.id == user_id], {"user_type": user_type})
        if changed is None:
            raise not_found(InvalidUserError, "user", user_id)
        return changed

    def set_password_hash(self, user_id: str, password_hash: str) -> User:
        changed = self._update(users, User, [users.c.id == user_id], {"password_hash": password_hash})
        if changed is None:
            raise not_found(InvalidUserError, "user", user_id)
        return changed
