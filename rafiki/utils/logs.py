"""Log lines of servers: one line an event on stderr, which the container manager keeps in a file."""

from __future__ import annotations

import sys
import traceback

from rafiki.utils.clock import utc_now


def log_line(message: str) -> None:
    """One line with the time."""
    sys.stderr.write(f"{utc_now():%Y-%m-%d %H:%M:%S} {message}\n")
    sys.stderr.flush()


def log_unexpected(error: BaseException) -> None:
    """A failure of our own, with everything that helps to mend it. Never shown to a user."""
    log_line("unexpected: " + "".join(traceback.format_exception(error)).rstrip())
