"""``rafiki infer ...``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rafiki.constants import InferenceBudgetOption
from rafiki.errors import UnreachableError
from rafiki_cli import resolve, session, terminal
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    Row,
    error_column,
    put_data,
    put_record,
    put_rows,
    time_column,
)

app = new_app("Deploy the best trials of a train job as an ensemble.")
VersionOption = Annotated[int, typer.Option("--version", help="Version of the app; -1 = the latest.")]
_COLUMNS = [
    Column("APP", "app", least=12),
    Column("VERSION", "app_version", is_right=True),
    Column("STATUS", "status"),
    Column("PREDICTOR", "predictor_host"),
    Column("TRIALS", lambda r: len(r["trial_ids"]), is_right=True),
    time_column("STARTED", "datetime_started", rank=1),
    time_column("STOPPED", "datetime_stopped", rank=2, is_hidden_empty=True),
    error_column(),
]


@app.command()
def create(
    app: Annotated[str, typer.Argument(help="An app whose train job has stopped.")],
    version: VersionOption = -1,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs for the whole job. [default: 0]")] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Inference workers of each served trial. [default: 1]")
    ] = None,
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
    """Show the running inference job of an app and the members of its ensemble."""
    client = session.client()
    job = client.get_running_inference_job(app, version)
    absent = _absent_members(job)
    if format is not Format.TABLE:
        put_data({**job, "absent_trial_ids": absent}, format)
        return
    trials = {t["id"]: t for t in client.get_trials_of_train_job(app, job["app_version"])}

    def member(trial_id: str) -> str:
        trial = trials.get(trial_id)
        text = f"{resolve.trial_name(trial)} {values.score(trial['score'])} ({trial_id})" if trial else trial_id
        return f"{text} ABSENT: no worker serves it now" if trial_id in absent else text

    members = Column("TRIALS", lambda r: "\n".join(map(member, r["trial_ids"])))
    put_record(job, [Column("ID", "id"), *_COLUMNS[:4], members, *_COLUMNS[5:6], Column("ERROR", "error")], format)
    if absent:
        terminal.warn(f"{values.count(len(absent), 'member')} of the ensemble cannot answer now. See `rafiki logs`.")


def _absent_members(job: Row) -> list[str]:
    """The served trials without a worker, as the predictor tells them; none when it cannot be asked from here."""
    from rafiki.client import PredictorClient

    if not job["predictor_host"]:
        return []
    try:
        with PredictorClient(job["predictor_host"], timeout_s=3.0) as predictor:
            health = predictor.get_health()
    except UnreachableError:
        return []
    return [str(t) for t in health.get("absent") or [] if t in job["trial_ids"]]


@app.command()
def stop(app: str, version: VersionOption = -1, format: FormatOption = Format.TABLE) -> None:
    """Stop serving an app."""
    stopped = session.client().stop_inference_job(app, version)
    if format is Format.TABLE:
        terminal.say(f"Stopped serving {stopped['app']}, version {stopped['app_version']}.")
    else:
        put_record(stopped, [], format)
