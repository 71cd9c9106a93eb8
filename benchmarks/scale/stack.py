"""One admin over paper: its supervisor, planner, stores and specs are the real ones."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.scale.paper_cache import PaperCache
from benchmarks.scale.paper_services import Surroundings, run_on_paper
from benchmarks.scale.paper_swarm import PaperSwarm
from benchmarks.scale.statements import Statements
from benchmarks.scale.virtual_time import VirtualTime
from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.events import EventHub
from rafiki.admin.model_checks import ModelChecks
from rafiki.admin.planner import Observed
from rafiki.admin.predictor_keys import PredictorKeys
from rafiki.admin.service_door import AdminServiceDoor
from rafiki.admin.service_tokens import ServiceTokens
from rafiki.admin.spec_shelf import SpecShelf
from rafiki.admin.specs import SpecBuilder
from rafiki.admin.supervisor import Supervisor
from rafiki.admin.version_files import VersionFiles
from rafiki.cache.credentials import Credentials
from rafiki.container.base import ContainerManager
from rafiki.environments.build import BuildOptions
from rafiki.environments.store import EnvironmentStore
from rafiki.messages import CacheAddress
from rafiki.meta_store import MetaStore, open_meta_store
from rafiki.service_names import ServiceNames
from rafiki.settings import Config
from rafiki.store_location import folder_location
from rafiki.stores import open_data_store, open_param_store
from rafiki.utils.timing import SYSTEM, Timing

JOB_KEY = "the key from which tokens and passwords of jobs are derived"
NOWHERE = CacheAddress(host="127.0.0.1", port=1, db=0, username=None, password=None, prefix="")


LOOK_S = 0.004
LOOK_S_A_SERVICE = 30e-6
"""What a look takes of virtual time, as measured by ``--looks``."""


class Look(msgspec.Struct, frozen=True):
    """What one look took."""

    at_s: float
    took_ms: float
    """Processor time of its thread."""
    n_statements: int


class MeasuredSupervisor(Supervisor):
    """Notes what its looks take."""

    statements: Statements
    looks: list[Look]
    n_services: Callable[[], int]

    def look(self) -> None:
        before, started = self.statements.n, time.thread_time()
        super().look()
        took_ms = (time.thread_time() - started) * 1000
        self.looks.append(Look(self._timing.monotonic_s(), took_ms, self.statements.n - before))
        if isinstance(self._timing, VirtualTime):
            # Not what was measured, which differs from run to run.
            self._timing.sleep(LOOK_S + LOOK_S_A_SERVICE * self.n_services())

    def observe(self) -> Observed:
        """What the next plan would be made from."""
        return self._observer.observe(self._observer.poll())


def make_supervisor(
    *,
    folder: Path,
    config: Config,
    url: str,
    store: MetaStore,
    containers: ContainerManager,
    cache: CacheKeeper | PaperCache,
    timing: Timing = SYSTEM,
) -> MeasuredSupervisor:
    """As :func:`rafiki.admin.stack.build_stack` puts one together."""
    for name in ("run", "logs", "environments"):
        (folder / name).mkdir(exist_ok=True)
    datasets, params = (
        open_data_store(folder_location(folder / "datasets")),
        open_param_store(folder_location(folder / "params")),
    )
    environments = EnvironmentStore(
        folder / "environments", folder / "logs",
        BuildOptions(timeout_s=60.0, only_wheels=True, process_environment={}),
    )  # fmt: skip
    door = AdminServiceDoor(
        url="http://10.0.0.1:3000", tokens=ServiceTokens(JOB_KEY, store.services), shelf=SpecShelf(folder / "run"),
        store=store, datasets=datasets, params=params,
    )  # fmt: skip
    credentials, keys = Credentials(NOWHERE, JOB_KEY), PredictorKeys(store, folder / "run")
    versions = VersionFiles(
        store=store, credentials=credentials, keys=keys, settings=config.predictor, folder=folder / "run"
    )
    specs = SpecBuilder(
        config=config, store=store, datasets=datasets, params=params, meta_store_url=url,
        credentials=credentials, environments=environments, door=door,
        is_elsewhere=containers.is_elsewhere, cache_host="10.0.0.1", keys=keys, versions=versions,
    )  # fmt: skip
    supervisor = MeasuredSupervisor(
        config=config, store=store, containers=containers, cache=cache, specs=specs, environments=environments,
        checks=ModelChecks(store, environments, 10.0), hub=EventHub(NOWHERE), names=ServiceNames(folder / "logs"),
        params=params, versions=versions, timing=timing,
    )  # fmt: skip
    supervisor.statements, supervisor.looks = Statements(store), []
    return supervisor


class PaperStack:
    """An admin, its hosts and their services, in a time of their own."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        n_hosts: int,
        trial_s: float = 20.0,
        failing_trials: float = 0.01,
        url: str | None = None,
    ) -> None:
        """
        Args:
            url: of an empty database; None = SQLite in the folder.
        """
        self.url = url or f"sqlite:///{folder}/meta.db"
        self.time = VirtualTime()
        self.rng = random.Random(seed)
        self.store = open_meta_store(self.url, self.time.now)
        self.store.migrate()
        self.advisors_store = open_meta_store(self.url, self.time.now)
        self.cache = PaperCache(self.time)
        self.around = Surroundings(self.time, self.rng, self.cache, self.advisors_store, trial_s, failing_trials)
        self.config = Config()
        self.cache.lifetime_s = 4 * self.config.train.heartbeat_s
        self.engine = PaperSwarm(
            self.time, self.rng, n_hosts, lambda request, spec, end: run_on_paper(self.around, request, spec, end)
        )
        self.supervisor = make_supervisor(
            folder=folder, config=self.config, url=self.url, store=self.store, containers=self.engine,
            cache=self.cache, timing=self.time,
        )  # fmt: skip
        self.supervisor.n_services = lambda: len(self.engine.tasks)
        self.advisors_statements = Statements(self.advisors_store)

    def start(self) -> None:
        self.time.run_thread(self.supervisor.start)

    def shut_down(self) -> None:
        self.time.run_thread(self.supervisor.shut_down)

    def close(self) -> None:
        self.store.close()
        self.advisors_store.close()
