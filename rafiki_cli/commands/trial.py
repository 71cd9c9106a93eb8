"""``rafiki trial ...``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from rafiki_cli import completers, resolve, session, terminal
from rafiki_cli.arguments import VersionOption
from rafiki_cli.commands import trial_plot
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    Row,
    error_column,
    id_column,
    put_data,
    put_record,
    time_column,
)

app = new_app("Look into single trials.")


def _knobs(row: Row) -> str:
    return values.knobs(row["proposal"].get("knobs"))


def duration(row: Row, now: datetime | None = None) -> str:
    return values.duration(values.between(row["datetime_started"], row["datetime_stopped"], now))


TRIAL_COLUMNS = [
    id_column(rank=2),
    Column("NO", "no", is_right=True),
    Column("MODEL", "model_name", least=12),
    Column("STATUS", "status"),
    Column("SCORE", lambda r: values.score(r["score"]), is_right=True),
    Column("TIME", duration, is_right=True),
    Column("KNOBS", _knobs, least=12),
    error_column(least=22),
]
TrialArgument = Annotated[
    str,
    typer.Argument(
        metavar="TRIAL",
        help="A trial's id, the beginning of it, or an app together with MODEL#N.",
        autocompletion=completers.apps,
    ),
]
NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL#N]",
        help="Trial N of a model of the app TRIAL, as in SkSvm#10.",
        autocompletion=completers.trials,
    ),
]


@app.command(
    epilog=examples("rafiki trial show digits SkSvm#10", "rafiki trial show 5d0c7e2a --save-params params.safetensors")
)
def show(
    trial: TrialArgument,
    name: NameArgument = None,
    version: VersionOption = -1,
    save_params: Annotated[
        Path | None, typer.Option(help="Also write the trained parameters (safetensors) to this path.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show a trial: its knobs, its score, or why it failed."""
    client = session.client()
    found = resolve.trial(client, trial, name, version)
    if save_params is not None:
        try:
            save_params.write_bytes(client.get_trial_parameters(found["id"]))
        except OSError as e:
            raise terminal.UsageError(f"{save_params}: cannot be written: {e.strerror}.") from e
        terminal.say(f"Wrote {save_params}.")
    extra = [
        time_column("STARTED", "datetime_started"),
        Column("ATTEMPT", "attempt"),
        Column("WORKER", "worker_id"),
        Column("PARAMS SAVED", "is_params_saved"),
        Column("ENDED EARLY", lambda r: r.get("ended_early")),
        Column("ERROR", "error"),
    ]
    put_record(found, [*TRIAL_COLUMNS[:-1], *extra], format)


@app.command(epilog=examples("rafiki trial logs digits SkSvm#10", "rafiki trial logs 5d0c7e2a -o json"))
def logs(
    trial: TrialArgument,
    name: NameArgument = None,
    version: VersionOption = -1,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what the model logged in a trial: messages and metrics, in the order of time."""
    client = session.client()
    whole = name is None and resolve.is_whole_id(trial)
    found = client.get_trial_logs(trial if whole else resolve.trial(client, trial, name, version)["id"])
    if format is not Format.TABLE:
        put_data(found, format)
        return
    entries: list[tuple[str, str]] = [(str(m["time"]), str(m["message"])) for m in found["messages"]]
    entries += [(str(m["time"]), _metrics(m)) for m in found["metrics"]]
    for time, line in sorted(entries, key=lambda entry: entry[0]):
        terminal.put(f"{_time(time)}  {line}")
    if not entries:
        terminal.say("The model logged nothing in this trial.")


def _metrics(entry: dict[str, Any]) -> str:
    return " ".join(f"{name}={values.text(value)}" for name, value in entry.items() if name != "time")


def _time(text: str) -> str:
    try:
        return values.local_time(text)
    except ValueError:
        return text


app.command("plot", epilog=trial_plot.EPILOG)(trial_plot.plot)
