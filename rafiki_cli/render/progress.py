"""Bars and live lines on stderr while something travels or is installed; only where a person looks."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from rafiki.errors import RafikiError
from rafiki_cli import terminal
from rafiki_cli.render import values

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.text import Text

    from rafiki.client.records import AdminClient, Away
    from rafiki.contract.environments import EnvironmentEvent

_QUICK_S = 0.3
"""What is over within this time needs no bar."""


def is_shown() -> bool:
    """Whether a person looks at stderr and wants to be told."""
    return sys.stderr.isatty() and not terminal.is_quiet()


@contextlib.contextmanager
def transfer(what: str, *, after: str = "") -> Iterator[Callable[[int, int], None] | None]:
    """A bar for the bytes of one file; gives what takes (bytes so far, bytes in all), None where nobody looks.

    Args:
        what: ``"Uploading digits.zip"``.
        after: what goes on once all bytes have travelled: ``"The admin checks it"``.
    """
    if not is_shown():
        yield None
        return
    bar = _Bar(what, after)
    try:
        yield bar.show
    finally:
        bar.close()


class _Bar:
    def __init__(self, what: str, after: str) -> None:
        self._what, self._after = what, after
        self._started = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def show(self, done: int, total: int) -> None:
        is_last = done >= total
        if self._progress is None:
            if time.monotonic() - self._started < _QUICK_S and not (is_last and self._after):
                return
            self._progress = _make_progress()
            self._task = self._progress.add_task(self._what, total=total)
            self._progress.start()
        assert self._task is not None
        self._progress.update(self._task, completed=done, total=total)
        if is_last and self._after:
            self._progress.update(self._task, description=self._after)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def _make_progress() -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from rafiki_cli.render.console import HarmlessConsole

    # Transient: what is over leaves no trace among the messages.
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), DownloadColumn(),
        TransferSpeedColumn(), TimeRemainingColumn(), console=HarmlessConsole(stderr=True), transient=True,
    )  # fmt: skip


@contextlib.contextmanager
def installing(client: AdminClient, dependencies: Mapping[str, str]) -> Iterator[None]:
    """A live line with what the installation of packages says, while a call waits for it.

    It only tells: whatever goes wrong here, the call itself reports.
    """
    if not dependencies or not is_shown():
        yield
        return
    key: str | None = None
    with contextlib.suppress(RafikiError):
        state = client.create_environment(dependencies)
        key = state.key if state.status == "BUILDING" else None
    if key is None:
        yield
        return
    from rich.live import Live

    from rafiki_cli.render.console import HarmlessConsole

    line = _InstallLine(", ".join(sorted(dependencies)))
    stop = threading.Event()

    def read() -> None:
        with contextlib.suppress(RafikiError):
            for event in client.watch_environment(key, stop=stop):
                line.take(event)
                if stop.is_set():
                    return

    threading.Thread(target=read, name="installation", daemon=True).start()
    with Live(line, console=HarmlessConsole(stderr=True), refresh_per_second=4, transient=True):
        try:
            yield
        finally:
            stop.set()


class _InstallLine:
    """``Installing numpy  12.4s  Collecting numpy``."""

    def __init__(self, packages: str) -> None:
        self._packages = packages
        self._started = time.monotonic()
        self._last = ""

    def take(self, event: EnvironmentEvent | Away) -> None:
        lines = [line.strip() for line in getattr(event, "lines", ()) if line.strip()]
        if lines:
            self._last = lines[-1]

    def __rich__(self) -> Text:
        from rich.text import Text

        took = values.duration(time.monotonic() - self._started)
        text = Text(f"Installing {self._packages}", no_wrap=True, overflow="ellipsis")
        text.append(f"  {took}", style="cyan")
        return text.append(f"  {self._last}", style="dim")
