"""``rafiki trial ...``."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

import typer

from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.completion.arguments import VersionOption
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import progress, values
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    error_column,
    id_column,
    plain_record,
    put_data,
    put_record,
    time_column,
)
from rafiki_cli.target import resolve, trial_output

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.train_jobs import LogMessage, LogMetrics, TrialLogsAdded, TrialLogsSnapshot, TrialView

app = new_app("Look into single trials.")
Entry = TypeVar("Entry")
"""Something that a model logged."""


def _knobs(row: TrialView) -> str:
    return values.knobs(row.proposal.knobs)


def duration(row: TrialView, now: datetime | None = None) -> str:
    return values.duration(values.between(row.datetime_started, row.datetime_stopped, now))


TRIAL_COLUMNS: list[Column[TrialView]] = [
    id_column(rank=2),
    Column("NO", lambda r: r.no, is_right=True),
    Column("MODEL", lambda r: r.model_ref, least=12),
    Column("STATUS", lambda r: r.status),
    Column("SCORE", lambda r: values.score(r.score), is_right=True),
    Column("TIME", duration, is_right=True),
    Column("KNOBS", _knobs, least=12),
    error_column(lambda r: r.error, least=22),
]
_PRINTED_TICK_S = 0.3
"""How often it is looked whether a trial has printed something."""
TrialArgument = Annotated[
    str,
    typer.Argument(
        metavar="TRIAL",
        help="A trial's id, the beginning of it, or an app (digits, digits@2) together with MODEL#N.",
        autocompletion=completers.apps,
    ),
]
NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL#N]",
        help="Trial N of a model of the app TRIAL, as in SkSvm#10; N alone where one model has it.",
        autocompletion=completers.trials,
    ),
]


@app.command(
    epilog=examples(
        "rafiki trial show digits SkSvm#10",
        "rafiki trial show digits 10",
        "rafiki trial show 5d0c7e2a --save-params params.safetensors",
    )
)
def show(
    cli: Application,
    trial: TrialArgument,
    name: NameArgument = None,
    version: VersionOption = -1,
    save_params: Annotated[
        Path | None, typer.Option(help="Also write the trained parameters (safetensors) to this path.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show a trial: its knobs, its score, or why it failed."""
    if save_params is not None:
        terminal.check_target(save_params)
    client = cli.client()
    found = resolve.trial(client, trial, name, version)
    if save_params is not None:
        with progress.transfer(f"Downloading {save_params.name}") as show:
            client.download_trial_parameters(found.id, save_params, progress=show)
        terminal.say(f"Wrote {save_params}.")
    extra: list[Column[TrialView]] = [
        time_column("STARTED", lambda r: r.datetime_started),
        Column("ATTEMPT", lambda r: r.attempt),
        Column("WORKER", lambda r: trial_output.worker_name(cli, r)),
        Column("PARAMS SAVED", lambda r: r.is_params_saved),
        Column("ENDED EARLY", lambda r: r.ended_early),
        Column("ERROR", lambda r: r.error),
    ]
    put_record(found, [*TRIAL_COLUMNS[:-1], *extra], format)


@app.command(epilog=examples("rafiki trial logs digits SkSvm#10", "rafiki trial logs digits SkSvm#10 --follow"))
def logs(
    cli: Application,
    trial: TrialArgument,
    name: NameArgument = None,
    version: VersionOption = -1,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what it logs until it ends.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what the model logged in a trial: messages and metrics, in the order of time; then what it printed.

    With --follow what it prints comes as it is written, behind a bar.
    """
    if follow and format in (Format.JSON, Format.YAML):
        raise terminal.UsageError(f"-o {format} needs an end, and --follow has none. Take -o jsonl: an event a line.")
    client = cli.client()
    found = resolve.trial(client, trial, name, version)
    if follow:
        from rafiki_cli.watch.health import while_healthy

        with contextlib.suppress(KeyboardInterrupt), while_healthy(client.address, client.trust):
            _follow(cli, client, found.id, format)
        return
    printed = trial_output.find(cli, found)
    logged = client.get_trial_logs(found.id)
    if format is not Format.TABLE:
        lines = None if printed.lines is None else [*printed.lines]
        put_data({**plain_record(logged), "printed": lines}, format)
        return
    if not _put_entries(logged.messages, logged.metrics):
        terminal.say("The model logged nothing in this trial.")
    printed.put()


def _put_entries(messages: Sequence[LogMessage], metrics: Sequence[LogMetrics]) -> bool:
    """Messages and metrics in the order of time; whether there are any."""
    entries: list[tuple[str, str]] = [(m.time, m.message) for m in messages]
    entries += [(str(m["time"]), _metrics(m)) for m in metrics]
    for time, line in sorted(entries, key=lambda entry: entry[0]):
        terminal.put(f"{_time(time)}  {line}")
    return bool(entries)


class _Follower:
    """Puts each entry of a log out once, though a stream that was opened again begins with all of them."""

    def __init__(self) -> None:
        self._attempt = 0
        self._messages: _Unseen[LogMessage] = _Unseen()
        self._metrics: _Unseen[LogMetrics] = _Unseen()

    def take(self, event: TrialLogsSnapshot | TrialLogsAdded) -> None:
        from rafiki.contract.train_jobs import TrialLogsSnapshot

        if isinstance(event, TrialLogsSnapshot):
            self._begin(event.trial.attempt)
        _put_entries(self._messages.take(event.messages), self._metrics.take(event.metrics))

    def _begin(self, attempt: int) -> None:
        is_new = attempt != self._attempt
        if is_new and self._attempt:
            terminal.say(f"Its worker was lost; another one begins it anew (attempt {attempt}).")
        self._attempt = attempt
        self._messages.begin(is_new=is_new)
        self._metrics.begin(is_new=is_new)


class _Unseen(Generic[Entry]):
    """Of entries that come again from the first on, those that were not there before."""

    def __init__(self) -> None:
        self._n_told = self._n_seen = 0

    def begin(self, *, is_new: bool) -> None:
        """From the first on; ``is_new``: they are others than before."""
        self._n_seen = 0
        if is_new:
            self._n_told = 0

    def take(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        found = entries[max(0, self._n_told - self._n_seen) :]
        self._n_seen += len(entries)
        self._n_told = max(self._n_told, self._n_seen)
        return found


def _follow(cli: Application, client: AdminClient, trial_id: str, format: Format) -> None:
    """Put out what the model logs and prints until the trial ends."""
    from rafiki.client.records import Away
    from rafiki.contract.train_jobs import TrialEnded, TrialLogsSnapshot
    from rafiki_cli.watch import streams

    follower, is_away = _Follower(), False
    with contextlib.closing(trial_output.PrintedLines(cli)) as printed:
        attempt: int | None = None
        for batch in streams.batches(client.watch_trial_logs, trial_id, tick_s=_PRINTED_TICK_S):
            for event in batch:
                if isinstance(event, Away):
                    if not is_away:
                        terminal.say(
                            f"The admin does not answer; trying for {event.left_s:.0f} s more. ({event.reason})"
                        )
                    is_away = True
                    continue
                is_away = False
                if isinstance(event, TrialLogsSnapshot) and event.trial.attempt != attempt:
                    _put_printed(printed.take(), format)
                    attempt = event.trial.attempt
                    if (elsewhere := printed.begin(event.trial)) is not None:
                        terminal.say(elsewhere)
                if isinstance(event, TrialEnded):
                    _put_printed(printed.take(), format)
                if format is Format.JSONL:
                    put_data(event, format)
                elif isinstance(event, TrialEnded):
                    _tell_end(event.trial)
                else:
                    follower.take(event)
            _put_printed(printed.take(), format)


def _put_printed(lines: Sequence[str], format: Format) -> None:
    if lines and format is Format.JSONL:
        put_data({"type": "printed", "lines": [*lines]}, format)
        return
    for line in lines:
        terminal.put(f"| {line}")


def _tell_end(trial: TrialView) -> None:
    about = f"score {values.score(trial.score)}" if trial.score is not None else values.one_line(trial.error)
    early = f" It was ended early: {trial.ended_early}" if trial.ended_early else ""
    terminal.say(f"{resolve.trial_name(trial)} {trial.status}: {about}{early}")


def _metrics(entry: LogMetrics) -> str:
    return " ".join(f"{name}={values.text(value)}" for name, value in entry.items() if name != "time")


def _time(text: str) -> str:
    try:
        return values.local_time(values.moment(text))
    except ValueError:
        return text


app.command_of("plot", "rafiki_cli.commands.trial_plot")
