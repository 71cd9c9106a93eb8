"""Tells a command that waits that the stack is not healthy: it would wait in vain."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from rafiki.client.trust import Trust
from rafiki.errors import AdminLostError, RafikiError, StackUnhealthyError, UnreachableError

if TYPE_CHECKING:
    from types import FrameType

_EVERY_S = 0.5
_ANSWER_TIMEOUT_S = 1.7
_SILENT_S = 3.5
"""An admin that takes connections and answers none of them for so long is told."""
_SETTLING_S = 15.0
"""So long an admin that has just come back, after a restart, may take until it has looked at everything."""
_SIGNAL = signal.SIGUSR1


class _NoAnswerError(Exception):
    """The admin took the connection, and did not answer."""


class HealthWatch:
    """Asks an admin, from a thread, how its stack is."""

    def __init__(self, address: str, trust: Trust | None = None, *, is_any_answer_good: bool = False) -> None:
        """
        Args:
            is_any_answer_good: only an admin that hangs counts, not what it says of its stack.
        """
        self._address = address
        self._trust = trust or Trust()
        self._is_any_answer_good = is_any_answer_good
        self._stopped = threading.Event()
        self._silent_since: float | None = None
        self._is_back = False
        """Whether the admin was away, and has not been healthy since."""
        self._away_at = 0.0
        self._error: RafikiError | None = None
        self._may_interrupt = False
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Whatever the main thread does in here ends with the error that says what is wrong with the stack.

        What another thread does is not interrupted: only its failure is explained.

        A wait has many shapes: a stream, a call that hangs, a deadline. A signal ends each of them, as Ctrl-C does.

        Raises:
            StackUnhealthyError: when the stack is not healthy.
            AdminLostError: when the admin does not answer any more.
        """
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(_SIGNAL, self._interrupt) if is_main else None
        self._may_interrupt = is_main
        self._thread.start()
        try:
            yield
        except RafikiError as e:
            # A call may have failed for the very reason, before this was noticed.
            is_of_server = e.http_status >= 500 or isinstance(e, UnreachableError)
            if e is not self._error and is_of_server and (told := self._look()) is not None:
                raise told from e
            raise
        finally:
            self._stopped.set()
            if is_main:
                # Not the default, which would end the process with one that is on its way.
                signal.signal(_SIGNAL, before if callable(before) else signal.SIG_IGN)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._error is not None and not self._stopped.is_set():
            self._raise(self._error)

    def _raise(self, error: RafikiError) -> NoReturn:
        raise error

    def _run(self) -> None:
        main = threading.main_thread().ident
        while not self._stopped.is_set():
            error = self._look()
            if error is not None and main is not None and self._may_interrupt and not self._stopped.is_set():
                self._error = error
                signal.pthread_kill(main, _SIGNAL)
            self._stopped.wait(_EVERY_S)

    def _look(self) -> RafikiError | None:
        """What is wrong; None when nothing is, and when nobody is there to ask: calls and streams tell that."""
        started = time.monotonic()
        try:
            status = self._ask()
        except _NoAnswerError:
            self._silent_since = self._silent_since or started
            silent_s = time.monotonic() - self._silent_since
            if silent_s < _SILENT_S:
                return None
            return AdminLostError(
                f"The admin at {self._address} takes connections, but has not answered for {silent_s:.0f} s: it hangs, "
                "or its machine does. `rafiki doctor` looks further."
            )
        self._silent_since = None
        if status is None:
            self._is_back, self._away_at = True, started
            return None
        if status == "ok" or self._is_any_answer_good:
            self._is_back = False
            return None
        if self._is_back and time.monotonic() - self._away_at < _SETTLING_S:
            return None
        told = "Jobs go on once that is mended; `rafiki doctor` looks further."
        return StackUnhealthyError(f"The stack is not healthy: {status} {told}")

    def _ask(self) -> str | None:
        from rafiki.client.http_server import split_address

        host, port = split_address(self._address, "an admin")
        name = host.removeprefix("https://")
        connection = (
            http.client.HTTPConnection(name, port, timeout=_ANSWER_TIMEOUT_S)
            if name == host
            else http.client.HTTPSConnection(name, port, timeout=_ANSWER_TIMEOUT_S, context=self._trust.context())
        )
        try:
            connection.connect()
        except OSError:
            return None
        try:
            connection.request("GET", "/")
            found = json.loads(connection.getresponse().read())
        except TimeoutError as e:
            raise _NoAnswerError from e
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return str(found["status"]) if isinstance(found, dict) and "status" in found else None


@contextlib.contextmanager
def while_healthy(address: str, trust: Trust | None = None) -> Iterator[None]:
    """As long as the stack of the admin at ``address`` is healthy; see :meth:`HealthWatch.interrupting`."""
    with HealthWatch(address, trust).interrupting():
        yield


@contextlib.contextmanager
def while_answering(address: str, trust: Trust | None = None) -> Iterator[None]:
    """As long as the admin at ``address`` does not hang, be its stack healthy or not."""
    with HealthWatch(address, trust, is_any_answer_good=True).interrupting():
        yield
