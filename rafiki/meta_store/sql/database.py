"""One door to the database: connections, transactions, and driver errors turned into Rafiki's own."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Index,
    PrimaryKeyConstraint,
    Table,
    TextClause,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError, StatementError

from rafiki.errors import ConfigError, InvalidRequestError, MetaStoreError, RafikiError, StoreFullError
from rafiki.meta_store.sql.refusals_of_server import advice
from rafiki.meta_store.sql.schema import metadata
from rafiki.utils.clock import Deadline, utc_now
from rafiki.utils.process import wait_until

BUSY_TIMEOUT_S = 15
"""How long a writer waits for another process's transaction on SQLite."""
CONNECT_TIMEOUT_S = 10
_CHECK_TIMEOUT_S = 2.5
_LOCKED = "database is locked"
"""SQLite's own words."""
GO_BACK = "Go back to a backup: `rafiki down`, then `rafiki restore FILE --force`."
"""What to do about a damaged database."""
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
"""A server that went without a word (its host is lost) is given up after so long, not after the kernel's two hours."""

_PG_FOREIGN_KEY, _PG_UNIQUE, _PG_DISK_FULL, _PG_NO_TABLE = "23503", "23505", "53100", "42P01"


@dataclass(frozen=True, slots=True)
class Parents:
    """Records that a new record refers to, and what to raise where one of them is missing."""

    table: Table
    ids: Sequence[str]
    noun: str
    error: type[RafikiError]


@dataclass(frozen=True, slots=True)
class Refusals:
    """What a write raises where it breaks a constraint."""

    unique: Mapping[str, RafikiError] = field(default_factory=dict)
    """By the name of a unique constraint, unique index or primary key."""
    parents: Sequence[Parents] = ()
    """For an insert that breaks a foreign key."""
    referred: RafikiError | None = None
    """For a delete of a record that others refer to."""


_NO_REFUSALS = Refusals()


def not_found(error: type[RafikiError], noun: str, record_id: str) -> RafikiError:
    """The error for an unknown id."""
    return error.not_found(f"There is no {noun} with the id {record_id!r}.")


class Database:
    """Connections to one database. Thread-safe; open it after a fork."""

    def __init__(self, url: str, now: Callable[[], datetime] = utc_now) -> None:
        self._url = _parse(url)
        self.now = now
        """The clock of what is written."""
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        # SQLite has one writer at a time anyway. Its threads queue here, where a wait costs nothing, so that
        # only other processes are waited for in its busy handler, which sleeps and asks again.
        self._gate: AbstractContextManager[object] = threading.Lock() if self.is_sqlite else nullcontext()
        self._reader = self._open()
        self._writer = self._reader.execution_options(
            **({} if self.is_sqlite else {"isolation_level": "READ COMMITTED"})
        )
        if self.is_sqlite:
            event.listen(self._writer, "begin", _begin_immediate)

    @property
    def engine(self) -> Engine:
        """What all connections come from."""
        return self._reader

    @property
    def file(self) -> Path:
        """The file of SQLite."""
        assert self.is_sqlite
        return Path(str(self._url.database))

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection on which each statement is a transaction of its own."""
        with self._translated(_NO_REFUSALS), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self, refusals: Refusals = _NO_REFUSALS) -> Iterator[Connection]:
        """One transaction. On SQLite it holds the write lock from its beginning, so it never has to give up."""
        with self._translated(refusals), self._gate, self._writer.begin() as connection:
            yield connection

    @contextmanager
    def change_schema(self) -> Iterator[Connection]:
        """As :meth:`write` for migrations.

        SQLite changes a constraint by making a new table and dropping the old one. With foreign keys enforced, that
        would delete the rows of other tables that refer to it; so they are enforced again only afterwards, and all
        of them are checked before the transaction ends (https://www.sqlite.org/lang_altertable.html, section 7).
        """
        if not self.is_sqlite:
            with self.write() as connection:
                yield connection
            return
        with self._translated(_NO_REFUSALS), self._gate, self._writer.connect() as connection:
            # The transaction that SQLAlchemy begins by itself is of no use here: the pragma has to come before it.
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys=OFF").close()
            try:
                with connection.begin():
                    yield connection
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                    if broken:
                        raise MetaStoreError(
                            f"The database {self} has rows that refer to missing ones, first in the table "
                            f"{broken[0][0]}. Nothing was changed."
                        )
            finally:
                driver.execute("PRAGMA foreign_keys=ON").close()

    @contextmanager
    def write_once(self, refusals: Refusals = _NO_REFUSALS) -> Iterator[Connection]:
        """As :meth:`write` for exactly one statement, which PostgreSQL needs no BEGIN and COMMIT for."""
        if self.is_sqlite:
            with self.write(refusals) as connection:
                yield connection
        else:
            with self._translated(refusals), self._reader.connect() as connection:
                yield connection

    def check(self, statement: TextClause) -> None:
        """Whether the database can be read, by ``statement``, and written.

        Raises:
            MetaStoreError: when it cannot, or not within a few seconds.
        """
        if not self.is_sqlite:
            with self.read() as connection:
                connection.execute(statement)
                if connection.execute(text("SHOW transaction_read_only")).scalar() == "on":
                    raise MetaStoreError(f"The database {self} is read-only: it is a replica, or was made so.")
            return
        # A connection of its own sees also that the file is gone, which open ones outlive, and waits for less.
        address = f"file:{quote(str(self._url.database))}?mode=rw"
        try:
            with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=_CHECK_TIMEOUT_S)) as checked:
                checked.execute(str(statement)).close()
                checked.execute("BEGIN IMMEDIATE").close()
                checked.execute("ROLLBACK").close()
        except sqlite3.Error as e:
            advice_after = f" {GO_BACK}" if is_damage(getattr(e, "sqlite_errorname", "")) else ""
            raise MetaStoreError(f"The database {self} {_fault(e)}. ({e}){advice_after}") from e

    def close(self) -> None:
        self._reader.dispose()

    def _open(self) -> Engine:
        # hide_parameters: password hashes stay out of tracebacks and logs.
        common: dict[str, object] = {"hide_parameters": True, "pool_use_lifo": True}
        if not self.is_sqlite:
            return create_engine(
                self._url,
                isolation_level="AUTOCOMMIT",
                pool_pre_ping=True,
                connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "rafiki", **_KEEPALIVE},
                **common,
            )
        # isolation_level None: the driver begins nothing by itself; _begin_immediate does.
        engine = create_engine(
            self._url,
            max_overflow=-1,
            connect_args={
                "isolation_level": None,
                "timeout": BUSY_TIMEOUT_S,
                "check_same_thread": False,
            },
            **common,
        )
        event.listen(engine, "do_connect", self._create_private_file)
        event.listen(engine, "connect", _configure_sqlite)
        return engine

    def _create_private_file(self, *_: object) -> None:
        """The file holds password hashes; SQLite gives its companions (-wal, -shm) the same mode.

        A file that exists is never opened here: closing any descriptor of it would drop all the locks that SQLite
        holds on it in this process (POSIX locks), and another process would then take the write-ahead log away.
        """
        try:
            os.close(os.open(str(self._url.database), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            return
        except OSError as e:
            raise MetaStoreError(f"The database file {self._url.database} cannot be opened: {e.strerror}.") from e

    @contextmanager
    def _translated(self, refusals: Refusals) -> Iterator[None]:
        try:
            yield
        except IntegrityError as e:
            raise self._refusal(e, refusals) from e
        except DataError as e:
            raise InvalidRequestError(f"A value does not fit the database: {self._reason(e)}") from e
        except StatementError as e:
            raise self._failure(e) from e
        except OverflowError as e:
            raise InvalidRequestError(f"A number is too large for the database: {e}.") from e
        except SQLAlchemyError as e:
            raise MetaStoreError(f"The database {self} failed: {self._reason(e)}") from e

    def _failure(self, error: StatementError) -> RafikiError:
        cause = error.orig
        if isinstance(cause, RafikiError):
            return cause
        code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "pgcode", None)
        if code in ("SQLITE_FULL", _PG_DISK_FULL):
            return StoreFullError(f"No space is left on the disk of the database {self}. Free some, then try again.")
        reason = self._reason(error)
        if code == _PG_NO_TABLE or reason.startswith("no such table"):
            return MetaStoreError(
                f"The database {self} has no tables of Rafiki; the admin creates them at its start. ({reason})"
            )
        if code in ("SQLITE_BUSY", "SQLITE_LOCKED") or reason == _LOCKED:
            return MetaStoreError(
                f"The database {self} stayed locked by another process for {BUSY_TIMEOUT_S} s. ({reason}) End the "
                f"program that holds it (`fuser {self._url.database}` names it), then try again."
            )
        if self.is_sqlite and str(code).startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")):
            # A connection that was opened meanwhile stays as the file was then: the next ones are new.
            self._reader.dispose()
            return MetaStoreError(
                f"The database {self} {_what_fails(str(code))}: {reason}. See that the file is there, that it and its "
                "folder are writable, and that their disk works; the stack then goes on by itself."
            )
        if self.is_sqlite and is_damage(code):
            return MetaStoreError(f"The database {self} is damaged: {reason}. {GO_BACK}")
        hint = "" if self.is_sqlite else advice(self._url, reason)
        return MetaStoreError(f"The database {self} failed: {reason}{hint}")

    def _refusal(self, error: IntegrityError, refusals: Refusals) -> RafikiError:
        kind, name = _broken_constraint(error.orig)
        if kind == "unique" and name is not None and name in refusals.unique:
            return refusals.unique[name]
        if kind == "foreign key":
            if refusals.referred is not None:
                return refusals.referred
            missing = self._missing(refusals.parents)
            if missing is not None:
                return missing
        return self._failure(error)

    def _missing(self, all_parents: Sequence[Parents]) -> RafikiError | None:
        # SQLite does not name the foreign key that was broken.
        with self.read() as connection:
            for parents in all_parents:
                wanted = select(parents.table.c.id).where(parents.table.c.id.in_(parents.ids))
                found = set(connection.scalars(wanted))
                for record_id in parents.ids:
                    if record_id not in found:
                        return not_found(parents.error, parents.noun, record_id)
        return None

    def _reason(self, error: SQLAlchemyError) -> str:
        """The driver's own words, without the password."""
        reason = str(getattr(error, "orig", None) or error).strip()
        password = self._url.password
        for secret in (password, quote(str(password), safe="")) if password else ():
            reason = reason.replace(str(secret), "***")
        return reason


def is_damage(code: str | None) -> bool:
    """Whether SQLite's name of an error says that the file is not what was written."""
    return (code or "").startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def _what_fails(code: str) -> str:
    if code.startswith("SQLITE_READONLY"):
        return "cannot be written to"
    return "is gone, or cannot be opened" if code.startswith("SQLITE_CANTOPEN") else "cannot be read or written"


def _fault(error: sqlite3.Error) -> str:
    """What is wrong with a file, for people."""
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"has been locked by another process for {_CHECK_TIMEOUT_S:g} s"
    if code.startswith("SQLITE_CANTOPEN"):
        return "is gone, or cannot be opened"
    if code.startswith("SQLITE_READONLY"):
        return "cannot be written to"
    if is_damage(code):
        return "is damaged"
    return "failed"


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as e:
        # Not quoted here: it may hold a password.
        raise ConfigError(
            "The meta store's URL is malformed. Write sqlite:////folder/file.db or "
            "postgresql://user:password@host:port/database."
        ) from e
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg2"):
        return parsed.set(drivername="postgresql+psycopg2")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise ConfigError(
            f"The meta store's URL begins with {parsed.drivername}://, "
            "but only sqlite:// and postgresql:// are supported."
        )
    if parsed.database in (None, "", ":memory:") or parsed.query:
        raise ConfigError("The meta store's URL must name one file for SQLite: sqlite:////folder/file.db.")
    return parsed


def _is_in_wal_mode(connection: sqlite3.Connection) -> bool:
    """Whether the file is in WAL mode now. The first change to it does not heed the busy timeout: it fails at once when
    another process is making the same change.
    """
    try:
        connection.execute("PRAGMA journal_mode=WAL").close()
    except sqlite3.OperationalError as e:
        if "locked" in str(e):
            return False
        raise
    return True


_WAL_WAIT_S = 15.0


def _configure_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # WAL: readers and the writer do not block each other. NORMAL: a crash of a process loses nothing, a power
    # cut may lose the last transactions, but never the file.
    if not wait_until(lambda: _is_in_wal_mode(connection), Deadline(_WAL_WAIT_S)):
        raise sqlite3.OperationalError(_LOCKED)
    connection.execute("PRAGMA synchronous=NORMAL").close()
    connection.execute("PRAGMA foreign_keys=ON").close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _unique_keys() -> dict[str, str]:
    """Names of the unique keys by what SQLite says of them: ``table.column, table.column``."""
    names: dict[str, str] = {}
    for table in metadata.tables.values():
        constraints = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
        keys: list[PrimaryKeyConstraint | UniqueConstraint | Index] = [table.primary_key, *constraints]
        for key in [*keys, *(i for i in table.indexes if i.unique)]:
            names[", ".join(f"{table.name}.{column.name}" for column in key.columns)] = str(key.name)
    return names


_UNIQUE_KEYS = _unique_keys()


def _broken_constraint(error: BaseException | None) -> tuple[str, str | None]:
    """``("unique" | "foreign key" | "", name)``."""
    if isinstance(error, sqlite3.Error):
        if error.sqlite_errorname in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"):
            return "unique", _UNIQUE_KEYS.get(str(error).partition(": ")[2])
        is_foreign_key = error.sqlite_errorname == "SQLITE_CONSTRAINT_FOREIGNKEY"
        return "foreign key" if is_foreign_key else "", None
    code = getattr(error, "pgcode", None)
    name = getattr(getattr(error, "diag", None), "constraint_name", None)
    return {_PG_UNIQUE: "unique", _PG_FOREIGN_KEY: "foreign key"}.get(str(code), ""), name
