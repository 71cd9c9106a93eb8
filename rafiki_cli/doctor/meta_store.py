"""The database: whether it is whole, can be reached, and has the tables of this version."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import rafiki
from rafiki.errors import RafikiError
from rafiki.utils.clock import utc_now
from rafiki_cli.doctor.findings import Finding, ok, problem, skipped, warning
from rafiki_cli.doctor.subject import Subject
from rafiki_cli.render import values

_TIMEOUT_S = 5
_GO_BACK = "Go back to a backup: `rafiki down`, then `rafiki restore FILE --force`."
_LEAST_POSTGRES = 120_000
_REVISION = "SELECT version_num FROM alembic_version"


def newest_revision() -> str:
    """The revision of the tables that this version of Rafiki works with."""
    folder = Path(rafiki.__file__).parent / "meta_store" / "migrations" / "versions"
    return max(file.name[:4] for file in folder.glob("[0-9][0-9][0-9][0-9]_*.py"))


def check_meta_store(subject: Subject) -> Iterator[Finding]:
    assert subject.config
    try:
        url = subject.folder.meta_store_url
    except RafikiError as e:
        yield problem("meta store", e.message, "Correct the setting, or the file.")
        return
    scheme, _, rest = url.partition("://")
    if scheme.startswith("sqlite"):
        yield from _check_sqlite(Path(rest.removeprefix("/").partition("?")[0]))
    else:
        yield from _check_postgres(url)


def _check_sqlite(file: Path) -> Iterator[Finding]:
    if not file.exists():
        yield skipped("meta store", f"{file} is made at the first `rafiki up`.")
        return
    # Nothing is made or changed. Even a reader makes a write-ahead log where there is none, and owns it; but where
    # there is none, nobody is at work on the file, and it may be taken for one that does not change.
    is_in_use = file.with_name(f"{file.name}-wal").exists()
    address = f"file:{quote(str(file.absolute()))}?{'mode=ro' if is_in_use else 'immutable=1'}"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_TIMEOUT_S)) as connection:
            [[verdict], *others] = connection.execute("PRAGMA quick_check(10)").fetchall()
            if verdict != "ok":
                yield problem(
                    "meta store", f"{file} is damaged: {verdict}" + (f" (and {len(others)} more)." if others else "."),
                    f"{_GO_BACK} Or save what can be: sqlite3 FILE .recover",
                )  # fmt: skip
                return
            size = values.size(file.stat().st_size)
            yield ok("meta store", f"SQLite {sqlite3.sqlite_version}; {file} is whole ({size}).")
            yield _of_revision(_sqlite_revision(connection))
    except sqlite3.Error as e:
        yield problem(
            "meta store",
            f"{file} cannot be read: {e}.",
            _GO_BACK,
        )


def _sqlite_revision(connection: sqlite3.Connection) -> str | None:
    try:
        row = connection.execute(_REVISION).fetchone()
    except sqlite3.OperationalError:
        return None
    return None if row is None else str(row[0])


def _check_postgres(url: str) -> Iterator[Finding]:
    # Loaded on demand: it takes a quarter of a second.
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    from rafiki_cli.doctor.admin import of_clock

    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        # Not quoted: it may hold a password.
        yield problem(
            "meta store", "meta_store.url is malformed.", "Write postgresql://user:password@host:port/database."
        )
        return
    limits = {"connect_timeout": _TIMEOUT_S, "application_name": "rafiki doctor"}
    engine = create_engine(address.set(drivername="postgresql+psycopg2"), connect_args=limits, hide_parameters=True)
    try:
        with engine.connect() as connection:
            version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
            told = f"PostgreSQL {connection.execute(text('SHOW server_version')).scalar_one()} at {address.host}."
            if version < _LEAST_POSTGRES:
                yield warning("meta store", told, "Rafiki is tested with PostgreSQL 12 and newer.")
            else:
                yield ok("meta store", told)
            off = text("SELECT extract(epoch FROM clock_timestamp() - CAST(:now AS timestamptz))")
            yield of_clock("clock of database", float(connection.execute(off, {"now": utc_now()}).scalar_one()))
            has_tables = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is not None
            yield _of_revision(connection.execute(text(_REVISION)).scalar() if has_tables else None)
    except SQLAlchemyError as e:
        reason = " ".join(str(getattr(e, "orig", None) or e).split())[:300]
        if address.password:
            reason = reason.replace(str(address.password), "***")
        yield problem("meta store", f"PostgreSQL fails: {reason}", "Start it, or correct meta_store.url.")
    finally:
        engine.dispose()


def _of_revision(revision: str | None) -> Finding:
    newest = newest_revision()
    if revision is None:
        return skipped("tables", "There are none yet; `rafiki up` makes them.")
    if revision == newest:
        return ok("tables", f"Revision {revision}, the current one.")
    if revision < newest:
        told = f"Revision {revision}; this Rafiki works with {newest}."
        return warning("tables", told, "The admin brings them up to date when it starts: `rafiki down`, `rafiki up`.")
    return problem(
        "tables", f"Revision {revision} is newer than {newest}, the newest that this Rafiki knows.",
        "Install the version of Rafiki that wrote them, or a newer one.",
    )  # fmt: skip
