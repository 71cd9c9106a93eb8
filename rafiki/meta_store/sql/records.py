"""What the nouns share: rows to entities, pages, and guarded changes of status."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, GenerativeSelect, Table, select, update

from rafiki import states
from rafiki.errors import IllegalTransitionError, InvalidRequestError, RafikiError
from rafiki.meta_store.sql.database import Database, Refusals, not_found
from rafiki.meta_store.sql.schema import columns_of

E = TypeVar("E", bound=msgspec.Struct)
S = TypeVar("S", bound=StrEnum)
Statement = TypeVar("Statement", bound=GenerativeSelect)


def to_entity(kind: type[E], row: Iterable[object]) -> E:
    """The entity from a row of :func:`columns_of` it."""
    return kind(**dict(zip(kind.__struct_fields__, row, strict=True)))


def page(statement: Statement, offset: int, limit: int | None) -> Statement:
    """``statement`` cut to one page.

    Raises:
        InvalidRequestError: offset or limit is negative.
    """
    if offset < 0 or (limit is not None and limit < 0):
        raise InvalidRequestError(f"offset ({offset}) and limit ({limit}) must not be negative.")
    if limit is not None:
        statement = statement.limit(limit)
    return statement.offset(offset) if offset else statement


_MOST_IDS = 10_000
"""In one statement: SQLite takes 32,766 parameters."""


def parts_of(ids: Collection[str]) -> list[list[str]]:
    """The ids, as many at a time as one statement takes."""
    listed = list(ids)
    return [listed[i : i + _MOST_IDS] for i in range(0, len(listed), _MOST_IDS)]


class Records:
    """Base of the nouns: one table whose rows are one kind of entity."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def _find(self, table: Table, kind: type[E], *where: ColumnElement[bool]) -> E | None:
        with self._db.read() as connection:
            row = connection.execute(select(*columns_of(table, kind)).where(*where)).one_or_none()
        return None if row is None else to_entity(kind, row)

    def _get(self, table: Table, kind: type[E], record_id: str, noun: str, unknown: type[RafikiError]) -> E:
        found = self._find(table, kind, table.c.id == record_id)
        if found is None:
            raise not_found(unknown, noun, record_id)
        return found

    def _list(
        self,
        table: Table,
        kind: type[E],
        where: Sequence[ColumnElement[bool]],
        order_by: Sequence[ColumnElement[object]],
        offset: int = 0,
        limit: int | None = None,
    ) -> list[E]:
        wanted = select(*columns_of(table, kind)).where(*where).order_by(*order_by)
        statement = page(wanted, offset, limit)
        with self._db.read() as connection:
            return [to_entity(kind, row) for row in connection.execute(statement)]

    def _list_of(
        self,
        table: Table,
        kind: type[E],
        column: Column[object],
        ids: Collection[str],
        order_by: Sequence[ColumnElement[object]],
        *where: ColumnElement[bool],
    ) -> dict[str, list[E]]:
        """The records whose ``column``, a field of theirs, is one of the ids; by it."""
        found: dict[str, list[E]] = {record_id: [] for record_id in ids}
        wanted = select(*columns_of(table, kind)).where(*where).order_by(*order_by)
        with self._db.read() as connection:
            for some in parts_of(found):
                for row in connection.execute(wanted.where(column.in_(some))):
                    entity = to_entity(kind, row)
                    found[getattr(entity, column.key)].append(entity)
        return found

    def _insert(self, connection: Connection, table: Table, kind: type[E], values: Mapping[str, object]) -> E:
        statement = table.insert().values(**values).returning(*columns_of(table, kind))
        return to_entity(kind, connection.execute(statement).one())

    def _create(self, table: Table, kind: type[E], values: Mapping[str, object], refusals: Refusals) -> E:
        with self._db.write_once(refusals) as connection:
            return self._insert(connection, table, kind, values)

    def _update(
        self, table: Table, kind: type[E], where: Sequence[ColumnElement[bool]], values: Mapping[str, object]
    ) -> E | None:
        """The record after the change; None where no row meets the conditions (nothing was changed)."""
        with self._db.write_once() as connection:
            return self._update_in(connection, table, kind, where, values)

    def _update_in(
        self,
        connection: Connection,
        table: Table,
        kind: type[E],
        where: Sequence[ColumnElement[bool]],
        values: Mapping[str, object],
    ) -> E | None:
        """As :meth:`_update`, in a transaction with other changes."""
        statement = update(table).where(*where).values(**values).returning(*columns_of(table, kind))
        row = connection.execute(statement).one_or_none()
        return None if row is None else to_entity(kind, row)


def status_change(
    table: Table, transitions: Mapping[S, frozenset[S]], target: S, error: str | None, now: datetime
) -> tuple[ColumnElement[bool], dict[str, object]]:
    """The condition and the values of a guarded change of status."""
    values: dict[str, object] = {"status": target}
    if error is not None:
        values["error"] = error
    if "datetime_stopped" in table.c and states.is_final(transitions, target):
        values["datetime_stopped"] = now
    return table.c.status.in_(states.sources(transitions, target)), values


def illegal(noun: str, record_id: str, present: StrEnum, target: StrEnum) -> IllegalTransitionError:
    """The error for a status that may not follow the present one."""
    return IllegalTransitionError(
        f"The {noun} {record_id} is {present.value}; it cannot become {target.value} from there."
    )
