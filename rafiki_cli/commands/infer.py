"""``rafiki infer ...``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rafiki.constants import InferenceBudgetOption
from rafiki_cli import session, terminal
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_record, put_rows

app = new_app("Deploy the best trials of a train job as an ensemble.")
VersionOption = Annotated[int, typer.Option("--version", help="Version of the app; -1 = the latest.")]
_COLUMNS = [
    Column("APP", "app"),
    Column("VERSION", "app_version", is_right=True),
    Column("STATUS", "status"),
    Column("PREDICTOR", "predictor_host"),
    Column("TRIALS", lambda r: len(r["trial_ids"]), is_right=True),
    Column("STARTED", lambda r: values.local_time(r["datetime_started"])),
    Column("STOPPED", lambda r: values.local_time(r["datetime_stopped"])),
    Column("ERROR", lambda r: values.first_line(r["error"])),
]


@app.command()
def create(
    app: Annotated[str, typer.Argument(help="An app whose train job has stopped.")],
    version: VersionOption = -1,
    gpus: Annotated[int | None, typer.Option(help="GPUs for the whole job.")] = None,
    replicas: Annotated[int | None, typer.Option(help="Inference workers of each served trial.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Serve the best trial of each model of a stopped train job."""
    wanted = {InferenceBudgetOption.GPU_COUNT: gpus, InferenceBudgetOption.REPLICA_COUNT: replicas}
    budget: dict[str, Any] = {str(option): value for option, value in wanted.items() if value is not None}
    created = session.client().create_inference_job(app, version, budget or None)
    columns = [Column("ID", "id"), *_COLUMNS[:2], Column("PREDICTOR", "predictor_host")]
    put_record(created, columns, format)
    if format is Format.TABLE:
        terminal.say(
            f"Ask it with `rafiki predict {app} --query ...`, or POST to http://{created['predictor_host']}/predict."
        )


@app.command("list")
def list_(
    app: Annotated[str | None, typer.Argument(help="Those of one app only.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List your inference jobs, newest first."""
    client = session.client()
    rows = client.get_inference_jobs_of_app(app) if app else client.get_inference_jobs_by_user()
    put_rows(rows, _COLUMNS, format, nothing="No inference jobs. Make one with `rafiki infer create APP`.")


@app.command()
def show(app: str, version: VersionOption = -1, format: FormatOption = Format.TABLE) -> None:
    """Show the running inference job of an app."""
    job = session.client().get_running_inference_job(app, version)
    trials = Column("TRIALS", lambda r: "\n".join(r["trial_ids"]))
    put_record(job, [Column("ID", "id"), *_COLUMNS[:4], trials, *_COLUMNS[5:6], Column("ERROR", "error")], format)


@app.command()
def stop(app: str, version: VersionOption = -1, format: FormatOption = Format.TABLE) -> None:
    """Stop serving an app."""
    stopped = session.client().stop_inference_job(app, version)
    if format is Format.TABLE:
        terminal.say(f"Stopped serving {stopped['app']}, version {stopped['app_version']}.")
    else:
        put_record(stopped, [], format)
