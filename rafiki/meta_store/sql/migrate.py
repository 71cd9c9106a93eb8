"""Brings a database to the schema of this code. Alembic is loaded only when there is something to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from rafiki import __version__
from rafiki.errors import NewerDatabaseError
from rafiki.meta_store.sql.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0014"
"""The newest revision in ``rafiki/meta_store/migrations/versions``."""

VERSION_TABLE = "alembic_version"
"""Where a database keeps its revision."""
_MIGRATIONS = Path(__file__).parent.parent / "migrations"
# Alembic keeps the running migration in module globals.
_ALEMBIC = threading.Lock()
_ADVISORY_LOCK = 7_236_571_104
"""Any number that nobody else locks in the same PostgreSQL database."""


def stored_revision(connection: Connection) -> str | None:
    """The revision that a database is at; None for one without a schema."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
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
        _check_known(stored, db)
        from alembic import command

        command.upgrade(config, HEAD)


def needs_migration(db: Database) -> bool:
    """Whether :func:`migrate` would do anything; see :meth:`rafiki.meta_store.MetaStore.needs_migration`."""
    with db.read() as connection:
        stored = stored_revision(connection)
        if stored != HEAD:
            _check_known(stored, db)
    return stored != HEAD


def downgrade(db: Database, revision: str) -> None:
    """Take migrations back until ``revision`` ("base" is the empty database). Data of newer columns is lost.

    Raises:
        NewerDatabaseError: the database is at a revision that this version of Rafiki does not know.
    """
    with _locked(db) as connection:
        config = _config(connection)
        _check_known(stored_revision(connection), db)
        from alembic import command

        command.downgrade(config, revision)


def is_known(revision: str) -> bool:
    """Whether this version of Rafiki can make and migrate a schema of that revision."""
    return revision in _known_revisions()


@contextmanager
def build_schema(
    db: Database, revision: str, prepare: Callable[[Connection], None] = lambda _: None
) -> Iterator[Connection]:
    """The schema of a revision in an empty database; what is done with the connection is part of one transaction.

    Args:
        prepare: what comes before it in the transaction, such as emptying the database.
    """
    with _locked(db) as connection:
        prepare(connection)
        from alembic import command

        command.upgrade(_config(connection), revision)
        yield connection


@contextmanager
def _locked(db: Database) -> Iterator[Connection]:
    """One transaction around all of it (both databases take back DDL), which other processes wait for."""
    with _ALEMBIC, db.change_schema() as connection:
        if not db.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield connection


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _check_known(stored: str | None, db: Database) -> None:
    if stored is not None and stored not in _known_revisions():
        raise NewerDatabaseError(
            f"The database {db} has the schema {stored}, which is newer than {HEAD}, the newest that this "
            f"version of Rafiki ({__version__}) knows. Install the Rafiki that wrote it, or a newer one. Nothing was "
            "changed."
        )
