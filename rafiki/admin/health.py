"""Whether the stack works, by what worked or failed lately: threads that try the cache and the database all the time.

A failure counts once it has lasted, so that a private cache that is started again, or a busy disk, is no alarm; all in
all it is told within four seconds.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from rafiki.errors import RafikiError
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)

EVERY_S = 0.8
_AGAIN_S = 0.2
"""After a failure."""
PATIENCE_S = 1.5
"""A failure counts when it has lasted so long."""
HANG_S = 3.0
"""What takes longer counts as failed. The checks themselves give up a little earlier, and say more."""
FAILED_START_COUNTS_S = 30.0
"""So long is a service that could not be started told, unless another one is started meanwhile."""


class Condition:
    """How something that is tried again and again goes. Safe to share between threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began: float | None = None
        self._limit_s = HANG_S
        self._failing_since: float | None = None
        self._has_worked = False
        self._error: RafikiError | None = None

    def begin(self, limit_s: float | None = None) -> None:
        """A try begins, or a step of one, which takes longer than ``limit_s`` (HANG_S) only when it hangs."""
        self._began, self._limit_s = time.monotonic(), HANG_S if limit_s is None else limit_s

    def end(self, error: RafikiError | None = None) -> None:
        """The try has ended; ``error`` is why it failed."""
        if error is None:
            self._failing_since = None
            self._has_worked = True
        elif self._failing_since is None:
            self._failing_since = self._began or time.monotonic()
        self._began, self._error = None, error

    def find_error(self) -> RafikiError | None:
        """What is wrong now; None when it works, or has failed for a moment only."""
        now, began, since, error = time.monotonic(), self._began, self._failing_since, self._error
        if error is not None and since is not None and (now - since >= PATIENCE_S or not self._has_worked):
            return error
        if began is not None and now - began >= self._limit_s:
            return RafikiError(f"{self._name} does not answer for {now - began:.0f} s.")
        if not self._has_worked:
            return RafikiError(f"{self._name} has not answered yet.")
        return None


class Starts:
    """Whether services can be started: the last failure to start one for a reason that is not its job's."""

    def __init__(self) -> None:
        self._error: RafikiError | None = None
        self._failed_at = 0.0

    def fail(self, reason: str) -> None:
        self._error, self._failed_at = RafikiError(reason), time.monotonic()

    def succeed(self) -> None:
        self._error = None

    def find_error(self) -> RafikiError | None:
        """The failure, while it counts."""
        return self._error if time.monotonic() - self._failed_at < FAILED_START_COUNTS_S else None


class _Check:
    """One thing that is tried all the time, in a thread of its own: one that hangs holds up no other."""

    def __init__(self, name: str, check: Callable[[], None], stopped: threading.Event) -> None:
        self.name = name.removeprefix("The ")
        self.condition = Condition(name)
        self._check, self._stopped = check, stopped
        self.thread = threading.Thread(target=self._run, name=f"health of {name}", daemon=True)

    def _run(self) -> None:
        told: str | None = None
        while not self._stopped.is_set():
            self.condition.begin()
            error: RafikiError | None = None
            try:
                self._check()
            except RafikiError as e:
                error = e
            except Exception as e:  # noqa: BLE001 - the thread must outlive whatever a check runs into
                with contextlib.suppress(Exception):
                    log_unexpected(_logger, e)
                error = RafikiError(f"Its check failed unexpectedly: {type(e).__name__}: {e}.")
            self.condition.end(error)
            told = self._tell(told)
            self._stopped.wait(EVERY_S if error is None else _AGAIN_S)

    def _tell(self, told: str | None) -> str | None:
        """Log what has changed for longer than a moment; what is told now."""
        lasting = found.message if (found := self.condition.find_error()) is not None else None
        with contextlib.suppress(Exception):  # no failure to log may end the loop
            if lasting != told:
                _logger.warning("health: %s", lasting or "it works again")
        return lasting


class Health:
    """Tries what every job needs, from :meth:`start` on."""

    def __init__(self, checks: Sequence[tuple[str, Callable[[], None]]]) -> None:
        """
        Args:
            checks: each with its name for people, and raising a RafikiError when it does not work.
        """
        self._stopped = threading.Event()
        self._checks = [_Check(name, check, self._stopped) for name, check in checks]

    def start(self) -> None:
        for check in self._checks:
            check.thread.start()

    def find_errors(self) -> list[RafikiError]:
        """What does not work. A check that has ended says nothing any more, so that is an error too."""
        found = [error for check in self._checks if (error := check.condition.find_error()) is not None]
        if not self._stopped.is_set():
            found += [
                RafikiError(f"The {check.thread.name} is not looked at any more. `rafiki down`, `rafiki up`.")
                for check in self._checks if check.thread.ident is not None and not check.thread.is_alive()
            ]  # fmt: skip
        return found

    def states(self) -> dict[str, bool]:
        """Whether each of them works, by its name."""
        return {check.name: check.condition.find_error() is None for check in self._checks}

    def shut_down(self) -> None:
        self._stopped.set()
