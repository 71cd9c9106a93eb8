"""One migrated PostgreSQL database that is emptied after each test: a hundredth of the time that a new one takes."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
from support.stores.postgres_server import ExternalServer

_SHAPE = """
SELECT (SELECT string_agg(version_num, ',') FROM alembic_version),
       (SELECT string_agg(concat_ws(' ', table_name, column_name, data_type), ',' ORDER BY table_name, column_name)
        FROM information_schema.columns WHERE table_schema = 'public')
"""


class EmptiedDatabase:
    """What the tests of one process are lent, one after the other. Whoever changes its tables, or leaves them locked,
    ends its use: the next test gets a new one."""

    def __init__(self, server: ExternalServer, template: str) -> None:
        self._server = server
        self._template = template
        self._shape = self._look(template)
        self._name: str | None = None

    def lend(self) -> str:
        """The name of a database without records."""
        self._name = self._name or self._server.create_database(self._template)
        return self._name

    def take_back(self) -> None:
        """Empties it, or drops it."""
        assert self._name is not None
        try:
            is_clean = self._look(self._name) == self._shape and self._empty(self._name)
        except psycopg2.Error:
            is_clean = False
        if not is_clean:
            self.close()

    def close(self) -> None:
        if self._name is not None:
            self._server.drop_database(self._name)
            self._name = None

    def _empty(self, name: str) -> bool:
        with closing(psycopg2.connect(self._server.url_of(name))) as connection, connection, connection.cursor() as c:
            c.execute("SET LOCAL lock_timeout = '2s'")
            # Keys to other tables are not looked at meanwhile, so the order is of no matter.
            c.execute("SET LOCAL session_replication_role = replica")
            c.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
            c.execute("; ".join(f'DELETE FROM "{table}"' for (table,) in c.fetchall()))
        return True

    def _look(self, name: str) -> Any:
        with closing(psycopg2.connect(self._server.url_of(name))) as connection, connection.cursor() as cursor:
            cursor.execute(_SHAPE)
            return cursor.fetchone()
