"""Records counted by their statuses in SQL."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from sqlalchemy import Connection, Table, func, select

from rafiki.constants import InferenceJobStatus, ServiceStatus, ServiceType, TrainJobStatus, TrialStatus
from rafiki.meta_store.base import StatusCounts
from rafiki.meta_store.sql.database import Database
from rafiki.meta_store.sql.schema import inference_jobs, service_is_live, services, train_jobs, trials
from rafiki.states import SERVICE_TRANSITIONS, live_statuses

S = TypeVar("S", bound=StrEnum)


def count_statuses(db: Database) -> StatusCounts:
    """As :meth:`rafiki.meta_store.MetaStore.count_statuses`."""
    of_services = select(services.c.service_type, services.c.status, func.count()).where(service_is_live)
    with db.read() as connection:
        live = {
            (ServiceType(row[0]), ServiceStatus(row[1])): int(row[2])
            for row in connection.execute(of_services.group_by(services.c.service_type, services.c.status))
        }
        return StatusCounts(
            train_jobs=_count(connection, train_jobs, TrainJobStatus),
            inference_jobs=_count(connection, inference_jobs, InferenceJobStatus),
            trials=_count(connection, trials, TrialStatus),
            live_services={
                (kind, status): live.get((kind, status), 0)
                for kind in ServiceType
                for status in live_statuses(SERVICE_TRANSITIONS)
            },
        )


def _count(connection: Connection, table: Table, kind: type[S]) -> dict[S, int]:
    found = {
        kind(row[0]): int(row[1])
        for row in connection.execute(select(table.c.status, func.count()).group_by(table.c.status))
    }
    return {status: found.get(status, 0) for status in kind}
