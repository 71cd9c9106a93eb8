"""A train job on the screen: what to show of it, as plain values, and the live table made from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from rafiki.analysis.curves import best_so_far, best_trial
from rafiki.constants import TrainJobStatus, TrialStatus
from rafiki.states import find_outcome
from rafiki_cli.render import values
from rafiki_cli.render.output import STATUS_STYLES
from rafiki_cli.render.sparkline import last, sparkline

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from rafiki.contract.train_jobs import TrainJobView, TrialView
    from rafiki.knob_specs import Knobs


_LEAST_CURVE = 8
_MOST_CURVE = 100
_FINAL = (TrialStatus.COMPLETED, TrialStatus.ERRORED)


def is_over(job: TrainJobView) -> bool:
    """Whether a train job has ended."""
    return job.status in (TrainJobStatus.STOPPED, TrainJobStatus.ERRORED)


def shown_status(job: TrainJobView) -> str:
    """``COMPLETED`` for a job that has ended by itself, though its published status is STOPPED."""
    return find_outcome(job.status, job.datetime_stop_requested) or job.status


def is_done(trial: TrialView) -> bool:
    """Whether a trial has ended."""
    return trial.status in _FINAL


def ended_at(trial: TrialView) -> datetime:
    """When a trial ended, or began while it goes on: what trials are put in order by."""
    return trial.datetime_stopped or trial.datetime_started


class Progress(NamedTuple):
    """How far a train job is on its budget."""

    done: int
    errored: int
    ended_early: int
    running: int
    total: int | None
    """Trials of all models that the budget allows; None = only time ends the job."""
    elapsed_s: float
    limit_s: float
    left_s: float | None
    """Estimate of the time left; None once the job has ended."""

    @property
    def share(self) -> float:
        """Part of the budget that is used up, 0 to 1: of the trials or of the time, whichever is further."""
        by_trials = self.done / self.total if self.total else 0.0
        by_time = self.elapsed_s / self.limit_s if self.limit_s > 0 else 1.0
        return min(1.0, max(by_trials, by_time))


def progress(job: TrainJobView, trials: Sequence[TrialView], now: datetime) -> Progress:
    """How far ``job`` is. The time left follows from the pace of the finished trials, within the time limit."""
    per_model = job.budget.trial_limit
    total = None if per_model is None else per_model * len(job.models)
    limit_s = job.budget.time_hours * 3600
    elapsed_s = values.between(job.datetime_started, job.datetime_stopped, now) or 0.0
    done = sum(is_done(t) for t in trials)
    left_s: float | None = None
    if not is_over(job):
        left_s = max(0.0, limit_s - elapsed_s)
        if total and done:
            left_s = min(left_s, elapsed_s / done * max(0, total - done))
    return Progress(
        done=done,
        errored=sum(t.status == TrialStatus.ERRORED for t in trials),
        ended_early=sum(bool(t.ended_early) for t in trials),
        running=sum(t.status == TrialStatus.RUNNING for t in trials),
        total=total,
        elapsed_s=elapsed_s,
        limit_s=limit_s,
        left_s=left_s,
    )


def choose_rows(trials: Sequence[TrialView], count: int) -> list[TrialView]:
    """At most ``count`` trials in the order they started: the running ones, then the best, then the latest."""
    in_order = sorted(trials, key=lambda t: (t.datetime_started, t.model_label, t.no))
    if len(in_order) <= count:
        return in_order
    running = [t for t in in_order if not is_done(t)][-count:]
    by_score = sorted((t for t in in_order if t.score is not None), key=lambda t: -(t.score or 0.0))
    best = by_score[: max(1, (count - len(running)) // 2)]
    latest = [t for t in reversed(in_order) if is_done(t)]
    chosen = {t.id: t for t in running}
    for trial in [*best, *latest]:
        if len(chosen) >= count:
            break
        chosen.setdefault(trial.id, trial)
    return [t for t in in_order if t.id in chosen]


def progress_text(p: Progress) -> str:
    """``12/24 trials (1 failed, 2 running) · 31.0s of 6m00s · 29.0s left``."""
    trials = f"{p.done}/{values.count(p.total, 'trial')}" if p.total is not None else values.count(p.done, "trial")
    details = [f"{p.errored} failed"] if p.errored else []
    details += [f"{p.ended_early} ended early"] if p.ended_early else []
    details += [f"{p.running} running"] if p.running else []
    text = trials + (f" ({', '.join(details)})" if details else "")
    text += f" · {values.duration(p.elapsed_s)} of {values.duration(p.limit_s)}"
    return text if p.left_s is None else f"{text} · {values.duration(p.left_s)} left"


def trial_line(trial: TrialView) -> str:
    """A finished trial in one line, for logs and pipes."""
    time = values.duration(values.between(trial.datetime_started, trial.datetime_stopped))
    head = f"{trial.label} {trial.status}"
    if trial.status == TrialStatus.ERRORED:
        return f"{head} {time} {values.one_line(trial.error)}"
    text = f"{head} score={values.score(trial.score)} {time} {values.knobs(trial.proposal.knobs)}"
    return f"{text} (ended early: {values.one_line(trial.ended_early)})" if trial.ended_early else text


def summary_line(job: TrainJobView, trials: Sequence[TrialView]) -> str:
    """How a job ended, or stands, in one line."""
    best = best_trial(trials)
    completed = sum(t.status == TrialStatus.COMPLETED for t in trials)
    failed = sum(t.status == TrialStatus.ERRORED for t in trials)
    text = f"{job.app} v{job.app_version} {shown_status(job)}: "
    text += f"{values.count(completed, 'trial')} completed, {failed} failed"
    time = values.between(job.datetime_started, job.datetime_stopped)
    text += f", in {values.duration(time)}" if time is not None else ""
    return f"{text}; best {values.score(best.score)} by {best.label}" if best else text


def best_line(trials: Sequence[TrialView], width: int, *, is_ascii: bool = False) -> str:
    """The best trial, and how the best score rose with each finished one; empty before the first score."""
    best = best_trial(trials)
    if best is None:
        return ""
    text = f"best {values.score(best.score)} by {best.label}"
    finished = sorted((t for t in trials if is_done(t)), key=ended_at)
    scores = [t.score if t.status == TrialStatus.COMPLETED else None for t in finished]
    room = min(_MOST_CURVE, width - len(text) - 2)
    if len(scores) < 2 or room < _LEAST_CURVE:
        return text
    return f"{text}  {sparkline(best_so_far(scores), room, pick=last, is_ascii=is_ascii)}"


def early_line(trials: Sequence[TrialView]) -> str:
    """Why the latest trial that was ended early was; empty when none was."""
    early = [t for t in trials if t.ended_early]
    if not early:
        return ""
    latest = max(early, key=ended_at)
    return f"{latest.label} was ended early: {values.first_line(latest.ended_early, 200)}"


def varying_knobs(trials: Sequence[TrialView]) -> dict[str, set[str]]:
    """For each model the knobs to show: those with different values in its trials, or all of them in its first."""
    by_model: dict[str, list[Knobs]] = {}
    for trial in trials:
        by_model.setdefault(trial.model_label, []).append(trial.proposal.knobs)
    return {
        model: {name for k in rows for name in k if len(rows) == 1 or len({repr(r.get(name)) for r in rows}) > 1}
        for model, rows in by_model.items()
    }


def live_view(
    job: TrainJobView,
    trials: Sequence[TrialView],
    now: datetime,
    size: tuple[int, int],
    notice: str = "",
    *,
    is_ascii: bool = False,
) -> RenderableType:  # fmt: skip
    """The job for a terminal.

    Args:
        size: its columns and lines.
        notice: a line of its own above the table, such as that the admin does not answer.
        is_ascii: draw with plain characters only.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    width, height = size
    p = progress(job, trials, now)
    title = Text(f"{job.app} v{job.app_version}  ", style="bold")
    title.append(shown_status(job), style=STATUS_STYLES.get(shown_status(job), ""))
    text = Text(progress_text(p), no_wrap=True, overflow="ellipsis")
    bar_width = min(36, width - text.cell_len - 2)
    parts: list[RenderableType] = [title, text]
    if bar_width >= 6:
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(total=1.0, completed=p.share, width=bar_width), text)
        parts[1] = line
    if curve := best_line(trials, width, is_ascii=is_ascii):
        parts.append(Text(curve, style="green", no_wrap=True, overflow="ellipsis"))
    if early := early_line(trials):
        parts.append(Text(early, style="dim", no_wrap=True, overflow="ellipsis"))
    if notice:
        parts.append(Text(notice, style="yellow"))
    for model in job.models:
        if model.error:
            parts.append(Text(f"{model.model_label}: {values.first_line(model.error, 200)}", style="red"))
        elif model.waits_for:
            parts.append(Text(f"{model.model_label} waits: {model.waits_for}", style="yellow"))
    # What is told of models may take several lines each.
    used = sum(-(-max(1, p.cell_len) // width) if isinstance(p, Text) else 1 for p in parts)
    shown = choose_rows(trials, max(3, height - used - 5))
    parts.append(_table(shown, best_trial(trials), now, varying_knobs(trials)))
    if hidden := len(trials) - len(shown):
        parts.append(Text(f"{values.count(hidden, 'more trial')}: `rafiki train trials {job.app}`", style="dim"))
    return Group(*parts)


def _table(trials: Sequence[TrialView], best: TrialView | None, now: datetime, knobs: Mapping[str, set[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Expanded, with one column of ratio 1: only the knobs give way on a narrow terminal.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    table.add_column("", width=1)
    table.add_column("MODEL", no_wrap=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("STATUS", no_wrap=True)
    table.add_column("SCORE", justify="right", no_wrap=True)
    table.add_column("TIME", justify="right", no_wrap=True)
    table.add_column("KNOBS", no_wrap=True, overflow="ellipsis", ratio=1)
    for trial in trials:
        is_best = best is not None and trial.id == best.id
        is_failed = trial.status == TrialStatus.ERRORED
        chosen = {k: v for k, v in trial.proposal.knobs.items() if k in knobs[trial.model_label]}
        is_waiting = trial.status == TrialStatus.PENDING
        about = values.knobs(chosen)
        if is_failed:
            about = values.first_line(trial.error, 200)
        elif is_waiting:
            about = f"waits for a worker: its last one was lost (attempt {trial.attempt})"
        elif trial.ended_early:
            about = f"{about}  ⏹ {values.first_line(trial.ended_early, 200)}"
        # Early enders are many: one sign beside the time, and why where there is room for it.
        time = values.duration(values.between(trial.datetime_started, trial.datetime_stopped, now))
        table.add_row(
            Text("★" if is_best else "", style=STATUS_STYLES["★"]),
            Text(trial.model_label),
            Text(str(trial.no)),
            Text(trial.status, style=STATUS_STYLES.get(trial.status, "")),
            Text(values.score(trial.score), style="bold" if is_best else ""),
            Text(f"{time} ⏹" if trial.ended_early else time),
            Text(about, style="red" if is_failed else "yellow" if is_waiting else "dim"),
        )
    return table
