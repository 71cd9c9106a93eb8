"""An inference job on the screen: who serves, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from rafiki.constants import InferenceJobStatus, ServiceStatus
from rafiki.utils.urls import http_url
from rafiki_cli.render import rollouts, values
from rafiki_cli.render.output import STATUS_STYLES, Column, error_column, table_view
from rafiki_cli.render.scaling import change_text, is_asleep
from rafiki_cli.render.sparkline import sparkline

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rafiki.contract.inference_jobs import InferenceFigures, InferenceJobView, MemberView

ABSENT = "ABSENT"
"""Its workers run, but none takes its queries now."""
ASLEEP = "ASLEEP"
"""It has no workers, as nobody has asked: the next query starts them."""
_MOST_CHANGES = 3
_MOST_CURVE = 120


class MemberRow(NamedTuple):
    """A member of the ensemble as it is shown."""

    label: str
    shown_state: str
    score: float | None
    weight: float
    workers: int
    waiting: int
    error: str | None


_MEMBERS: list[Column[MemberRow]] = [
    Column("TRIAL", lambda r: r.label, least=12),
    Column("STATE", lambda r: r.shown_state),
    Column("SCORE", lambda r: values.score(r.score), is_right=True),
    Column("WEIGHT", lambda r: f"{r.weight:.1%}", is_right=True),
    Column("WORKERS", lambda r: r.workers, is_right=True),
    Column("WAITING", lambda r: r.waiting, is_right=True),
    error_column(lambda r: r.error, "REASON"),
]


def is_over(job: InferenceJobView) -> bool:
    """Whether an inference job has ended."""
    return job.status in (InferenceJobStatus.STOPPED, InferenceJobStatus.ERRORED)


def member_rows(
    members: Sequence[MemberView], figures: InferenceFigures | None, *, is_asleep: bool = False
) -> list[MemberRow]:
    """The members with what the predictor says of each."""
    seen = {m.trial_id: m for m in figures.members} if figures else {}
    rows = []
    for member in members:
        found = seen.get(member.trial_id)
        state: str = member.state
        if state == ServiceStatus.RUNNING and found is not None and not found.workers:
            state = ABSENT
        if is_asleep and state == ServiceStatus.STOPPED:
            state = ASLEEP
        rows.append(
            MemberRow(
                label=member.label, shown_state=state, score=member.score, weight=member.weight,
                workers=member.workers if found is None else found.workers,
                waiting=0 if found is None else found.waiting, error=member.error,
            )
        )  # fmt: skip
    return rows


def milliseconds(value: float | None) -> str:
    """``0.62 ms``."""
    return values.NOTHING if value is None else f"{values.number(float(f'{value:.3g}'))} ms"


def rate(value: float) -> str:
    """``0.5``, ``12``, ``1,234``: of something a second."""
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def figures_text(figures: InferenceFigures | None) -> str:
    """``1,234 requests/s · 0 errors/s · p50 0.62 ms · p95 1.2 ms · 3 waiting``; ``40 shed`` where members were not
    asked because they would have been too late, ``12% cached`` where kept predictions answered queries."""
    if figures is None or not figures.predictors:
        return "no predictor tells how much it serves"
    asked = figures.cache_hits + figures.cache_misses
    cached = f" · {100 * figures.cache_hits / asked:.0f}% cached" if asked else ""
    return (
        f"{rate(figures.requests_per_s)} requests/s · {rate(figures.errors_per_s)} errors/s · "
        f"p50 {milliseconds(figures.p50_ms)} · p95 {milliseconds(figures.p95_ms)} · "
        f"{figures.waiting:,} waiting"
        + (f" · {shed:,} shed" if (shed := sum(m.shed for m in figures.members)) else "")
        + cached
    )


def figures_line(job: InferenceJobView, members: Sequence[MemberView], figures: InferenceFigures, now: datetime) -> str:
    """One second in one line, for logs and pipes."""
    rows = member_rows(members, figures, is_asleep=is_asleep(job))
    serving = sum(r.shown_state == ServiceStatus.RUNNING for r in rows)
    time = now.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    line = f"{time}  {job.app} v{job.app_version} {job.status}  {figures_text(figures)} · {serving}/{len(rows)} members"
    return f"{line} · {update}" if (update := rollouts.brief(job)) else line


def live_view(
    job: InferenceJobView, members: Sequence[MemberView], figures: InferenceFigures | None, history: Sequence[float],
    now: datetime, width: int, notice: str = "", *, is_ascii: bool = False,
) -> RenderableType:  # fmt: skip
    """The job for a terminal.

    Args:
        history: requests a second, one value a second, the latest last.
        notice: a line of its own, such as that the admin does not answer.
        is_ascii: draw with plain characters only.
    """
    from rich.console import Group
    from rich.text import Text

    rows = member_rows(members, figures, is_asleep=is_asleep(job))
    title = Text(f"{job.app} v{job.app_version}  ", style="bold", no_wrap=True, overflow="ellipsis")
    title.append(job.status, style=STATUS_STYLES.get(job.status, ""))
    if job.predictor_host:
        title.append(f"  {http_url(job.predictor_host)}/predict", style="not bold")
    up = values.duration(values.between(job.datetime_started, job.datetime_stopped, now))
    title.append(f"  up {up}", style="not bold dim")
    parts: list[RenderableType] = [title, Text(figures_text(figures), no_wrap=True, overflow="ellipsis")]
    if len(history) > 1:
        peak = f"  peak {rate(max(history))}/s"
        room = min(_MOST_CURVE, width - len(peak))
        # From 0 on, so that a steady load is no mountain range.
        curve = sparkline(history[-room:], room, scale=(0.0, max(*history, 1e-9)), is_ascii=is_ascii)
        parts.append(Text.assemble((curve, "green"), (peak, "dim"), no_wrap=True, overflow="ellipsis"))
    if update := rollouts.brief(job):
        parts.append(Text(values.one_line(update), style="cyan"))
    for change in job.scaling.changes[-_MOST_CHANGES:] if job.scaling else []:
        at = values.local_time(change.datetime_changed)
        parts.append(Text(f"{at}  {change_text(change)}", style="dim", no_wrap=True, overflow="ellipsis"))
    if job.error:
        parts.append(Text(values.one_line(job.error), style="red"))
    if notice:
        parts.append(Text(notice, style="yellow"))
    return Group(*parts, Text(""), table_view(rows, _MEMBERS, width))
