"""Values and times as words for people, the same wherever they are told."""

from __future__ import annotations

import json
from datetime import UTC, datetime

NOTHING = "-"


def text(value: object) -> str:
    """Any value in one line."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return number(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def number(value: float) -> str:
    """Four significant digits, and all of those before the point: no exponent where a short plain form exists."""
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def count(number: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(text: str) -> datetime:
    """An aware datetime from a text in ISO 8601, which is UTC unless it says otherwise."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def between(start: datetime | None, end: datetime | None, now: datetime | None = None) -> float | None:
    """Seconds from ``start`` to ``end``, or to ``now`` while there is no end."""
    ended = end or now
    return (ended - start).total_seconds() if start and ended else None
