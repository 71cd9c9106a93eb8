"""Whether all that a blow reached works again, and how long that took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec
from chaos.answers import Tally
from chaos.ledger import Ledger
from chaos.watchdog import Watchdog
from chaos.work import Work

MOST_S = 90.0
"""A blow that nobody has recovered from by then has broken a promise."""
_LOOK_S = 0.05

Check = Callable[[], bool]


class Blow(msgspec.Struct, kw_only=True):
    """One that was struck."""

    kind: str
    began: float
    ended: float = 0.0
    """When it let go: a stopped process went on, a lock was freed."""
    target: str = ""
    recovered_s: float | None = None
    is_moot: bool = False
    """What it reached was not needed any more: its job ended, or its deployment was replaced."""
    waits_for: list[str] = []
    """What had not recovered when it was given up."""


class Checks:
    """What counts as recovered: after the end of the blow, a trial began and finished, and a query was answered by all
    members."""

    def __init__(self, ledger: Ledger, work: Work, tally: Tally, watchdog: Watchdog) -> None:
        self._ledger, self._work, self._tally, self._watchdog = ledger, work, tally, watchdog

    def job(self, job_id: str, since: float) -> Check:
        return lambda: self._ledger.last_start(job_id) > since or not self._ledger.is_live(job_id)

    def slot(self, job_id: str, unit_id: str, slot: int, since: float) -> Check:
        return lambda: self._ledger.last_start_of_slot(unit_id, slot) > since or not self._ledger.is_live(job_id)

    def deployment(self, name: str, since: float) -> Check:
        return lambda: self._tally.last_complete.get(name, 0.0) > since or name not in self._work.deployed

    def admin(self, since: float) -> Check:
        return lambda: self._watchdog.last_healthy > since

    def everything(self, since: float) -> dict[str, Check]:
        return {
            "admin": self.admin(since),
            **{job.app: self.job(job.id, since) for job in self._ledger.live_jobs()},
            **{f"deployment {name}": self.deployment(name, since) for name in list(self._work.deployed)},
        }


class Recoveries:
    """Follows blows until they have been recovered from, in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[tuple[Blow, dict[str, Check]]] = []
        self.blows: list[Blow] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recoveries", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(10.0)

    def strike(self, blow: Blow) -> None:
        with self._lock:
            self.blows.append(blow)

    def follow(self, blow: Blow, checks: dict[str, Check]) -> None:
        with self._lock:
            self._open.append((blow, checks))

    @property
    def n_open(self) -> int:
        with self._lock:
            return len(self._open)

    def _run(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                followed = list(self._open)
            now = time.time()
            done = [pair[0] for pair in followed if self._is_settled(*pair, now)]
            with self._lock:
                self._open = [pair for pair in self._open if not any(pair[0] is blow for blow in done)]
            self._closed.wait(_LOOK_S)

    @staticmethod
    def _is_settled(blow: Blow, checks: dict[str, Check], now: float) -> bool:
        blow.waits_for = [what for what, is_back in checks.items() if not is_back()]
        if not blow.waits_for:
            blow.recovered_s = max(0.0, now - blow.ended)
            return True
        return now - blow.ended > MOST_S
