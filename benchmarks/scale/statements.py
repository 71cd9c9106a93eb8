"""Counts what a meta store asks its database."""

from __future__ import annotations

from sqlalchemy import event

from rafiki.meta_store import MetaStore
from rafiki.meta_store.sql.store import SqlMetaStore

_WRITES = ("INSERT", "UPDATE", "DELETE")
_OF_TRANSACTIONS = ("BEGIN", "COMMIT", "PRAGMA")


class Statements:
    """Of one store, from now on."""

    def __init__(self, store: MetaStore) -> None:
        assert isinstance(store, SqlMetaStore)
        self.n = 0
        self.n_writes = 0
        self.n_rows_written = 0
        event.listen(store.engine, "after_cursor_execute", self._count)

    def _count(self, _connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(_OF_TRANSACTIONS):
            return
        self.n += 1
        # A CTE before an update is one, too.
        if statement.startswith(_WRITES) or (statement.startswith("WITH") and "UPDATE" in statement):
            self.n_writes += 1
            self.n_rows_written += max(1, getattr(cursor, "rowcount", 1))
