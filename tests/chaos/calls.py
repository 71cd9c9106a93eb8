"""Calls of a person or a script who does not give up: again, until it is done or the deadline has passed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from chaos.witness import AwayError

from rafiki.errors import InternalError, RafikiError
from rafiki.utils.clock import Deadline

T = TypeVar("T")
CALL_DEADLINE_S = 120.0
_AGAIN_S = 0.25


class BrokenPromiseError(Exception):
    """Something that was promised has not come; the message says what."""


class Caller:
    """Of one thread. Counts refusals, by their codes."""

    def __init__(self, tell_wrong: Callable[[str], None]) -> None:
        """
        Args:
            tell_wrong: is told what no caller should ever see.
        """
        self._tell_wrong = tell_wrong
        self._pause = threading.Event()

    def until(self, call: Callable[[], T | None], what: str, deadline_s: float = CALL_DEADLINE_S) -> T:
        """What ``call()`` returns, once that is anything.

        Raises:
            BrokenPromiseError: when there is nothing in time.
        """
        deadline, last = Deadline(deadline_s), "it did not come"
        while not deadline.is_over():
            try:
                found = call()
            except InternalError as e:
                self._tell_wrong(f"{what}: {e.message}")
                last = e.message
            except (RafikiError, AwayError) as e:
                last = f"{type(e).__name__}: {e}"
            else:
                if found is not None and found is not False:
                    return found
            self._pause.wait(_AGAIN_S)
        raise BrokenPromiseError(f"{what}: not within {deadline_s:g} s ({last})")
