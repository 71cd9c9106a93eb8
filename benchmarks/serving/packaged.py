"""A peer that pip installs: its server program runs in its environment, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import psutil

from benchmarks.bench_stack import BenchError, wait_for
from benchmarks.datasets import image_queries, number_queries, train_images, train_numbers
from benchmarks.serving.environment import Environment
from benchmarks.serving.peer import Peer, Running, Setting
from benchmarks.serving.servers.served import VARIABLE, Config
from rafiki.utils.process import end_processes
from rafiki.utils.sockets import any_free_port

SERVERS = Path(__file__).resolve().with_name("servers")
_START_S = 120.0
_STOP_S = 2.0
_ESTIMATORS = ("scikit-learn", "numpy", "msgspec")
_MARK = "RAFIKI_BENCH_RUN"


class PackagedServer(Running):
    """Processes are found by a mark in their environment: what the program starts inherits it."""

    def __init__(self, port: int, path: str, run: str, pids: Path) -> None:
        self.port, self.path = port, path
        self._run, self._pids = run, pids

    def processes(self) -> list[psutil.Process]:
        """All that belong to it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK) == self._run:
                    found.append(process)
        return found

    def models(self) -> list[psutil.Process]:
        held = {file.name for file in self._pids.iterdir()}
        return [process for process in self.processes() if str(process.pid) in held]

    def front(self) -> list[psutil.Process]:
        held = {process.pid for process in self.models()}
        return [process for process in self.processes() if process.pid not in held]

    def others(self) -> list[psutil.Process]:
        return []


class PackagedPeer(Peer):
    """Subclasses say what is installed, and how it is started."""

    requirement: ClassVar[str]
    more: ClassVar[tuple[str, ...]] = ()
    """What it is faster with."""
    path: ClassVar[str] = "/predict"

    def __init__(self) -> None:
        self.environment = Environment(self.name, [self.requirement, *self.more, *_ESTIMATORS])

    def find_missing(self) -> str | None:
        return self.environment.find_missing()

    def version(self) -> str:
        return self.environment.version_of(self.requirement.partition("[")[0])

    def command(self, port: int) -> list[str]:
        """What starts the server program; its interpreter goes before."""
        return [str(SERVERS / f"{self.name}_app.py")]

    def variables(self, folder: Path) -> Mapping[str, str]:
        """More for its environment."""
        return {}

    def running(self, port: int, setting: Setting, run: str, pids: Path) -> PackagedServer:
        return PackagedServer(port, self.path, run, pids)

    @contextlib.contextmanager
    def serve(self, model: str, setting: Setting) -> Iterator[Running]:
        # Short: sockets have their paths in it.
        folder = Path(tempfile.mkdtemp(prefix="rb-"))
        port, run = any_free_port(), uuid.uuid4().hex
        (folder / "pids").mkdir()
        config = Config(port, model, str(_write_data(folder, model)), setting.batch, setting.wait_ms,
                        str(folder / "pids"))  # fmt: skip
        environment = {
            "PATH": f"{self.environment.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(folder), "TMPDIR": str(folder), "PYTHONPATH": str(SERVERS), _MARK: run,
            VARIABLE: msgspec.json.encode(config).decode(), **self.variables(folder),
        }  # fmt: skip
        server = self.running(port, setting, run, folder / "pids")
        try:
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    [str(self.environment.python), *self.command(port)], cwd=folder, env=environment,
                    start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                )  # fmt: skip
            try:
                wait_for(lambda: _answers(server, process, model), "its first answer", timeout_s=_START_S)
            except BenchError as e:
                tail = (folder / "log").read_text(errors="replace")[-1500:]
                raise BenchError(f"{self.name} does not serve: {e}. Its log ends: {tail}") from e
            yield server
        finally:
            end_processes([p for p in server.processes() if p.pid != os.getpid()], _STOP_S)
            process.wait(10)
            shutil.rmtree(folder, ignore_errors=True)


def _answers(server: Running, process: subprocess.Popen[bytes], model: str) -> bool:
    if process.poll() is not None:
        raise BenchError(f"it ended with {process.returncode}")
    with contextlib.suppress(OSError, BenchError):
        server.ask((image_queries() if model == "images" else number_queries()).queries[0])
        return True
    return False


def _write_data(folder: Path, model: str) -> Path:
    features, classes = train_images() if model == "images" else train_numbers()
    np.savez(folder / "data.npz", features=features, classes=classes)
    return folder / "data.npz"
