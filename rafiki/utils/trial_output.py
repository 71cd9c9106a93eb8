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


class OutputFinder:
    """Tells the lines of a worker's log, one after another, that were printed in one attempt of a trial."""

    def __init__(self, no: int, attempt: int) -> None:
        self._no, self._attempt = no, attempt
        self._is_within = False
        self.n_begun = 0
        """How often the attempt has begun: what was found before the last time counts no more."""
        self.is_over = False

    def has(self, line: str) -> bool:
        """Whether the log's next line was printed in the trial."""
        if self.is_over:
            return False
        at, message = _record(line)
        if at == self._no and (begins := _BEGINS.fullmatch(message)):
            if int(begins[1]) == self._attempt:
                self._is_within = True
                self.n_begun += 1
            else:
                self.is_over = self._is_within
        elif self._is_within and at is not None and (at != self._no or _ENDS.match(message)):
            self.is_over = True
        else:
            return self._is_within
        return False


def find_output(log: Iterable[str], no: int, attempt: int, most_lines: int) -> TrialOutput | None:
    """What a trial printed; None when the log does not tell: it holds no such trial, or no records of INFO.

    Args:
        log: the lines of the worker's log.
        no: the trial's number.
        attempt: which of its attempts.
    """
    finder = OutputFinder(no, attempt)
    found: deque[str] = deque(maxlen=most_lines)
    n_lines = n_begun = 0
    for line in log:
        is_of_trial = finder.has(line)
        if finder.n_begun != n_begun:
            n_begun = finder.n_begun
            found.clear()
            n_lines = 0
        if finder.is_over:
            break
        if is_of_trial:
            n_lines += 1
            found.append(line)
    return TrialOutput(list(found), n_lines - len(found)) if n_begun else None


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
