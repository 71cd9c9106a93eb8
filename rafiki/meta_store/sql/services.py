"""Services in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, func, select

from rafiki.constants import ServiceStatus, ServiceType
from rafiki.entities import Gpu, Service
from rafiki.errors import InvalidServiceError
from rafiki.meta_store.base import ServiceStore
from rafiki.meta_store.sql.database import Refusals, not_found
from rafiki.meta_store.sql.records import Records, illegal, status_change
from rafiki.meta_store.sql.schema import service_is_live, services
from rafiki.states import SERVICE_TRANSITIONS

_IN_ORDER = [services.c.datetime_started, services.c.id]


class SqlServiceStore(Records, ServiceStore):
    def create_service(
        self,
        *,
        service_id: str,
        service_type: ServiceType,
        job_id: str,
        unit_id: str,
        slot: int,
        attempt: int,
        gpus: Sequence[Gpu] = (),
        port: int | None = None,
    ) -> Service:
        values = {
            "id": service_id,
            "service_type": service_type,
            "job_id": job_id,
            "unit_id": unit_id,
            "slot": slot,
            "attempt": attempt,
            "status": ServiceStatus.STARTED,
            "gpus": list(gpus),
            "port": port,
            "datetime_started": self._db.now(),
        }
        taken = InvalidServiceError(f"There is a service with the id {service_id} already.")
        return self._create(services, Service, values, Refusals(unique={"pk_services": taken}))

    def get_service(self, service_id: str) -> Service:
        return self._get(services, Service, service_id, "service", InvalidServiceError)

    def set_service_handle(self, service_id: str, handle: str, port: int | None = None) -> Service:
        values: dict[str, object] = {"handle": handle}
        if port is not None:
            values["port"] = port
        changed = self._update(services, Service, [services.c.id == service_id], values)
        if changed is None:
            raise not_found(InvalidServiceError, "service", service_id)
        return changed

    def set_service_status(
        self, service_id: str, target: ServiceStatus, error: str | None = None, *, is_permanent: bool = False
    ) -> Service:
        allowed, values = status_change(services, SERVICE_TRANSITIONS, target, error, self._db.now())
        if error is not None:
            values["is_permanent"] = is_permanent
        changed = self._update(services, Service, [services.c.id == service_id, allowed], values)
        if changed is None:
            raise illegal("service", service_id, self.get_service(service_id).status, target)
        return changed

    def list_live_services(self, *, offset: int = 0, limit: int | None = None) -> list[Service]:
        return self._list(services, Service, [service_is_live], _IN_ORDER, offset, limit)

    def list_services(self, job_id: str, *, offset: int = 0, limit: int | None = None) -> list[Service]:
        return self._list(services, Service, [services.c.job_id == job_id], _IN_ORDER, offset, limit)

    def list_ended_services(self, job_ids: Collection[str]) -> dict[str, list[Service]]:
        return self._list_of(services, Service, services.c.job_id, job_ids, _IN_ORDER, ~service_is_live)

    def forget_stopped_services(self, job_id: str, unit_id: str, *, keep: int) -> None:
        newest_first = [services.c.datetime_started.desc(), services.c.id.desc()]
        no = func.row_number().over(partition_by=services.c.slot, order_by=newest_first).label("no")
        of_unit = [services.c.job_id == job_id, services.c.unit_id == unit_id]
        numbered = select(services.c.id, no).where(*of_unit, services.c.status == ServiceStatus.STOPPED).subquery()
        old = select(numbered.c.id).where(numbered.c.no > keep)
        with self._db.write() as connection:
            connection.execute(delete(services).where(services.c.id.in_(old)))

    def list_jobs_with_live_services(self) -> set[str]:
        with self._db.read() as connection:
            return set(connection.scalars(select(services.c.job_id).where(service_is_live).distinct()))
