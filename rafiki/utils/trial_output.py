"""What model code printed in a trial, found again in the log of its train worker: the lines between two records."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

BEGINS = "begins (attempt %d)"
ENDS = "ends with the score %g"
FAILED = "failed: %s"

_RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ +trial (\d+): (.*)")
_BEGINS = re.compile(r"begins \(attempt (\d+)\)")
_ENDS = re.compile(r"(ends with the score|failed:) ")


class TrialOutput(NamedTuple):
    """What was printed."""

    lines: list[str]
    """The last ones."""
    n_earlier: int
    """How many there were before these."""


def find_output(log: Iterable[str], no: int, attempt: int, most_lines: int) -> TrialOutput | None:
    """What a trial printed; None when the log does not tell: it holds no such trial, or no records of INFO.

    Args:
        log: the lines of the worker's log.
        no: the trial's number.
        attempt: which of its attempts.
    """
    found: deque[str] | None = None
    n_lines = 0
    for line in log:
        at, message = _record(line)
        if at == no and (begins := _BEGINS.fullmatch(message)):
            if int(begins[1]) == attempt:
                found, n_lines = deque(maxlen=most_lines), 0
            elif found is not None:
                break
        elif found is not None and at is not None and (at != no or _ENDS.match(message)):
            break
        elif found is not None:
            n_lines += 1
            found.append(line)
    return None if found is None else TrialOutput(list(found), n_lines - len(found))


def _record(line: str) -> tuple[int | None, str]:
    """The trial and the message of a record of the worker; None for what something else wrote."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
            return (int(entry["trial"]), str(entry["message"])) if entry["logger"].startswith("rafiki.") else (None, "")
        except (ValueError, KeyError, TypeError, AttributeError):
            return None, ""
    m = _RECORD.fullmatch(line)
    return (int(m[1]), m[2]) if m else (None, "")
