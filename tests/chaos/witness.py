"""Reads a stack's database beside the stack, with nothing but the driver: what it sees was promised to last."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2

Row = tuple[Any, ...]


class AwayError(Exception):
    """The database cannot be asked now."""


class SqliteWitness:
    """Opens the file anew for each question, read-only."""

    kind = "sqlite"

    def __init__(self, file: Path) -> None:
        self.file = file

    def ask(self, question: str, *values: object) -> list[Row]:
        """
        Raises:
            AwayError
        """
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=5.0)) as connection:
                return connection.execute(question, values).fetchall()
        except sqlite3.Error as e:
            raise AwayError(str(e)) from e

    def close(self) -> None:
        """Nothing is open."""


class PostgresWitness:
    """Keeps one connection, and opens another when that is lost."""

    kind = "postgresql"

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: Any = None
        self._lock = threading.Lock()

    def ask(self, question: str, *values: object) -> list[Row]:
        """
        Raises:
            AwayError
        """
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = psycopg2.connect(self.url, connect_timeout=5, application_name="witness")
                    self._connection.autocommit = True
                with self._connection.cursor() as cursor:
                    cursor.execute(question.replace("?", "%s"), values)
                    return list(cursor.fetchall())
            except psycopg2.Error as e:
                self._forget()
                raise AwayError(str(e)) from e

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg2.Error):
                connection.close()

    def close(self) -> None:
        with self._lock:
            self._forget()


Witness = SqliteWitness | PostgresWitness


def epoch_s(told: str | datetime | None) -> float:
    """A time of the database in seconds since the epoch; 0 where there is none."""
    if told is None:
        return 0.0
    if isinstance(told, str):
        told = datetime.fromisoformat(told).replace(tzinfo=UTC)
    return told.timestamp()


def listed(values: list[str]) -> str:
    """Question marks for ``IN (...)``."""
    return ", ".join("?" * len(values)) or "NULL"
