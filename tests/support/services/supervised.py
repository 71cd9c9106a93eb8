"""A supervisor over services that exist on paper, for tests."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import create_autospec

from support.services.fake_containers import FakeContainerManager

from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.events import EventHub
from rafiki.admin.model_checks import ModelChecks
from rafiki.admin.predictor_keys import PredictorKeys
from rafiki.admin.service_door import AdminServiceDoor
from rafiki.admin.specs import SpecBuilder
from rafiki.admin.supervisor import Supervisor
from rafiki.admin.version_files import VersionFiles
from rafiki.cache.credentials import Credentials
from rafiki.constants import ServiceType
from rafiki.entities import Service
from rafiki.environments.state import EnvironmentState, EnvironmentStatus
from rafiki.environments.store import EnvironmentStore
from rafiki.messages import CacheAddress, ServiceReport
from rafiki.meta_store import MetaStore
from rafiki.service_names import ServiceNames
from rafiki.settings import Config, SupervisorConfig
from rafiki.store_location import folder_location
from rafiki.stores import open_data_store, open_param_store

READY = EnvironmentState(status=EnvironmentStatus.READY)


class Scene:
    """A supervisor that looks often, and what it acts on."""

    def __init__(
        self, store: MetaStore, store_url: str, folder: Path, containers: FakeContainerManager | None = None
    ) -> None:
        self.store = store
        self.containers = containers or FakeContainerManager()
        self.cache = create_autospec(CacheKeeper, instance=True)
        self.reports: dict[str, ServiceReport] = {}
        self.cache.read_reports.side_effect = lambda services: dict(self.reports)
        environments = create_autospec(EnvironmentStore, instance=True)
        environments.look.return_value = READY
        checks = create_autospec(ModelChecks, instance=True)
        checks.look.return_value = None
        config = Config(supervisor=SupervisorConfig(tick_s=0.02))
        address = CacheAddress(host="h", port=1, db=0, username=None, password=None, prefix="")
        self.params = open_param_store(folder_location(folder / "params"))
        credentials, keys = Credentials(address, "k" * 40), PredictorKeys(store, folder)
        versions = VersionFiles(
            store=store, credentials=credentials, keys=keys, settings=config.predictor, folder=folder
        )
        specs = SpecBuilder(
            config=config, store=store, datasets=open_data_store(folder_location(folder / "datasets")),
            params=self.params, meta_store_url=store_url,
            credentials=credentials, environments=environments,
            door=create_autospec(AdminServiceDoor, instance=True), keys=keys, versions=versions,
        )  # fmt: skip
        self.supervisor = Supervisor(
            config=config, store=store, containers=self.containers, cache=self.cache, specs=specs,
            environments=environments, checks=checks, hub=create_autospec(EventHub, instance=True),
            names=ServiceNames(folder), params=self.params, versions=versions,
        )  # fmt: skip

    def wait_for_service(self, job_id: str, service_type: ServiceType, **fields: object) -> Service:
        """The job's latest service of that type, once it has these fields."""
        found: list[Service] = []

        def has() -> bool:
            services = [s for s in self.store.services.list_services(job_id) if s.service_type is service_type]
            found[:] = [s for s in services if all(getattr(s, n) == v for n, v in fields.items())][-1:]
            return bool(found)

        assert self.supervisor.wait_until(has, 30.0), (service_type, fields)
        return found[0]
