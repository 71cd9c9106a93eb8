"""What the meta store promises about services."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from rafiki.constants import ServiceStatus, ServiceType
from rafiki.entities import Gpu, Service


class ServiceStore(ABC):
    """The processes and containers that the admin has started. The admin alone writes them."""

    @abstractmethod
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
        """Add a STARTED service without a handle. ``job_id`` and ``unit_id`` are not checked.

        Raises:
            InvalidServiceError: ``service_id`` is taken.
        """

    @abstractmethod
    def get_service(self, service_id: str) -> Service:
        """The service.

        Raises:
            InvalidServiceError: there is none with that id.
        """

    @abstractmethod
    def set_service_handle(self, service_id: str, handle: str, port: int | None = None) -> Service:
        """What finds the service again, and its port when given; its status does not change.

        Raises:
            InvalidServiceError: there is none with that id.
        """

    @abstractmethod
    def set_service_status(
        self, service_id: str, target: ServiceStatus, error: str | None = None, *, is_permanent: bool = False
    ) -> Service:
        """Guarded change of status. A final one also sets ``datetime_stopped``. ``error`` is stored when
        given, and with it whether the failure would come again at once.

        Raises:
            InvalidServiceError: there is none with that id.
            IllegalTransitionError: ``target`` may not follow the present status.
        """

    @abstractmethod
    def list_live_services(self, *, offset: int = 0, limit: int | None = None) -> list[Service]:
        """All services that are not STOPPED or ERRORED, in order of creation."""

    @abstractmethod
    def list_services(self, job_id: str, *, offset: int = 0, limit: int | None = None) -> list[Service]:
        """All services that a job ever had, in order of creation; without those that were forgotten."""

    @abstractmethod
    def list_ended_services(self, job_ids: Collection[str]) -> dict[str, list[Service]]:
        """The STOPPED and ERRORED services of several jobs, by job, each in order of creation. One read, however many
        jobs; each of them has an entry."""

    @abstractmethod
    def forget_stopped_services(self, job_id: str, unit_id: str, *, keep: int) -> None:
        """Delete the records of STOPPED services of one unit of a job, but for the last ``keep`` of each slot: where
        services come and go by the load, nobody asks for those of long ago."""

    @abstractmethod
    def list_jobs_with_live_services(self) -> set[str]:
        """The ids of jobs that have services which are not STOPPED or ERRORED."""
