"""Time, and threads that wait for it, as one object that is passed: a simulation passes another one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from rafiki.utils.clock import utc_now


class Flag(Protocol):
    """As :class:`threading.Event`."""

    def is_set(self) -> bool: ...

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def wait(self, timeout: float | None = None) -> bool: ...


class Thread(Protocol):
    """As :class:`threading.Thread`."""

    def start(self) -> None: ...

    def join(self, timeout: float | None = None) -> None: ...

    def is_alive(self) -> bool: ...

    @property
    def ident(self) -> int | None: ...


class Pool(Protocol):
    """Threads that do what they are given, so many at a time."""

    def submit(self, action: Callable[[], None], /) -> object: ...

    def shutdown(self, wait: bool = True) -> None: ...


class Timing:
    """That of this machine."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        return utc_now()

    def monotonic_s(self) -> float:
        """For durations."""
        return time.monotonic()

    def make_flag(self) -> Flag:
        return threading.Event()

    def make_thread(self, run: Callable[[], None], name: str) -> Thread:
        """One that keeps no process alive."""
        return threading.Thread(target=run, name=name, daemon=True)

    def make_pool(self, most_threads: int, name: str) -> Pool:
        return ThreadPoolExecutor(max_workers=most_threads, thread_name_prefix=name)


SYSTEM = Timing()
