"""A real stack of real processes in a folder of its own, for tests. It can be hurt: `kill -9` of any part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from rafiki.client import Client
from rafiki.errors import UnreachableError
from rafiki.utils.clock import Deadline
from rafiki.utils.pid_file import PidFile
from rafiki.utils.process import end_processes, find_stack_processes, wait_until
from rafiki.utils.sockets import any_free_port

MODELS = Path(__file__).parents[2] / "models"
TIMEOUT_S = 120.0
"""Of a wait that only a fault lets last: a machine that many share may be ten times as slow."""


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
    """The first truthy value of ``condition()``; fails the test when there is none in time."""
    found: list[Any] = []

    def look() -> bool:
        found[:] = [condition()]
        return bool(found[0])

    if not wait_until(look, Deadline(timeout_s)):
        raise AssertionError(f"not within {timeout_s:g} s: {what}")
    return found[0]


def kill(pid: int) -> None:
    """SIGKILL, and wait for the end: whoever looks at once would still find the process alive."""
    process = psutil.Process(pid)
    process.kill()

    def has_ended() -> bool:
        try:
            return bool(process.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    eventually(has_ended, f"the end of process {pid}")


class RunningStack:
    """One stack. ``settings`` are sections of rafiki.yaml, ``variables`` more of its environment."""

    def __init__(
        self, folder: Path, settings: dict[str, Any] | None = None, variables: dict[str, str] | None = None
    ) -> None:
        self._variables = variables or {}
        self.folder = folder
        self.port = any_free_port()
        tree: dict[str, Any] = {
            "admin": {"port": self.port},
            "supervisor": {"tick_s": 0.3},
            # Models of tests wait for files of the test. Boxes have tests of their own, and projects have them anyway.
            "container": {"sandbox": "none"},
        }
        for section, values in (settings or {}).items():
            tree.setdefault(section, {}).update(values)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rafiki.yaml").write_text(yaml.safe_dump(tree))
        self._admin: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        return (self.folder / ".rafiki").resolve()

    @property
    def environment(self) -> dict[str, str]:
        repo = str(Path(__file__).resolve().parents[3])
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RAFIKI_")}
        return {**clean, "PYTHONPATH": repo, "XDG_CONFIG_HOME": str(self.folder / "config"), **self._variables}

    def up(self) -> None:
        """Start the admin as `rafiki up` does, and wait until it is healthy."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._admin = subprocess.Popen(
                [sys.executable, "-m", "rafiki.admin"], cwd=self.folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        eventually(self._is_healthy, "a healthy admin; its log:\n" + self.log.read_text())

    def _is_healthy(self) -> bool:
        assert self._admin is not None
        if self._admin.poll() is not None:
            raise AssertionError(f"the admin ended with {self._admin.returncode}:\n{self.log.read_text()}")
        try:
            return bool(Client("127.0.0.1", self.port).get_health()["status"] == "ok")
        except UnreachableError:
            return False

    @property
    def log(self) -> Path:
        return self.folder / ".rafiki" / "logs" / "admin.log"

    def logs(self) -> str:
        """All logs, for the message of a failed test."""
        return "\n".join(f"--- {f.name}\n{f.read_text()[-3000:]}" for f in sorted(self.log.parent.glob("*.log")))

    def client(self, email: str = "superadmin@rafiki", password: str | None = None) -> Client:
        """A client that is logged in; as superadmin unless told otherwise."""
        client = Client("127.0.0.1", self.port)
        client.login(email=email, password=password or (self.root / "superadmin-password").read_text().strip())
        return client

    # ---- what runs

    def processes(self, kind: str | None = None) -> list[psutil.Process]:
        """The processes but the admin: all, or those of one kind (`train`, `advisor`, `inference`, `predict`)."""
        modules = {"predict": "rafiki.predictor", "advisor": "rafiki.search.advisor_worker"}
        wanted = None if kind is None else modules.get(kind, f"rafiki.worker.{kind}")
        admin = self._admin.pid if self._admin else None
        found = [p for p in find_stack_processes(self.root) if p.pid != admin]
        return [p for p in found if wanted is None or wanted in _arguments(p)]

    # ---- what hurts

    def kill_admin(self) -> None:
        assert self._admin is not None
        self._admin.send_signal(signal.SIGKILL)
        self._admin.wait()

    def kill_cache(self) -> None:
        found = PidFile.load(self.root / "run" / "cache.json")
        assert found is not None
        kill(found.process.pid)

    def kill_one(self, kind: str) -> int:
        """Kill a process of that kind with SIGKILL; waits for one to be there. Returns its pid."""
        victim = eventually(lambda: self.processes(kind), f"a {kind} process")[0]
        kill(victim.pid)
        return int(victim.pid)

    def down(self) -> None:
        """Stop the admin as `rafiki down` does; whatever is left after that is ended too."""
        if self._admin is not None and self._admin.poll() is None:
            self._admin.terminate()
            try:
                self._admin.wait(30)
            except subprocess.TimeoutExpired:
                self._admin.kill()
                self._admin.wait()
        end_processes(find_stack_processes(self.root), 3.0)


def _arguments(p: psutil.Process) -> list[str]:
    try:
        return p.cmdline()
    except psutil.Error:
        return []
