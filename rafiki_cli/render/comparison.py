"""Train jobs side by side, as text for a terminal of any width. Pure: see :mod:`rafiki.analysis.comparison`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import typer

from rafiki.analysis.comparison import ComparedJob, differing, knob_names, name_of
from rafiki_cli.render import values
from rafiki_cli.render.look import Look
from rafiki_cli.render.output import STATUS_STYLES, plain_record
from rafiki_cli.render.sparkline import bounds, last, sparkline

_LEAST_WIDTH = 18
"""Columns that a job gets at least; jobs that do not fit beside the first go below."""
_GAP = 2


class Cell(NamedTuple):
    text: str
    color: str | None = None


class Property(NamedTuple):
    """A line of the comparison."""

    title: str
    key: str | None
    """The name under which a difference is known; None = its differences are not marked."""
    cell: Callable[[ComparedJob, bool], Cell]
    """Of a job, and whether it is the first: what the line says of it."""


def comparison_lines(jobs: Sequence[ComparedJob], width: int | None, look: Look) -> list[str]:
    """The comparison as text.

    Args:
        jobs: as :func:`rafiki.analysis.comparison.compare` gives them.
        width: of the terminal; None = nothing is cut, and all jobs stand in one block.
    """
    sign = "*" if look.is_ascii else "≠"
    different = differing(jobs)
    margin = max(len(p.title) for p in _properties(jobs, look, _LEAST_WIDTH)) + 2
    rest = None if width is None else max(1, (width - margin) // (_LEAST_WIDTH + _GAP))
    blocks = _blocks(jobs, rest)
    room = 40 if width is None else (width - margin) // max(map(len, blocks)) - _GAP
    properties = _properties(jobs, look, max(4, min(40, room)))
    lines: list[str] = []
    for number, block in enumerate(blocks):
        lines += [""] if number else []
        table = [[p.cell(job, job is jobs[0]) for job in block] for p in properties]
        natural = [max(len(row[i].text) for row in table) for i in range(len(block))]
        widths = natural if width is None else _fit(natural, width - margin - _GAP * len(block))
        for prop, row in zip(properties, table, strict=True):
            mark = sign if prop.key in different else " "
            title = typer.style(prop.title, bold=True) if look.is_colored else prop.title
            parts = [_painted(c, w, look) for c, w in zip(row, widths, strict=True)]
            head = f"{mark} {title}{' ' * (margin - 2 - len(prop.title))}"
            lines.append((" " * _GAP).join([head, *parts]).rstrip())
    if jobs_scale := bounds(*(job.best_so_far for job in jobs)):
        low, high = jobs_scale
        lines += ["", f"best so far: {values.score(low)} to {values.score(high)} from bottom to top; one scale for all"]
    return lines


def _blocks(jobs: Sequence[ComparedJob], count: int | None) -> list[list[ComparedJob]]:
    """The jobs in groups that fit side by side; the first job leads each, since deltas are against it."""
    if count is None or len(jobs) <= count:
        return [list(jobs)]
    each = max(1, count - 1)
    return [[jobs[0], *jobs[i : i + each]] for i in range(1, len(jobs), each)]


def _fit(natural: Sequence[int], width: int) -> list[int]:
    """Widths of the columns: what each wants while there is room, then the widest give way."""
    widths = list(natural)
    while sum(widths) > width and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return widths


def _painted(cell: Cell, width: int, look: Look) -> str:
    dots = "..." if look.is_ascii else "…"
    text = cell.text if len(cell.text) <= width else cell.text[: width - len(dots)] + dots
    padding = " " * (width - len(text))
    return (typer.style(text, fg=cell.color) if look.is_colored and cell.color else text) + padding


def _properties(jobs: Sequence[ComparedJob], look: Look, curve_width: int) -> list[Property]:
    scale = bounds(*(job.best_so_far for job in jobs))
    longest = max(len(job.best_so_far) for job in jobs)

    def curve(job: ComparedJob, _: bool) -> Cell:
        # One scale of trials too: a job with half as many has a curve half as long.
        found: list[float | None] = job.best_so_far
        columns = max(1, round(len(found) / longest * curve_width)) if found else 0
        stretched = [found[i * len(found) // columns] for i in range(columns)] if len(found) < columns else found
        return Cell(sparkline(stretched, columns, scale=scale, pick=last, is_ascii=look.is_ascii), "cyan")

    def told(read: Callable[[ComparedJob], str]) -> Callable[[ComparedJob, bool], Cell]:
        return lambda job, _: Cell(read(job))

    def time_to_best(job: ComparedJob, is_first: bool) -> Cell:
        return _time(job.time_to_best_s, job.delta.time_to_best_s, is_first)

    def median_trial(job: ComparedJob, is_first: bool) -> Cell:
        return _time(job.median_trial_s, job.delta.median_trial_s, is_first)

    def knob(name: str) -> Callable[[ComparedJob], str]:
        return lambda job: values.text(job.best.knobs.get(name) if job.best else None)

    return [
        Property("", None, told(name_of)),
        Property("status", "status", _status),
        *([Property("error", None, told(_error))] if any(job.error for job in jobs) else []),
        Property("task", "task", told(lambda job: job.task)),
        Property("train", "train_dataset", told(lambda job: job.train_dataset.name)),
        Property("val", "val_dataset", told(lambda job: job.val_dataset.name)),
        Property("budget", "budget", told(_budget)),
        Property("advisor", "advisor", told(_advisor)),
        *([Property("args", "train_args", told(_args))] if any(job.train_args for job in jobs) else []),
        Property("models", "models", told(lambda job: ", ".join(job.models))),
        Property("time", None, told(lambda job: values.duration(job.duration_s))),
        Property("trials", None, told(_trials)),
        Property("best score", None, lambda job, is_first: _score(job, is_first)),
        Property("best model", "best.model", told(_best_model)),
        *(Property(f"  {name}", f"knobs.{name}", told(knob(name))) for name in knob_names(jobs)),
        Property("time to best", None, time_to_best),
        Property("median trial", None, median_trial),
        Property("best so far", None, curve),
    ]


def _status(job: ComparedJob, is_first: bool) -> Cell:
    status = job.outcome or job.status
    color = STATUS_STYLES.get(status)
    return Cell(status, color if color in ("cyan", "green", "yellow", "red") else None)


def _budget(job: ComparedJob) -> str:
    """``40 trials, 0.5 h``."""
    budget = job.budget
    parts = [] if budget.trial_limit is None else [values.count(budget.trial_limit, "trial")]
    parts.append(f"{values.number(budget.time_hours)} h")
    parts += [values.count(budget.gpu_count, "GPU")] if budget.gpu_count else []
    parts += [values.count(budget.cpu_worker_count, "worker")]
    return ", ".join(parts)


def _advisor(job: ComparedJob) -> str:
    """The scheme and its options: ``tpe n_startup=5``."""
    setting = plain_record(job.advisor)
    scheme, options = job.advisor.scheme or "auto", job.advisor.options
    left_out = ("scheme", "options")
    more = {k: v for k, v in setting.items() if k not in left_out and v not in (None, [], {}, False, "")}
    return " ".join([scheme, *(f"{k}={values.text(v)}" for k, v in {**options, **more}.items())])


def _error(job: ComparedJob) -> str:
    return values.one_line(job.error) or values.NOTHING


def _args(job: ComparedJob) -> str:
    return values.knobs(job.train_args)


def _trials(job: ComparedJob) -> str:
    counts = job.trials
    parts = [f"{counts.completed} completed"]
    parts += [f"{counts.failed} failed"] if counts.failed else []
    parts += [f"{counts.ended_early} early"] if counts.ended_early else []
    parts += [f"{counts.running} running"] if counts.running else []
    return ", ".join(parts)


def _best_model(job: ComparedJob) -> str:
    return job.best.label if job.best else values.NOTHING


def _score(job: ComparedJob, is_first: bool) -> Cell:
    if not job.best:
        return Cell(values.NOTHING)
    delta = job.delta.score
    text = values.score(job.best.score)
    if is_first or delta is None:
        return Cell(text)
    if values.score(abs(delta)) == values.score(0.0):
        return Cell(f"{text} (same)")
    return Cell(f"{text} ({delta:+.4f})", _good_or_bad(delta))


def _time(seconds: float | None, delta: float | None, is_first: bool) -> Cell:
    text = values.duration(seconds)
    if is_first or delta is None:
        return Cell(text)
    if values.duration(abs(delta)) == values.duration(0.0):
        return Cell(f"{text} (same)")
    sign = "-" if delta < 0 else "+"
    return Cell(f"{text} ({sign}{values.duration(abs(delta))})", _good_or_bad(-delta))


def _good_or_bad(gain: float) -> str | None:
    return "green" if gain > 0 else "red" if gain < 0 else None
