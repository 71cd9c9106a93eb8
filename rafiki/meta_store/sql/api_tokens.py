"""API tokens in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import or_, update

from rafiki.entities import ApiToken
from rafiki.errors import ApiTokenExistsError, InvalidApiTokenError, InvalidUserError
from rafiki.meta_store.base import ApiTokenStore
from rafiki.meta_store.sql.database import Parents, Refusals, not_found
from rafiki.meta_store.sql.records import Records
from rafiki.meta_store.sql.schema import api_token_is_live, api_tokens, users
from rafiki.utils.ids import new_id


class SqlApiTokenStore(Records, ApiTokenStore):
    def create_api_token(self, user_id: str, name: str, secret_hash: str, datetime_expires: datetime) -> ApiToken:
        values = {
            "id": new_id(),
            "user_id": user_id,
            "name": name,
            "secret_hash": secret_hash,
            "datetime_created": self._db.now(),
            "datetime_expires": datetime_expires,
        }
        taken = ApiTokenExistsError(f"You have an API token named {name!r} already.")
        refusals = Refusals(
            unique={"uq_api_tokens_live": taken}, parents=[Parents(users, [user_id], "user", InvalidUserError)]
        )
        return self._create(api_tokens, ApiToken, values, refusals)

    def find_api_token(self, secret_hash: str) -> ApiToken | None:
        return self._find(api_tokens, ApiToken, api_tokens.c.secret_hash == secret_hash)

    def list_api_tokens(self, user_id: str) -> list[ApiToken]:
        where = [api_tokens.c.user_id == user_id, api_token_is_live]
        return self._list(api_tokens, ApiToken, where, [api_tokens.c.datetime_created, api_tokens.c.id])

    def set_api_token_used(self, token_id: str, *, unless_since: datetime) -> None:
        is_due = or_(api_tokens.c.datetime_used.is_(None), api_tokens.c.datetime_used <= unless_since)
        statement = update(api_tokens).where(api_tokens.c.id == token_id, is_due).values(datetime_used=self._db.now())
        with self._db.write_once() as connection:
            connection.execute(statement)

    def revoke_api_token(self, user_id: str, token_id: str) -> ApiToken:
        where = [api_tokens.c.id == token_id, api_tokens.c.user_id == user_id, api_token_is_live]
        revoked = self._update(api_tokens, ApiToken, where, {"datetime_revoked": self._db.now()})
        if revoked is None:
            raise not_found(InvalidApiTokenError, "API token", token_id)
        return revoked
