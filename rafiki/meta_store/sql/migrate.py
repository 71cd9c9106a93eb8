"""Brings a database to the schema of this code. Alembic is loaded only when there is something to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from rafiki import __version__
from rafiki.errors import NewerDatabaseError
from rafiki.meta_store.sql.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0010"
"""The newest revision in ``rafiki/meta_store/migrations/versions``."""

_VERSION_TABLE = "alembic_version"
_MIGRATIONS = Path(__file__).parent.parent / "migrations"
# Alembic keeps the running migration in module globals.
_ALEMBIC = threading.Lock()
_ADVISORY_LOCK = 7_236_571_104
"""Any number that nobody else locks in the same PostgreSQL database."""


def stored_revision(connection: Connection) -> str | None:
    """The revision that a database is at; None for one without a schema."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()
    return found


def migrate(db: Database) -> None:
    """Upgrade to :data:`HEAD`; see :meth:`rafiki.meta_store.MetaStore.migrate`."""
    with db.read() as connection:
        if stored_revision(connection) == HEAD:
            return
    with _locked(db) as connection:
        stored = stored_revision(connection)
        if stored == HEAD:
            return
        config = _config(connection)
        _check_known(config, stored, db)
        from alembic import command

        command.upgrade(config, HEAD)


def needs_migration(db: Database) -> bool:
    """Whether :func:`migrate` would do anything; see :meth:`rafiki.meta_store.MetaStore.needs_migration`."""
    with db.read() as connection:
        stored = stored_revision(connection)
        if stored != HEAD:
            _check_known(_config(connection), stored, db)
    return stored != HEAD


def downgrade(db: Database, revision: str) -> None:
    """Take migrations back until ``revision`` ("base" is the empty database). Data of newer columns is lost.

    Raises:
        NewerDatabaseError: the database is at a revision that this version of Rafiki does not know.
    """
    with _locked(db) as connection:
        config = _config(connection)
        _check_known(config, stored_revision(connection), db)
        from alembic import command

        command.downgrade(config, revision)


@contextmanager
def _locked(db: Database) -> Iterator[Connection]:
    """One transaction around all of it (both databases take back DDL), which other processes wait for."""
    with _ALEMBIC, db.change_schema() as connection:
        if not db.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield connection


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _check_known(config: Config, stored: str | None, db: Database) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if stored is not None and stored not in known:
        raise NewerDatabaseError(
            f"The database {db} has the schema {stored}, which is newer than {HEAD}, the newest that this "
            f"version of Rafiki ({__version__}) knows. Install the Rafiki that wrote it, or a newer one. Nothing was "
            "changed."
        )
