"""Keeps the courier running while somebody is to be told of jobs: a process of its own, which ends with the admin."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading

from rafiki.errors import RafikiError
from rafiki.meta_store import MetaStore
from rafiki.utils.process import Backoff

_logger = logging.getLogger(__name__)
_LOOK_S = 2.0
_STOP_S = 5.0
_MODULE = "rafiki.admin.courier"


class CourierKeeper:
    """A thread that looks every few seconds."""

    def __init__(self, store: MetaStore) -> None:
        self._store = store
        self._admin_url = ""
        self._stopped = threading.Event()
        self._changed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff = Backoff(1.0, 60.0)
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self, admin_url: str) -> None:
        """
        Args:
            admin_url: where links in webhooks lead.
        """
        self._admin_url = admin_url
        self._thread.start()

    def wake(self) -> None:
        """Look now: there is another receiver."""
        self._changed.set()

    def shut_down(self) -> None:
        """End the courier with what it has in hand."""
        self._stopped.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()
        self._end()

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopped.is_set():
            self._changed.wait(wait_s)
            self._changed.clear()
            if self._stopped.is_set():
                return
            wait_s = _LOOK_S
            try:
                is_wanted = bool(self._store.outbox.list_live_receivers())
            except RafikiError:
                continue  # The admin's health tells it.
            if not is_wanted:
                self._end()
            elif self._process is None:
                self._begin()
            elif (code := self._process.poll()) is not None:
                self._process = None
                wait_s = self._backoff.next_s()
                _logger.warning("courier: it has ended with code %d; it is started again", code)

    def _begin(self) -> None:
        try:
            # Its log is the admin's. What it needs to know is in the configuration and the environment that both have.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE], stdin=subprocess.PIPE
            )  # fmt: skip
            assert self._process.stdin is not None
            self._process.stdin.write(f"{self._admin_url}\n".encode())
            self._process.stdin.flush()
        except OSError as e:
            _logger.warning("courier: it cannot be started: %s", e)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
