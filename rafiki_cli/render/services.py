"""The services of a stack on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rafiki_cli.render import infer_watch, values
from rafiki_cli.render.output import Column, Row, error_column, id_column, table_view, time_column

if TYPE_CHECKING:
    from rich.console import RenderableType


def _load(row: Row) -> str | None:
    """``1,234/s, p95 1.2 ms``: what a predictor serves."""
    figures = row.get("figures")
    if not figures:
        return None
    return f"{infer_watch.rate(figures['requests_per_s'])}/s, p95 {infer_watch.milliseconds(figures['p95_ms'])}"


def _rate(row: Row) -> str | None:
    figures = row.get("figures")
    return f"{infer_watch.rate(figures['requests_per_s'])}/s" if figures else None


def columns(now: datetime) -> list[Column]:
    """What a table of services shows at ``now``."""

    def reason(row: Row) -> str | None:
        return row.get("error") or row.get("last_error")

    def uptime(row: Row) -> str:
        seconds = values.between(row.get("datetime_started"), None, now)
        if seconds is None or seconds < 48 * 3600:
            return values.duration(seconds)
        days, rest = divmod(int(seconds), 24 * 3600)
        return f"{days}d{rest // 3600:02d}h"

    last_reason = error_column("LAST REASON", least=12)._replace(
        value=lambda r: values.one_line(reason(r)), short=lambda r: values.first_line(reason(r), 200)
    )
    return [
        id_column(rank=3),
        Column("TYPE", "service_type"),
        Column("APP", "app", least=8),
        Column("STATUS", "status"),
        Column("UPTIME", uptime, is_right=True),
        Column("RESTARTS", lambda r: r["attempt"] - 1, is_right=True),
        Column("MEMORY", lambda r: values.size(r.get("memory_bytes")), is_right=True),
        Column("LOAD", _load, is_right=True, short=_rate, is_hidden_empty=True),
        Column("PID", "pid", is_right=True, rank=2),
        Column("PORT", "port", is_right=True, rank=1),
        # The host's name tells nothing where there is only one.
        Column("GPUS", lambda r: ",".join(g.removeprefix("local/") for g in r["gpus"]), is_hidden_empty=True),
        time_column("STARTED", "datetime_started", rank=4),
        last_reason,
    ]


def live_view(
    title: str, services: Sequence[dict[str, Any]], now: datetime, width: int, notice: str = ""
) -> RenderableType:
    """The services for a terminal."""
    from rich.console import Group
    from rich.text import Text

    memory = sum(s.get("memory_bytes") or 0 for s in services)
    about = f"{values.count(len(services), 'service')}, {values.size(memory)}" if services else "no services run"
    parts: list[RenderableType] = [Text(f"{title}  {about}", style="bold", no_wrap=True, overflow="ellipsis")]
    if notice:
        parts.append(Text(notice, style="yellow"))
    if services:
        parts += [Text(""), table_view(services, columns(now), width)]
    return Group(*parts)
