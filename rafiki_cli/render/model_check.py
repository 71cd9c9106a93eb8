"""The check of a model on the screen: steps with check marks, a table of trials, and what a failure says."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from rafiki.check_events import (
    CheckEvent,
    CheckFailed,
    CheckPassed,
    CheckWarning,
    StepBegun,
    StepDone,
    TrialEnded,
)
from rafiki_cli import terminal
from rafiki_cli.render import values

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

_STEP_WIDTH = 19
_MOST_ROWS = 12


def marks() -> tuple[str, str, str]:
    """How passed, failed and "look at this" are shown; letters where the terminal cannot show signs."""
    return ("✓", "✗", "!") if terminal.can_show("✓✗") else ("ok", "FAILED", "!")


def step_line(event: StepDone) -> str:
    """A step that is done, in one line."""
    mark = typer.style(marks()[0], fg="green")
    return f"{mark} {event.name:<{_STEP_WIDTH}} {_time(event.time_s):>6}  {event.detail}".rstrip()


def _time(time_s: float) -> str:
    return values.duration(time_s) if time_s >= 1 else f"{time_s * 1000:.0f} ms"


def warning_line(event: CheckWarning) -> str:
    """Something that people should look at, though the model passes."""
    return f"{typer.style(marks()[2], fg='yellow')} {event.name:<{_STEP_WIDTH}}         {event.message}"


def trial_line(event: TrialEnded) -> str:
    """A trial that has ended, in one line."""
    told = f"score {values.score(event.score)}, {values.duration(event.time_s)}, {values.knobs(event.knobs)}"
    return f"trial {event.no}: {told}"


def failure_lines(event: CheckFailed, file_name: str) -> list[str]:
    """What failed, why, where in the model's own file, and what to do."""
    name = event.method or event.name or "rafiki model test"
    reason = event.reason.removeprefix(f"{name}: ")
    lines = [f"{typer.style(marks()[1], fg='red')} {typer.style(name, bold=True)}: {reason}"]
    # The line that failed stands in the reason; the way there is worth telling when it is longer.
    for frame in event.frames:
        lines.append(f"    {file_name}:{frame.line} in {frame.function}: {frame.code}")
    if event.advice:
        lines.append(f"  {event.advice}")
    if event.knobs and event.method not in ("", "__init__()"):
        lines.append(f"  The knobs were {values.knobs(event.knobs)}; --knob NAME=VALUE tries them again.")
    return lines


def passed_line(trials: Sequence[TrialEnded], n_warnings: int, time_s: float) -> str:
    """How it ended, in one line."""
    best = max(trials, key=lambda t: t.score)
    mark = typer.style(f"{marks()[0]} passed", fg="green", bold=True)
    text = f"{mark}: best score {values.score(best.score)}"
    text += f" (trial {best.no} of {len(trials)})" if len(trials) > 1 else ""
    text += f", {values.count(n_warnings, 'warning')}" if n_warnings else ""
    return f"{text}, in {values.duration(time_s)}"


def trial_table(trials: Sequence[TrialEnded], width: int) -> Table:
    """The trials for a terminal of ``width``: the latest, and the best."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    best = max(trials, key=lambda t: t.score)
    shown = list(trials[-_MOST_ROWS:])
    if best not in shown:
        shown[0] = best
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("TRIAL", justify="right", no_wrap=True)
    table.add_column("SCORE", justify="right", no_wrap=True)
    table.add_column("TIME", justify="right", no_wrap=True)
    table.add_column("KNOBS", no_wrap=True, overflow="ellipsis", max_width=max(10, width - 26))
    for trial in shown:
        is_best = trial is best
        table.add_row(
            Text(str(trial.no)), Text(values.score(trial.score), style="bold green" if is_best else ""),
            Text(values.duration(trial.time_s)), Text(values.knobs(trial.knobs)),
        )  # fmt: skip
    return table


def follow_lines(events: Iterator[CheckEvent | None], put: Callable[[str], None]) -> Generator[CheckEvent, None, None]:
    """Follow a check where no terminal is: a line for each step and each trial. Hands the events on."""
    for event in events:
        match event:
            case None:
                continue
            case StepDone():
                put(step_line(event))
            case CheckWarning():
                put(warning_line(event))
            case TrialEnded():
                put(trial_line(event))
        yield event


class LiveCheck:
    """Follows a check on a terminal: finished steps scroll by, below them the running step and the trials."""

    def __init__(self, trials: int, put: Callable[[str], None]) -> None:
        self._total, self._put = trials, put
        self._trials: list[TrialEnded] = []
        self._step, self._since = "", time.monotonic()
        self._trial: int | None = None

    def follow(self, events: Iterator[CheckEvent | None]) -> Generator[CheckEvent, None, None]:
        """Show events and hand them on."""
        from rich.live import Live
        from rich.text import Text

        from rafiki_cli.render.console import HarmlessConsole

        console = HarmlessConsole()
        # Transient: the table is printed once more at the end, with what follows it.
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for event in events:
                if event is not None:
                    self._take(event)
                    if isinstance(event, StepDone):
                        live.console.print(Text.from_ansi(step_line(event)), no_wrap=True, overflow="ellipsis")
                    elif isinstance(event, CheckWarning):
                        live.console.print(Text.from_ansi(warning_line(event)))
                    yield event
                live.update(self._view(console.width), refresh=True)
        if len(self._trials) > 1:
            console.print(trial_table(self._trials, console.width))

    def _take(self, event: CheckEvent) -> None:
        match event:
            case StepBegun(name=name, trial=trial):
                self._step, self._trial, self._since = name, trial, time.monotonic()
            case TrialEnded():
                self._trials.append(event)
            case CheckPassed() | CheckFailed():
                self._step = ""

    def _view(self, width: int) -> Group:
        from rich.console import Group
        from rich.text import Text

        parts: list[RenderableType] = [trial_table(self._trials, width)] if self._trials and self._total > 1 else []
        if self._step:
            where = f"trial {self._trial} of {self._total}: " if self._trial and self._total > 1 else ""
            text = f"… {where}{self._step} {values.duration(time.monotonic() - self._since)}"
            parts.append(Text(text, style="cyan", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)
