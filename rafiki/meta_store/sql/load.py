"""Makes a database of a dump: the schema that it was written with, then the rows, in one transaction."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Boolean, Column, Connection, DateTime, Float, Integer, LargeBinary, Table, inspect, text

from rafiki.errors import BackupRefusedError, DamagedFileError
from rafiki.meta_store.base.dump import DatabaseDump, DumpedTable, ReadTable, Renames, Row
from rafiki.meta_store.sql import schema
from rafiki.meta_store.sql.database import Database
from rafiki.meta_store.sql.dump import reflect
from rafiki.meta_store.sql.migrate import VERSION_TABLE, build_schema
from rafiki.utils.values import JsonValue

_ROWS_AT_ONCE = 500
_COMPANIONS = ("-wal", "-shm")


def is_empty(db: Database) -> bool:
    """See :meth:`rafiki.meta_store.MetaStore.is_empty`."""
    if db.is_sqlite:
        return not db.file.exists() or db.file.stat().st_size == 0
    with db.read() as connection:
        return not _own_tables(connection)


def load(db: Database, dump: DatabaseDump, read: ReadTable, renames: Renames, *, is_replacing: bool) -> Path | None:
    """See :meth:`rafiki.meta_store.MetaStore.load`."""
    if not is_replacing and not is_empty(db):
        raise BackupRefusedError(f"The database {db} holds a stack already.")
    if not db.is_sqlite:
        with build_schema(db, dump.revision, prepare=_drop_all) as connection:
            _fill(connection, dump, read, renames, is_sqlite=False)
        return None
    # Written beside its place, and put there whole. What was there may be damaged, and is moved away as it is.
    beside = db.file.with_name(f"{db.file.name}.restoring")
    _remove(beside)
    try:
        made = Database(f"sqlite:///{beside}")
        try:
            with build_schema(made, dump.revision) as connection:
                _fill(connection, dump, read, renames, is_sqlite=True)
        finally:
            made.close()
        return _put_in_place(beside, db.file)
    finally:
        _remove(beside)


def _put_in_place(made: Path, file: Path) -> Path | None:
    former = None
    if file.exists():
        former = file.with_name(f"{file.name}.before-restore-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
        for suffix in (*_COMPANIONS, ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{file}{suffix}", f"{former}{suffix}")
    # What a database left beside a file that is gone belongs to no other one.
    for suffix in _COMPANIONS:
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    os.replace(made, file)
    return former


def _remove(file: Path) -> None:
    for suffix in ("", *_COMPANIONS):
        Path(f"{file}{suffix}").unlink(missing_ok=True)


def _own_tables(connection: Connection) -> list[str]:
    known = {*schema.metadata.tables, VERSION_TABLE}
    return [name for name in inspect(connection).get_table_names() if name in known]


def _drop_all(connection: Connection) -> None:
    """Drop Rafiki's tables, unless a stack is at work on them."""
    others = connection.execute(
        text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND application_name = 'rafiki' AND client_port IS NOT NULL"
        )
    ).scalar_one()
    if others:
        raise BackupRefusedError(f"A stack is at work on the database ({others} connections). Stop it: `rafiki down`.")
    reflect(connection).drop_all(connection)
    connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))


def _fill(connection: Connection, dump: DatabaseDump, read: ReadTable, renames: Renames, *, is_sqlite: bool) -> None:
    tables = reflect(connection)
    given = {table.name: table for table in dump.tables}
    if set(given) != set(tables.tables):
        wrong = sorted(set(given) ^ set(tables.tables))
        raise DamagedFileError(f"The tables of the backup are not those of the schema {dump.revision}: {wrong[0]}.")
    for table in tables.sorted_tables:
        dumped = given[table.name]
        if sorted(dumped.columns) != sorted(table.columns.keys()):
            raise DamagedFileError(f"The columns of the table {table.name} are not those of the schema.")
        rows = _values(table, dumped, read(dumped), renames, is_sqlite=is_sqlite)
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            connection.execute(table.insert(), some)


def _values(
    table: Table, dumped: DumpedTable, rows: Iterator[Row], renames: Renames, *, is_sqlite: bool
) -> Iterator[dict[str, object]]:
    columns = [table.columns[name] for name in dumped.columns]
    renamed = [renames.get((table.name, name), {}) for name in dumped.columns]
    for row in rows:
        yield {
            column.name: _value(column, value, names, is_sqlite=is_sqlite)
            for column, value, names in zip(columns, row, renamed, strict=True)
        }


def _value(column: Column[object], value: JsonValue, names: Mapping[str, str], *, is_sqlite: bool) -> object:
    """A value as the column's type takes it.

    Raises:
        DamagedFileError: it is of another type.
    """
    kind = column.type
    if value is None:
        return None
    try:
        if isinstance(kind, Boolean) and isinstance(value, bool):
            return value
        if isinstance(kind, Integer) and isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(kind, Float) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
        if isinstance(kind, LargeBinary) and isinstance(value, str):
            return base64.b64decode(value, validate=True)
        if isinstance(kind, DateTime) and isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=None) if is_sqlite else at
        if isinstance(value, str) and not isinstance(kind, (Boolean, Integer, Float, LargeBinary, DateTime)):
            return names.get(value, value)
    except (ValueError, binascii.Error):
        pass
    raise DamagedFileError(f"The column {column.name} of the table {column.table.name} cannot be {str(value)[:40]!r}.")
