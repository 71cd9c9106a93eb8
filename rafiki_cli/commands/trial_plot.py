"""``rafiki trial plot``: the plots that a model asked for, drawn in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from rafiki.utils.nearest import did_you_mean
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.render import values
from rafiki_cli.render.output import Format, FormatOption, put_data
from rafiki_cli.target import resolve

Json = dict[str, Any]
EPILOG = """Examples:

  rafiki trial plot digits SkSvm#3

  rafiki trial plot 1b2c3d4e --plot "Loss over epochs" --height 20

  rafiki trial plot digits SkSvm#3 -o jsonl | jq .series"""

_STEPS = ("epoch", "step", "iteration", "batch")
"""Metrics that others are drawn over where the model defined no plot."""


def plot(
    cli: Application,
    trial: Annotated[
        str,
        typer.Argument(metavar="TRIAL", help="A trial's id, the beginning of it, or an app together with MODEL#N."),
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[MODEL#N]", help="Trial N of a model of the app TRIAL, as in SkSvm#10.")
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
    plots = [{**p, "series": series_of(p, logs.metrics)} for p in chosen]
    if format is not Format.TABLE:
        put_data(plots, format)
        return
    if not plots:
        terminal.say("The model logged no metric in this trial, so there is nothing to draw.")
        return
    if not logs.plots:
        terminal.say("The model defined no plot; these are the metrics that it logged.")
    _draw(plots, height)


def _draw(plots: Sequence[Json], height: int) -> None:
    from rafiki_cli.render import look as looks
    from rafiki_cli.render.chart import Series, chart, paint
    from rafiki_cli.render.ticks import Scale

    look = looks.of_stdout()
    for number, drawn in enumerate(plots):
        if number:
            terminal.put("")
        x_axis = drawn["x_axis"]
        series = [Series(s["metric"], s["x"], s["y"]) for s in drawn["series"]]
        is_whole = all(x == int(x) for s in series for x in s.x if x is not None)
        lines = chart(
            series, looks.width(), height, title=drawn["title"], x_label=x_axis or "time", look=look,
            x_scale=Scale(is_whole=is_whole, is_time=x_axis is None),
        )  # fmt: skip
        for line in lines:
            terminal.put(paint(line, look))


def series_of(plot: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[Json]:
    """The numbers of a plot: for each of its metrics ``x`` and ``y``, in the order of x.

    Without an ``x_axis``, x is seconds since the first metric that the trial logged. Where one x comes several times,
    the latest value counts. A ``y`` that is no finite number is None.
    """
    start = min((m for entry in metrics if (m := _seconds(entry["time"])) is not None), default=0.0)
    found = []
    for metric in plot["metrics"]:
        points: dict[float, float | None] = {}
        for entry in metrics:
            if metric not in entry:
                continue
            x = _number(entry.get(plot["x_axis"])) if plot["x_axis"] else _seconds(entry["time"])
            if x is not None:
                points[x if plot["x_axis"] else round(x - start, 6)] = _number(entry[metric])
        xs = sorted(points)
        found.append({"metric": metric, "x": xs, "y": [points[x] for x in xs]})
    return found


def _number(value: Any) -> float | None:
    # A log holds "nan" and "inf" as text; JSON has no such numbers.
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _seconds(time: Any) -> float | None:
    try:
        return values.moment(str(time)).timestamp() if time else None
    except (TypeError, ValueError):
        return None


def _with_reports(plots: Sequence[Json], metrics: Sequence[Mapping[str, Any]]) -> list[Json]:
    """The model's plots, and that of the scores it reported to the search where it draws these nowhere itself."""
    is_reported = any({"score", "step"} <= entry.keys() for entry in metrics)
    is_drawn = any("score" in p["metrics"] for p in plots)
    if not is_reported or is_drawn:
        return list(plots)
    return [*plots, {"title": "Reported scores", "metrics": ["score"], "x_axis": "step"}]


def _plots_of_metrics(metrics: Sequence[Mapping[str, Any]]) -> list[Json]:
    """A plot of each metric, over the step that it was logged with, else over time."""
    over: dict[str, str | None] = {}
    for entry in metrics:
        step = next((s for s in _STEPS if s in entry), None)
        over |= {name: step for name in entry if name not in (*_STEPS, "time")}
    return [{"title": name, "metrics": [name], "x_axis": step} for name, step in over.items()]


def _choose(plots: Sequence[Json], wanted: str) -> Json:
    """The plot with a title, also written in other letters or begun.

    Raises:
        UsageError: when there is none, or several begin so.
    """
    titles = [p["title"] for p in plots]
    if wanted in titles:
        return plots[titles.index(wanted)]
    found = [p for p in plots if p["title"].lower().startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise terminal.UsageError(f"--plot {wanted!r} begins {len(found)} titles: {_listed(found)}. Write more of it.")
    hint = did_you_mean(wanted, titles, f"There are: {_listed(plots)}." if plots else "There are none.")
    raise terminal.UsageError(f"--plot {wanted!r}: this trial has no such plot. {hint}")


def _listed(plots: Sequence[Json]) -> str:
    return ", ".join(repr(p["title"]) for p in plots)
