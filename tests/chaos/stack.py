"""The stack that is hurt: its own folder, disk and database, driven by the command line as its users do."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import yaml
from chaos.witness import PostgresWitness, SqliteWitness, Witness
from support.machines.small_disk import NoSmallDiskError, SmallDisk
from support.stores.postgres_server import ExternalServer, open_server

from rafiki.cache.connection import connect
from rafiki.client import Client
from rafiki.config import load_config
from rafiki.messages import CacheAddress
from rafiki.stack_folder import StackFolder
from rafiki.utils.pid_file import PidFile, ProcessHandle
from rafiki.utils.process import end_processes, find_stack_processes
from rafiki.utils.sockets import any_free_port

REPO = Path(__file__).resolve().parents[2]
DISK_MB = 2048
MIN_FREE_MB = 64


class ChaosStack:
    """Use as a context: whatever happens, nothing is left."""

    def __init__(self, database: str) -> None:
        """
        Args:
            database: ``sqlite`` or ``postgresql``.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="rafiki-chaos-"))
        self.port = any_free_port()
        self.root = (self.folder / ".rafiki").resolve()
        self.server: ExternalServer | None = None
        self.no_disk = ""
        """Why the stack has no disk of its own."""
        self.disk: SmallDisk | None = None
        self.old_logs: list[Path] = []
        """Where the logs are that were taken away."""
        try:
            self._prepare(database)
        except BaseException:
            self.remove()
            raise

    def _prepare(self, database: str) -> None:
        settings: dict[str, Any] = {
            "admin": {"port": self.port},
            "stack": {"min_free_mb": MIN_FREE_MB},
        }
        self.witness: Witness = SqliteWitness(self.root / "meta.db")
        if database == "postgresql":
            self.server = open_server()
            self.database = self.server.create_database()
            settings["meta_store"] = {"url": self.server.url_of(self.database)}
            self.witness = PostgresWitness(self.server.url_of(self.database))
        (self.folder / "rafiki.yaml").write_text(yaml.safe_dump(settings))
        try:
            self.disk = SmallDisk(self.root, DISK_MB)
        except NoSmallDiskError as e:
            self.no_disk = str(e)

    def run(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """A ``rafiki`` command in the stack's folder."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RAFIKI_")}
        environment = {**clean, "PYTHONPATH": str(REPO), "XDG_CONFIG_HOME": str(self.folder / "config")}
        return subprocess.run(
            [sys.executable, "-m", "rafiki_cli", *arguments],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def client(self) -> Client:
        """Logged in as the superadmin."""
        client = Client("127.0.0.1", self.port)
        client.login(email="superadmin@rafiki", password=(self.root / "superadmin-password").read_text().strip())
        return client

    # ---- its processes

    def admin(self) -> ProcessHandle | None:
        """The admin if it runs; found by its module where its file is gone."""
        found = PidFile.load(self.root / "run" / "admin.json")
        if found is not None:
            return found.process
        for process in find_stack_processes(self.root):
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[-2:] == ["-m", "rafiki.admin"]:
                    return ProcessHandle(process.pid, process.create_time())
        return None

    def cache(self) -> ProcessHandle | None:
        """The private cache server if it runs."""
        found = PidFile.load(self.root / "run" / "cache.json")
        return None if found is None else found.process

    def cache_admin(self) -> Any:
        """A client of the cache with all rights."""
        folder = StackFolder(load_config(self.folder / "rafiki.yaml", environ={}))
        port = int((self.root / "cache-port").read_text())
        password = folder.secrets().cache_password
        address = CacheAddress(host="127.0.0.1", port=port, db=0, username=None, password=password, prefix="")
        return connect(address, socket_timeout_s=5.0)

    def processes(self) -> list[psutil.Process]:
        """All that runs of it."""
        return find_stack_processes(self.root)

    def take_logs_away(self) -> None:
        """What a person does by deleting the folder, but that we can read them."""
        with contextlib.suppress(OSError):
            self.old_logs.append((self.root / "logs").rename(self.root / f"old-logs-{len(self.old_logs)}"))

    # ---- the end

    def remove(self) -> None:
        """End what is left of it, and take its folder away."""
        self.witness.close()
        end_processes(find_stack_processes(self.root), 5.0)
        if self.disk is not None:
            self.disk.unmount()
        if self.server is not None:
            with contextlib.suppress(Exception):
                self.server.drop_database(self.database)
            self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> ChaosStack:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("down")
        self.remove()
