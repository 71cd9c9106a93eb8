"""Services started as the container manager starts them, with their logs and what they report, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from support.services.framed_service import ScriptSpec
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki import __version__
from rafiki.cache.reports import RedisReportReader
from rafiki.cache.train import RedisTrainCache
from rafiki.messages import PROTOCOL, CacheAddress, Order, ServiceReport, ServiceSpec, TrainWorkerSpec
from rafiki.utils.ids import new_id
from rafiki.utils.logs import message_of

TESTS = Path(__file__).resolve().parents[2]


def of_this_version(**fields: Any) -> ServiceReport:
    """The report of a service that this version of the code runs."""
    return ServiceReport(**fields, version=__version__, protocol=PROTOCOL)


class Services:
    """Services of one job."""

    def __init__(self, cache: OwnCache, folder: Path) -> None:
        self.server, self.folder = cache, folder
        self.job: CacheAddress = cache.new_job()
        self.started: list[subprocess.Popen[bytes]] = []

    @property
    def job_id(self) -> str:
        return self.job.prefix.split(":")[1]

    def script(self, code: str, **fields: object) -> ScriptSpec:
        given = {"service_id": new_id(), "job_id": self.job_id, "cache": self.job, "heartbeat_s": 0.05, **fields}
        return ScriptSpec(code=code, **given)  # type: ignore[arg-type]

    def start(self, spec: ServiceSpec, module: str = "support.services.framed_service") -> subprocess.Popen[bytes]:
        file = self.folder / f"{spec.service_id}.spec"
        file.write_bytes(msgspec.msgpack.encode(spec))
        with self.log_file(spec).open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", module, str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        self.started.append(child)
        return child

    def run(self, spec: ServiceSpec, module: str = "support.services.framed_service") -> int:
        """The exit code of a service that ends by itself."""
        return self.start(spec, module).wait(60)

    def send_orders(self, spec: TrainWorkerSpec, *orders: Order) -> None:
        """Do the advisor's part for a train worker."""
        cache = RedisTrainCache(self.job, spec.sub_train_job_id)
        cache.acknowledge([], [(spec.service_id, order) for order in orders])

    def log_file(self, spec: ServiceSpec) -> Path:
        return self.folder / f"{spec.service_id}.log"

    def log(self, spec: ServiceSpec) -> str:
        return self.log_file(spec).read_text()

    def messages(self, spec: ServiceSpec) -> list[str]:
        """The lines of the log without what stands in front of each."""
        return [message_of(line) for line in self.log(spec).splitlines()]

    def wait_for_log(self, spec: ServiceSpec, text: str) -> None:
        eventually(lambda: text in self.log(spec), f"{text!r} in the service's log")

    def report(self, spec: ServiceSpec) -> ServiceReport | None:
        """What the admin reads of the service, but for what it uses."""
        found = self.whole_report(spec)
        return msgspec.structs.replace(found, memory_bytes=None, cores=None) if found else None

    def whole_report(self, spec: ServiceSpec) -> ServiceReport | None:
        reader = RedisReportReader(self.server.address)
        try:
            return reader.read([(self.job_id, spec.service_id)]).get(spec.service_id)
        finally:
            reader.close()
