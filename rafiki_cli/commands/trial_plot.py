"""``rafiki trial plot``: the plots that a model asked for, drawn in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.utils.nearest import did_you_mean
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Format, FormatOption, put_data
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.contract.train_jobs import LogMetrics, LogPlot

app = new_app("Plots of a trial.")


_STEPS = ("epoch", "step", "iteration", "batch")
"""Metrics that others are drawn over where the model defined no plot."""


@dataclass(frozen=True)
class PlotSeries:
    """The numbers of one metric, in the order of x."""

    metric: str
    x: list[float]
    y: list[float | None]
    """None = no finite number."""


@dataclass(frozen=True)
class DrawnPlot:
    """A plot with its numbers."""

    title: str
    metrics: list[str]
    x_axis: str | None
    series: list[PlotSeries]


@app.command(
    epilog=examples(
        "rafiki trial plot digits SkSvm#3",
        'rafiki trial plot 1b2c3d4e --plot "Loss over epochs" --height 20',
        "rafiki trial plot digits SkSvm#3 -o jsonl | jq .series",
    )
)
def plot(
    cli: Application,
    trial: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL",
            help="A trial's id, the beginning of it, or an app (digits, digits@2) together with MODEL#N.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL#N]",
            help="Trial N of a model of the app TRIAL, as in SkSvm#10; N alone where one model has it.",
        ),
    ] = None,
    version: Annotated[int, typer.Option("--version", help="Version of the app; -1 = the latest.")] = -1,
    title: Annotated[
        list[str] | None, typer.Option("--plot", help="Title of a plot; can be repeated. [default: all]")
    ] = None,
    height: Annotated[int, typer.Option(min=4, max=100, help="Lines of a plot.")] = 12,
    format: FormatOption = Format.TABLE,
) -> None:
    """Draw the plots that the model asked for with utils.logger.define_plot(). Without any, every metric it logged."""
    client = cli.client()
    whole = name is None and resolve.is_whole_id(trial)
    found = None if whole else resolve.trial(client, trial, name, version)
    logs = client.get_trial_logs(found.id if found else trial)
    defined = _with_reports(logs.plots, logs.metrics) or _plots_of_metrics(logs.metrics)
    chosen = [_choose(defined, wanted) for wanted in title] if title else defined
    plots = [DrawnPlot(p.title, p.metrics, p.x_axis, series_of(p, logs.metrics)) for p in chosen]
    if format is not Format.TABLE:
        put_data(plots, format)
        return
    if not plots:
        terminal.say("The model logged no metric in this trial, so there is nothing to draw.")
        return
    if not logs.plots:
        terminal.say("The model defined no plot; these are the metrics that it logged.")
    _draw(plots, height)


def _draw(plots: Sequence[DrawnPlot], height: int) -> None:
    from rafiki_cli.render import look as looks
    from rafiki_cli.render.chart import Series, chart, paint
    from rafiki_cli.render.ticks import Scale

    look = looks.of_stdout()
    for number, drawn in enumerate(plots):
        if number:
            terminal.put("")
        series = [Series(s.metric, s.x, s.y) for s in drawn.series]
        is_whole = all(x == int(x) for s in series for x in s.x if x is not None)
        lines = chart(
            series, looks.width(), height, title=drawn.title, x_label=drawn.x_axis or "time", look=look,
            x_scale=Scale(is_whole=is_whole, is_time=drawn.x_axis is None),
        )  # fmt: skip
        for line in lines:
            terminal.put(paint(line, look))


def series_of(plot: LogPlot, metrics: Sequence[LogMetrics]) -> list[PlotSeries]:
    """The numbers of a plot, for each of its metrics.

    Without an ``x_axis``, x is seconds since the first metric that the trial logged. Where one x comes several times,
    the latest value counts.
    """
    start = min((m for entry in metrics if (m := _seconds(entry["time"])) is not None), default=0.0)
    found = []
    for metric in plot.metrics:
        points: dict[float, float | None] = {}
        for entry in metrics:
            if metric not in entry:
                continue
            x = _number(entry.get(plot.x_axis)) if plot.x_axis else _seconds(entry["time"])
            if x is not None:
                points[x if plot.x_axis else round(x - start, 6)] = _number(entry[metric])
        xs = sorted(points)
        found.append(PlotSeries(metric, xs, [points[x] for x in xs]))
    return found


def _number(value: float | str | None) -> float | None:
    # A log holds "nan" and "inf" as text; JSON has no such numbers.
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(time: float | str) -> float | None:
    try:
        return values.moment(str(time)).timestamp() if time else None
    except ValueError:
        return None


def _with_reports(plots: Sequence[LogPlot], metrics: Sequence[LogMetrics]) -> list[LogPlot]:
    """The model's plots, and that of the scores it reported to the search where it draws these nowhere itself."""
    from rafiki.contract.train_jobs import LogPlot

    is_reported = any({"score", "step"} <= entry.keys() for entry in metrics)
    is_drawn = any("score" in p.metrics for p in plots)
    if not is_reported or is_drawn:
        return list(plots)
    return [*plots, LogPlot(title="Reported scores", metrics=["score"], x_axis="step")]


def _plots_of_metrics(metrics: Sequence[LogMetrics]) -> list[LogPlot]:
    """A plot of each metric, over the step that it was logged with, else over time."""
    from rafiki.contract.train_jobs import LogPlot

    over: dict[str, str | None] = {}
    for entry in metrics:
        step = next((s for s in _STEPS if s in entry), None)
        over |= {name: step for name in entry if name not in (*_STEPS, "time")}
    return [LogPlot(title=name, metrics=[name], x_axis=step) for name, step in over.items()]


def _choose(plots: Sequence[LogPlot], wanted: str) -> LogPlot:
    """The plot with a title, also written in other letters or begun.

    Raises:
        UsageError: when there is none, or several begin so.
    """
    titles = [p.title for p in plots]
    if wanted in titles:
        return plots[titles.index(wanted)]
    found = [p for p in plots if p.title.lower().startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise terminal.UsageError(f"--plot {wanted!r} begins {len(found)} titles: {_listed(found)}. Write more of it.")
    hint = did_you_mean(wanted, titles, f"There are: {_listed(plots)}." if plots else "There are none.")
    raise terminal.UsageError(f"--plot {wanted!r}: this trial has no such plot. {hint}")


def _listed(plots: Sequence[LogPlot]) -> str:
    return ", ".join(repr(p.title) for p in plots)
