"""The services of a stack on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rafiki_cli.render import infer_watch, values
from rafiki_cli.render.output import Column, error_column, id_column, table_view, time_column

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rafiki.contract.stack import ServiceView


def _load(row: ServiceView) -> str | None:
    """``1,234/s, p95 1.2 ms``: what a predictor serves."""
    figures = row.figures
    if not figures:
        return None
    return f"{infer_watch.rate(figures.requests_per_s)}/s, p95 {infer_watch.milliseconds(figures.p95_ms)}"


def _rate(row: ServiceView) -> str | None:
    figures = row.figures
    return f"{infer_watch.rate(figures.requests_per_s)}/s" if figures else None


def _cpu(row: ServiceView) -> str | None:
    """``150%``: one and a half cores."""
    return None if row.cores is None else f"{row.cores:.0%}"


def _name(row: ServiceView) -> str:
    # An older admin tells none.
    return row.name or f"{row.service_type.lower()} {row.app or ''} {row.id[:8]}"


def columns(now: datetime) -> list[Column[ServiceView]]:
    """What a table of services shows at ``now``."""

    def reason(row: ServiceView) -> str | None:
        return row.error or (f"waits for {row.waits_for}" if row.waits_for else None) or row.last_error

    def uptime(row: ServiceView) -> str:
        seconds = values.between(row.datetime_started, None, now)
        if seconds is None or seconds < 48 * 3600:
            return values.duration(seconds)
        days, rest = divmod(int(seconds), 24 * 3600)
        return f"{days}d{rest // 3600:02d}h"

    return [
        id_column(rank=3),
        Column("NAME", _name, least=28),
        Column("STATUS", lambda r: r.status),
        Column("UPTIME", uptime, is_right=True),
        Column("RESTARTS", lambda r: r.attempt - 1 or None, is_right=True, rank=1, is_hidden_empty=True),
        Column("MEMORY", lambda r: values.size(r.memory_bytes), is_right=True),
        Column("CPU", _cpu, is_right=True, rank=3, is_hidden_empty=True),
        Column("LOAD", _load, is_right=True, short=_rate, is_hidden_empty=True),
        Column("HOST", lambda r: r.host, rank=1, is_hidden_empty=True),
        Column("PID", lambda r: r.pid, is_right=True, rank=2),
        Column("PORT", lambda r: r.port, is_right=True, rank=1),
        # The host's name tells nothing where there is only one.
        Column("GPUS", lambda r: ",".join(g.removeprefix("local/") for g in r.gpus), is_hidden_empty=True),
        time_column("STARTED", lambda r: r.datetime_started, rank=4),
        error_column(reason, "LAST REASON", least=13, most_chars=200),
    ]


def live_view(
    title: str, services: Sequence[ServiceView], now: datetime, width: int, notice: str = ""
) -> RenderableType:
    """The services for a terminal."""
    from rich.console import Group
    from rich.text import Text

    memory = sum(s.memory_bytes or 0 for s in services)
    about = f"{values.count(len(services), 'service')}, {values.size(memory)}" if services else "no services run"
    parts: list[RenderableType] = [Text(f"{title}  {about}", style="bold", no_wrap=True, overflow="ellipsis")]
    if notice:
        parts.append(Text(notice, style="yellow"))
    if services:
        parts += [Text(""), table_view(services, columns(now), width)]
    return Group(*parts)
