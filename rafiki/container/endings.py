"""How the end of a service is told to people, whatever it ran as."""

from __future__ import annotations

import signal
from pathlib import Path

from rafiki.utils.files import tail_lines
from rafiki.utils.logs import message_of

_LAST_LINES = 3


def in_words(code: int) -> str:
    """What an exit code says; negative = killed by that signal."""
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"


def with_last_words(how: str, log_file: Path) -> str:
    """An end with the last lines of the service's log."""
    last = [message_of(line) for line in tail_lines(log_file, _LAST_LINES) if line.strip()]
    return f"{how}; last in its log: {' / '.join(last)}" if last else how
