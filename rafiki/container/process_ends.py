"""Tells at once when a process has ended, whoever started it: an admin that was restarted is no parent of what runs."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable


class ProcessEnds:
    """Watches processes from a thread of its own. Where the system cannot tell (it is not Linux) nobody is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, int] = {}
        """Process ids by the descriptors that stand for them."""
        self._listeners: list[Callable[[], None]] = []
        self._epoll: select.epoll | None = None

    def on_end(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called after the end of any process that is watched; it must not block."""
        self._listeners.append(listener)

    def watch(self, pid: int) -> None:
        """Tell of the end of this process; once, also when it is asked for again."""
        if not self._listeners or not hasattr(os, "pidfd_open") or not hasattr(select, "epoll"):
            return
        with self._lock:
            if pid in self._watched.values():
                return
            if self._epoll is None:
                self._epoll = select.epoll()
                threading.Thread(target=self._run, args=(self._epoll,), name="process-ends", daemon=True).start()
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(pid)
                self._watched[descriptor] = pid
                self._epoll.register(descriptor, select.EPOLLIN)

    def _run(self, epoll: select.epoll) -> None:
        while True:
            for descriptor, _ in epoll.poll():
                with self._lock:
                    self._watched.pop(descriptor, None)
                    with contextlib.suppress(OSError):
                        epoll.unregister(descriptor)
                    os.close(descriptor)
            for listener in self._listeners:
                listener()
