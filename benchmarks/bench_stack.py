"""A stack of real processes in a folder of its own, driven by the command line as a user would."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
import psutil
import yaml

from rafiki.client import Client
from rafiki.utils.clock import Deadline
from rafiki.utils.pid_file import PidFile
from rafiki.utils.process import end_processes, find_stack_processes
from rafiki.utils.sockets import any_free_port

REPO = Path(__file__).resolve().parent.parent
MODELS = Path(__file__).resolve().parent / "models"

_MODULES = {
    "admin": "rafiki.admin",
    "advisor": "rafiki.search.advisor_worker",
    "train": "rafiki.worker.train",
    "predictor": "rafiki.predictor",
    "inference": "rafiki.worker.inference",
}


class BenchError(RuntimeError):
    """Something went wrong that is no matter of speed."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of one process in MB (2**20 bytes)."""

    rss: float
    pss: float | None
    """Pages shared with other processes counted in parts; None where the system does not tell."""
    uss: float | None
    """What would be free without the process."""


class Usage(NamedTuple):
    """Processor time of the serving processes, in seconds."""

    predictor: float
    inference: float
    cache: float


def wait_for(condition: Callable[[], Any], what: str, *, timeout_s: float = 120.0, every_s: float = 0.2) -> Any:
    """The first truthy value of ``condition()``, which is asked seldom: asking costs the machine too.

    Raises:
        BenchError: when there is none in time.
    """
    deadline, pause = Deadline(timeout_s), threading.Event()
    while not (found := condition()):
        if deadline.is_over():
            raise BenchError(f"not within {timeout_s:g} s: {what}")
        pause.wait(every_s)
    return found


def command(*arguments: str) -> list[str]:
    """The ``rafiki`` command: the installed script if there is one beside this Python, else the module."""
    script = Path(sys.executable).parent / "rafiki"
    return [str(script), *arguments] if script.is_file() else [sys.executable, "-m", "rafiki_cli", *arguments]


class BenchStack:
    """One stack with the default settings, on free ports. Use as a context: whatever happens, nothing is left."""

    def __init__(self, container: Mapping[str, object] | None = None) -> None:
        """
        Args:
            container: settings of the section ``container``.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="rafiki-bench-"))
        self.port = any_free_port()
        settings = {"admin": {"port": self.port}, "container": dict(container or {})}
        (self.folder / "rafiki.yaml").write_text(yaml.safe_dump(settings))
        self._client: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The admin first: it starts again what it sees end.
        with contextlib.suppress(BenchError):
            self.run("down")
        end_processes(find_stack_processes(self.root), 5.0)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def root(self) -> Path:
        return (self.folder / ".rafiki").resolve()

    def processor_ms(self, *arguments: str) -> float:
        """Run a ``rafiki`` command in the stack's folder; returns the processor time it took.

        Raises:
            BenchError: when it fails.
        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.run(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)

    def run(self, *arguments: str) -> float:
        """Run a ``rafiki`` command in the stack's folder; returns the seconds it took.

        Raises:
            BenchError: when it fails.
        """
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RAFIKI_")}
        environment = {**clean, "PYTHONPATH": str(REPO), "XDG_CONFIG_HOME": str(self.folder / "config")}
        started = time.perf_counter()
        done = subprocess.run(
            command(*arguments), cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        took_s = time.perf_counter() - started
        if done.returncode != 0:
            raise BenchError(f"`rafiki {' '.join(arguments)}` ended with {done.returncode}: {done.stderr[-2000:]}")
        return took_s

    def up(self) -> float:
        return self.run("up")

    def down(self) -> float:
        return self.run("down")

    @property
    def client(self) -> Client:
        """Logged in as the superadmin."""
        if self._client is None:
            self._client = Client("127.0.0.1", self.port)
            password = (self.root / "superadmin-password").read_text().strip()
            self._client.login(email="superadmin@rafiki", password=password)
        return self._client

    # ---- its processes

    def process(self, kind: str) -> psutil.Process:
        """The newest process of a kind: ``admin``, ``advisor``, ``train``, ``predictor``, ``inference``, ``cache``.

        Raises:
            BenchError: when there is none.
        """
        if kind == "cache":
            found = PidFile.load(self.root / "run" / "cache.json")
            if found and (process := found.process.process()):
                return process
            raise BenchError("the cache does not run")
        running = [p for p in find_stack_processes(self.root) if _MODULES[kind] in _arguments(p)]
        if not running:
            raise BenchError(f"no {kind} process runs")
        return max(running, key=lambda p: p.create_time())

    def memory(self, kind: str) -> Memory:
        used = self.process(kind).memory_full_info()

        def mb(name: str) -> float | None:
            value = getattr(used, name, None)
            return None if value is None else round(value / 2**20, 1)

        return Memory(rss=mb("rss") or 0.0, pss=mb("pss"), uss=mb("uss"))

    def usage(self) -> Usage:
        def seconds(kind: str) -> float:
            times = self.process(kind).cpu_times()
            return float(times.user + times.system)

        return Usage(seconds("predictor"), seconds("inference"), seconds("cache"))


def _arguments(p: psutil.Process) -> list[str]:
    try:
        return p.cmdline()
    except psutil.Error:
        return []
