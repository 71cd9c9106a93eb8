"""Writes all tables of a database down as they are at one moment, while others go on writing."""

from __future__ import annotations

import base64
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection, MetaData, create_engine, text

from rafiki.errors import MetaStoreError
from rafiki.meta_store.base.dump import DatabaseDump, DumpedTable
from rafiki.meta_store.sql import schema
from rafiki.meta_store.sql.database import GO_BACK, Database
from rafiki.meta_store.sql.migrate import stored_revision
from rafiki.utils.clock import Deadline

_LOCKED_TIMEOUT_S = 60.0
_BUSY_S = 0.1
_ROWS_AT_ONCE = 500
_BUSY = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED


def dump(db: Database, folder: Path) -> DatabaseDump:
    """See :meth:`rafiki.meta_store.MetaStore.dump`."""
    with _snapshot(db, folder) as connection:
        revision = stored_revision(connection)
        if revision is None:
            raise MetaStoreError(f"The database {db} has no tables of Rafiki: there is nothing to save.")
        return DatabaseDump(revision=revision, tables=[*_dump_tables(connection, folder)])


def size_bytes(db: Database) -> int:
    """See :meth:`rafiki.meta_store.MetaStore.size_bytes`."""
    if db.is_sqlite:
        files = [Path(f"{db.file}{suffix}") for suffix in ("", "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())
    with db.read() as connection:
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def reflect(connection: Connection) -> MetaData:
    """The tables of Rafiki that a database has, whatever revision it is at."""
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name in schema.metadata.tables)
    return found


@contextmanager
def _snapshot(db: Database, folder: Path) -> Iterator[Connection]:
    """A connection that sees one moment of the database."""
    if not db.is_sqlite:
        with db.read() as connection:
            connection.rollback()
            yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            connection.rollback()
        return
    copy = folder / "copy.db"
    _copy_sqlite(db, copy)
    engine = create_engine(f"sqlite:///{copy}")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
        copy.unlink(missing_ok=True)


def _copy_sqlite(db: Database, copy: Path) -> None:
    """The whole file, by the database's own means: writers go on, and what they have begun is not in it."""
    if not db.file.is_file():
        raise MetaStoreError(f"There is no database {db.file}: the stack was never up, or the file is gone.")
    deadline = Deadline(_LOCKED_TIMEOUT_S)

    def look(status: int, _remaining: int, _total: int) -> None:
        if status in _BUSY and deadline.is_over():
            raise MetaStoreError(
                f"The database {db.file} has been locked by another program for {_LOCKED_TIMEOUT_S:g} s. End it, then "
                "try again."
            )

    try:
        with closing(sqlite3.connect(db.file, timeout=_BUSY_S)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target, progress=look, sleep=_BUSY_S)
            [verdict] = target.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as e:
        raise _damaged(db, str(e)) from e
    if verdict != "ok":
        raise _damaged(db, verdict)


def _damaged(db: Database, reason: str) -> MetaStoreError:
    return MetaStoreError(f"The database {db.file} is damaged, so it cannot be saved ({reason}). {GO_BACK}")


def _dump_tables(connection: Connection, folder: Path) -> Iterator[DumpedTable]:
    for table in reflect(connection).sorted_tables:
        n_rows = 0
        rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(table.select())
        with (folder / f"{table.name}.jsonl").open("xb") as file:
            for row in rows:
                file.write(msgspec.json.encode([_plain(value) for value in row]) + b"\n")
                n_rows += 1
        yield DumpedTable(name=str(table.name), columns=[str(c.name) for c in table.columns], n_rows=n_rows)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, (bytes, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no such number.
    return value
