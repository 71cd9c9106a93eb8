"""What a supervisor of processes does for a stack, as systemd would: after the end of an admin it types `rafiki up`."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time

import psutil
from chaos.stack import ChaosStack

from rafiki.client import Client
from rafiki.errors import RafikiError

_LOOK_S = 0.05


class Watchdog:
    """A thread that looks whether the admin runs."""

    def __init__(self, stack: ChaosStack) -> None:
        self._stack = stack
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._health = threading.Thread(target=self._ask, name="health", daemon=True)
        self.n_ups = 0
        self.failures: list[str] = []
        """What `rafiki up` said when it did not succeed: it is typed again."""
        self.last_healthy = 0.0
        """When the admin was asked last of the times that it was healthy."""

    def start(self) -> None:
        self._thread.start()
        self._health.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(60.0)
        self._health.join(20.0)

    def _run(self) -> None:
        admin = self._stack.admin()
        while not self._closed.is_set():
            if admin is None or not admin.is_alive():
                with contextlib.suppress(psutil.Error, OSError):
                    admin = self._stack.admin()
                if admin is None:
                    self._up()
            self._closed.wait(_LOOK_S)

    def _up(self) -> None:
        try:
            done = self._stack.run("up")
        except subprocess.TimeoutExpired as e:
            self.failures.append(f"rafiki up did not end: {e}")
            return
        self.n_ups += 1
        if done.returncode != 0:
            self.failures.append(f"{done.returncode}: {done.stderr.strip()[-500:]}")

    def _ask(self) -> None:
        client = Client("127.0.0.1", self._stack.port)
        while not self._closed.is_set():
            asked = time.time()
            with contextlib.suppress(RafikiError):
                if client.get_health()["status"] == "ok":
                    self.last_healthy = asked
            self._closed.wait(0.1)
