"""Users, datasets, models, jobs, trials and services in a database: SQLite at first, PostgreSQL when
outgrown.

Importing this package loads no database library; :func:`open_meta_store` does.
"""

from collections.abc import Callable
from datetime import datetime

from rafiki.meta_store.base import MetaStore, NamedReceiver
from rafiki.utils.clock import utc_now

__all__ = ["MetaStore", "NamedReceiver", "open_meta_store"]


def open_meta_store(url: str, now: Callable[[], datetime] = utc_now) -> MetaStore:
    """The meta store at ``url``: ``sqlite:////folder/file.db`` or
    ``postgresql://user:password@host:port/database``.

    Does not connect and does not migrate: the admin calls :meth:`MetaStore.migrate` once at its start, the
    other processes open a database that the admin has migrated. Open it after a fork, once in each process.

    Args:
        now: the clock that records are written by.

    Raises:
        ConfigError: the URL is malformed or names another kind of database.
    """
    from rafiki.meta_store.sql.store import SqlMetaStore

    return SqlMetaStore(url, now)
