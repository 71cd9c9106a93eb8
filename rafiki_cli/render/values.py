"""How single values look to people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

NOTHING = "-"


def text(value: Any) -> str:
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


def score(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def size(count_bytes: int | None) -> str:
    """``1.5 MB``."""
    if count_bytes is None:
        return NOTHING
    amount = float(count_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def moment(value: str | datetime | None) -> datetime | None:
    """A datetime of an answer (ISO 8601) as an aware datetime."""
    if not value:
        return None
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def local_time(value: str | None) -> str:
    """A datetime of an answer in this machine's time zone, to the second."""
    found = moment(value)
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S") if found else NOTHING


def short_time(value: str | None) -> str:
    """A datetime of an answer in this machine's time zone, to the minute."""
    return local_time(value)[:16]


def duration(seconds: float | None) -> str:
    """``4.2s``, ``3m05s``, ``2h10m``."""
    if seconds is None:
        return NOTHING
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


def between(start: str | None, end: str | None, now: datetime | None = None) -> float | None:
    """Seconds from ``start`` to ``end``, or to ``now`` while there is no end."""
    started = moment(start)
    ended = moment(end) or now
    return (ended - started).total_seconds() if started and ended else None


def knobs(values: Mapping[str, Any] | None) -> str:
    """``C=1.2 kernel=rbf``."""
    if not values:
        return NOTHING
    return " ".join(f"{name}={text(value)}" for name, value in values.items())


def one_line(message: str | None) -> str:
    """A whole message in one line."""
    return " ".join((message or "").split())


def first_line(message: str | None, length: int = 80) -> str:
    """The first line of a message, cut to ``length``."""
    if not message:
        return ""
    line = message.strip().splitlines()[0]
    return line if len(line) <= length else line[: length - 1] + "…"
