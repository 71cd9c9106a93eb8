"""Processes of one stack: finding them again, ending them; and the stop signal of our own.

Every process of a stack carries ``RAFIKI_STACK`` in its environment and so do its children, so none can be lost even
when a pid file is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

from rafiki.utils.clock import Deadline
from rafiki.utils.folders import is_same_folder
from rafiki.utils.pid_file import STACK_VARIABLE as STACK_VARIABLE

STACK_ID_VARIABLE = "RAFIKI_STACK_ID"
"""In the environment of what an admin has started: the id of the stack, which stays with a folder that is moved."""
COPIES_FOLDER_VARIABLE = "RAFIKI_COPIES_FOLDER"
"""Names the folder of a host's copies of datasets: a volume of the host, for services that run in containers."""
COPIES_MAX_MB_VARIABLE = "RAFIKI_COPIES_MAX_MB"
"""How much of it may be used; unused copies go above it. Without it there is no limit but the disk."""
SERVICE_VARIABLE = "RAFIKI_SERVICE_ID"


def _environment(p: psutil.Process) -> dict[str, str]:
    with contextlib.suppress(psutil.Error, OSError):
        return p.environ()
    return {}


def find_stack_processes(
    stack_root: Path, *, service_id: str | None = None, stack_id: str | None = None
) -> list[psutil.Process]:
    """Every running process of a stack (of one service of it), found by its environment; never this one.

    Args:
        stack_id: only those that carry this id: the folder may have held two stacks in turn.
    """
    found = []
    for p in psutil.process_iter():
        if p.pid == os.getpid():
            continue
        environment = _environment(p)
        if (serves := environment.get(STACK_VARIABLE)) is None or not is_same_folder(serves, stack_root):
            continue
        if stack_id is not None and environment.get(STACK_ID_VARIABLE) != stack_id:
            continue
        if service_id is not None and environment.get(SERVICE_VARIABLE) != service_id:
            continue
        with contextlib.suppress(psutil.Error):
            if p.status() != psutil.STATUS_ZOMBIE:
                found.append(p)
    return found


def find_stack_roots() -> dict[Path, list[psutil.Process]]:
    """The folders of all stacks of which this user sees running processes, with those."""
    found: dict[Path, list[psutil.Process]] = {}
    for p in psutil.process_iter():
        if (root := _environment(p).get(STACK_VARIABLE)) is None:
            continue
        with contextlib.suppress(psutil.Error):
            if p.status() != psutil.STATUS_ZOMBIE:
                found.setdefault(Path(root), []).append(p)
    return found


def end_processes(processes: Iterable[psutil.Process], timeout_s: float) -> None:
    """End processes: SIGTERM, then SIGKILL for those that are left after ``timeout_s``. Returns when all are gone."""
    left = list(processes)
    for signal_no, wait_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 5.0)):
        for p in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                p.send_signal(signal_no)
        _, left = psutil.wait_procs(left, timeout=wait_s)
        if not left:
            return


class ServiceStopped(BaseException):
    """SIGTERM or SIGINT came while the process was interruptible. No ``except Exception`` of model code stops it."""


class StopSignal:
    """SIGTERM and SIGINT of a service: the first one asks it to stop, the second ends it at once.

    Inside :meth:`interruptible` the first one raises ServiceStopped in the main thread, so that a blocking wait (or a
    long training) ends; elsewhere it sets a flag that the service looks at when its current step is done.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._is_interruptible = False
        self._callbacks: list[Callable[[], object]] = []

    def install(self) -> None:
        """Take over the signals. Call from the main thread."""
        for signal_no in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_no, self._on_signal)

    def _on_signal(self, signal_no: int, _frame: object) -> None:
        if self._event.is_set():
            os._exit(128 + signal_no)
        self._event.set()
        for callback in self._callbacks:
            callback()
        if self._is_interruptible:
            raise ServiceStopped

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` from the signal handler, or at once when the signal came already: for an event loop, which
        nothing may interrupt. It must not block, nor fail, nor mind being called twice."""
        self._callbacks.append(callback)
        if self._event.is_set():
            callback()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Raises ServiceStopped when the signal came, before or during the block."""
        self._is_interruptible = True
        try:
            if self._event.is_set():
                raise ServiceStopped
            yield
        finally:
            self._is_interruptible = False

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the signal or the timeout; True when the signal came."""
        return self._event.wait(timeout_s)


class Backoff:
    """Growing delays between tries, with a cap; :meth:`reset` after a success."""

    def __init__(self, first_s: float = 0.05, most_s: float = 2.0) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._next_s = first_s

    def next_s(self) -> float:
        delay, self._next_s = self._next_s, min(self._most_s, self._next_s * 2)
        return delay

    def reset(self) -> None:
        self._next_s = self._first_s


def wait_until(condition: Callable[[], bool], deadline: Deadline, *, event: threading.Event | None = None) -> bool:
    """Whether ``condition()`` became true before the deadline; looked at again after growing, bounded waits."""
    event = event or threading.Event()
    backoff = Backoff(0.005, 0.1)
    while not condition():
        if deadline.is_over():
            return False
        event.wait(min(backoff.next_s(), deadline.left_s()))
    return True
