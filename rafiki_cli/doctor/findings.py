"""What a check says."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, and may not for long, or not as well as it could."""
    PROBLEM = "problem"
    """Something does not work."""
    SKIPPED = "skipped"
    """It was not looked at, or is not needed."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    check: str
    """What was looked at: ``cache server``."""
    verdict: Verdict
    found: str
    cure: str | None = None
    """What to do about it."""


def ok(check: str, found: str) -> Finding:
    return Finding(check, Verdict.OK, found)


def warning(check: str, found: str, cure: str) -> Finding:
    return Finding(check, Verdict.WARNING, found, cure)


def problem(check: str, found: str, cure: str) -> Finding:
    return Finding(check, Verdict.PROBLEM, found, cure)


def skipped(check: str, found: str, cure: str | None = None) -> Finding:
    return Finding(check, Verdict.SKIPPED, found, cure)


_ORDER = [Verdict.PROBLEM, Verdict.WARNING, Verdict.OK]


def worst(findings: Sequence[Finding]) -> Verdict:
    """The verdict on all of it."""
    found = {f.verdict for f in findings}
    return next((verdict for verdict in _ORDER if verdict in found), Verdict.OK)
