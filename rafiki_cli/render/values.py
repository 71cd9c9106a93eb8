"""How single values look to people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from rafiki.utils.words import NOTHING, between, count, moment, number, text
from rafiki_cli.terminal import harmless

__all__ = [
    "NOTHING", "between", "count", "duration", "first_line", "knobs", "local_time", "moment", "number", "one_line",
    "score", "short_time", "size", "text",
]  # fmt: skip


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


def local_time(value: datetime | None) -> str:
    """A datetime in this machine's time zone, to the second."""
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else NOTHING


def short_time(value: datetime | None) -> str:
    """A datetime in this machine's time zone, to the minute."""
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


def knobs(values: Mapping[str, object] | None) -> str:
    """``C=1.2 kernel=rbf``."""
    if not values:
        return NOTHING
    return " ".join(f"{name}={text(value)}" for name, value in values.items())


def one_line(message: str | None) -> str:
    """A whole message in one line."""
    return harmless(" ".join((message or "").split()))


def first_line(message: str | None, length: int = 80) -> str:
    """The first line of a message, cut to ``length``."""
    if not message:
        return ""
    line = harmless(message.strip().splitlines()[0])
    return line if len(line) <= length else line[: length - 1] + "…"
