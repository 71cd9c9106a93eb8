"""``rafiki train ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rafiki.constants import BudgetOption
from rafiki_cli import session, terminal
from rafiki_cli.commands.trial import TRIAL_COLUMNS
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, Row, put_data, put_record, put_rows

app = new_app("Create, watch and stop train jobs.")
VersionOption = Annotated[int, typer.Option("--version", help="Version of the app; -1 = the latest.")]


def _budget(row: Row) -> str:
    return " ".join(f"{k}={values.text(v)}" for k, v in row["budget"].items())


_COLUMNS = [
    Column("APP", "app"),
    Column("VERSION", "app_version", is_right=True),
    Column("STATUS", "status"),
    Column("TASK", "task"),
    Column("MODELS", lambda r: ", ".join(m["model_name"] for m in r["models"])),
    Column("BUDGET", _budget),
    Column("STARTED", lambda r: values.local_time(r["datetime_started"])),
    Column("TIME", lambda r: values.duration(values.between(r["datetime_started"], r["datetime_stopped"]))),
    Column("ERROR", lambda r: values.first_line(r["error"])),
]


@app.command()
def create(
    file: Annotated[Path | None, typer.Option("-f", "--file", help="A YAML job file; options go over it.")] = None,
    app: Annotated[str | None, typer.Option(help="Name of the app.")] = None,
    task: Annotated[str | None, typer.Option(help="That of the training dataset if left out.")] = None,
    train: Annotated[str | None, typer.Option(help="Training dataset: id or name.")] = None,
    val: Annotated[str | None, typer.Option(help="Validation dataset: id or name.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Id or name; can be repeated. All available models if left out.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of each model (MODEL_TRIAL_COUNT).")] = None,
    hours: Annotated[float | None, typer.Option(help="Hours for the whole job (TIME_HOURS).")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs for the whole job (GPU_COUNT).")] = None,
    workers: Annotated[int | None, typer.Option(help="CPU workers of each model (CPU_WORKER_COUNT).")] = None,
    arg: Annotated[list[str] | None, typer.Option(help="KEY=JSON for the models' train(); can be repeated.")] = None,
    wait: Annotated[bool, typer.Option("--wait", "--watch", help="Watch the job until it ends.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Start training models on your datasets under a budget."""
    from rafiki_cli.job_spec import JobSpec, parse_arguments, read_job_file

    spec = read_job_file(file) if file else JobSpec()
    budget = {
        BudgetOption.MODEL_TRIAL_COUNT: trials,
        BudgetOption.TIME_HOURS: hours,
        BudgetOption.GPU_COUNT: gpus,
        BudgetOption.CPU_WORKER_COUNT: workers,
    }
    spec.update(
        {
            "app": app,
            "task": task,
            "train_dataset_id": train,
            "val_dataset_id": val,
            "budget": {str(option): value for option, value in budget.items() if value is not None},
            "model_ids": model,
            "train_args": parse_arguments(arg or []),
        }
    )
    client = session.client()
    created = client.create_train_job(**spec.resolved(client))
    if wait:
        _wait(client, created, format)
    put_record(created, [Column("ID", "id"), *_COLUMNS[:2]], format)
    if format is Format.TABLE:
        terminal.say(f"Watch it with `rafiki train watch {created['app']}`.")


def _wait(client: Any, created: dict[str, Any], format: Format) -> None:
    from rafiki_cli import train_loop

    name, version = created["app"], created["app_version"]
    is_table = format is Format.TABLE
    terminal.say(f"Started {name}, version {version} (train job {created['id']}).")
    with train_loop.detaching(name):
        code = train_loop.follow(client, name, version, out=terminal.put if is_table else terminal.say)
    if not is_table:
        put_data(client.get_train_job(name, version), format)
    terminal.finish(code)


@app.command("list")
def list_(
    app: Annotated[str | None, typer.Argument(help="Those of one app only.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List your train jobs, newest first."""
    client = session.client()
    rows = client.get_train_jobs_of_app(app) if app else client.get_train_jobs_by_user()
    put_rows(rows, _COLUMNS, format, nothing="No train jobs. Make one with `rafiki train create`.")


@app.command()
def show(app: str, version: VersionOption = -1, format: FormatOption = Format.TABLE) -> None:
    """Show a train job and the state of each model's search."""
    job = session.client().get_train_job(app, version)
    models = Column(
        "MODELS",
        lambda r: "\n".join(
            f"{m['model_name']} {m['status']}{': ' + m['error'] if m['error'] else ''}" for m in r["models"]
        ),
    )
    datasets = [Column("TRAIN", "train_dataset_id"), Column("VAL", "val_dataset_id"), Column("ARGS", "train_args")]
    put_record(
        job, [Column("ID", "id"), *_COLUMNS[:4], models, *_COLUMNS[5:8], *datasets, Column("ERROR", "error")], format
    )


@app.command()
def watch(app: str, version: VersionOption = -1) -> None:
    """Watch a train job until it ends. Ctrl-C leaves it running."""
    from rafiki_cli import train_loop

    client = session.client()
    with train_loop.detaching(app):
        code = train_loop.follow(client, app, version)
    terminal.finish(code)


@app.command()
def trials(
    app: str,
    version: VersionOption = -1,
    offset: Annotated[int, typer.Option(help="How many to skip.")] = 0,
    limit: Annotated[int | None, typer.Option(help="How many to show at most.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the trials of a train job."""
    rows = session.client().get_trials_of_train_job(app, version, offset=offset, limit=limit)
    put_rows(rows, TRIAL_COLUMNS, format, nothing="No trials yet.")


@app.command()
def best(
    app: str,
    version: VersionOption = -1,
    count: Annotated[int, typer.Option("-n", "--count", help="How many.")] = 2,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the trials with the highest scores, best first."""
    rows = session.client().get_best_trials_of_train_job(app, version, max_count=count)
    put_rows(rows, TRIAL_COLUMNS, format, nothing="No completed trial yet.")


@app.command()
def stop(app: str, version: VersionOption = -1, format: FormatOption = Format.TABLE) -> None:
    """Stop a train job. Its finished trials stay and can be deployed."""
    stopped = session.client().stop_train_job(app, version)
    if format is Format.TABLE:
        terminal.say(f"Stopped {stopped['app']}, version {stopped['app_version']}.")
    else:
        put_record(stopped, [], format)
