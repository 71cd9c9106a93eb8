"""Keys of predictors in SQL."""

from __future__ import annotations

from rafiki.entities import PredictorKey
from rafiki.errors import InvalidKeyError, InvalidUserError, KeyExistsError
from rafiki.meta_store.base import PredictorKeyStore
from rafiki.meta_store.sql.database import Parents, Refusals, not_found
from rafiki.meta_store.sql.records import Records
from rafiki.meta_store.sql.schema import predictor_key_is_live, predictor_keys, users
from rafiki.utils.ids import new_id


class SqlPredictorKeyStore(Records, PredictorKeyStore):
    def create_predictor_key(self, user_id: str, app: str, name: str, secret_hash: str) -> PredictorKey:
        values = {
            "id": new_id(),
            "user_id": user_id,
            "app": app,
            "name": name,
            "secret_hash": secret_hash,
            "datetime_created": self._db.now(),
        }
        taken = KeyExistsError(f"The app {app!r} has a key named {name!r} already.")
        refusals = Refusals(
            unique={"uq_predictor_keys_live": taken}, parents=[Parents(users, [user_id], "user", InvalidUserError)]
        )
        return self._create(predictor_keys, PredictorKey, values, refusals)

    def list_predictor_keys(self, user_id: str, app: str) -> list[PredictorKey]:
        where = [predictor_keys.c.user_id == user_id, predictor_keys.c.app == app, predictor_key_is_live]
        order = [predictor_keys.c.datetime_created, predictor_keys.c.id]
        return self._list(predictor_keys, PredictorKey, where, order)

    def revoke_predictor_key(self, user_id: str, app: str, key_id: str) -> PredictorKey:
        of_app = [predictor_keys.c.user_id == user_id, predictor_keys.c.app == app, predictor_key_is_live]
        values = {"datetime_revoked": self._db.now()}
        revoked = self._update(predictor_keys, PredictorKey, [predictor_keys.c.id == key_id, *of_app], values)
        if revoked is None:
            raise not_found(InvalidKeyError, "key", key_id)
        return revoked
