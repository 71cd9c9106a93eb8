"""``rafiki train ...``."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.analysis.curves import best_trial
from rafiki.constants import ExitCode
from rafiki.errors import NoModelsForTrainJobError
from rafiki.states import find_outcome
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.completion.arguments import AppArgument, AppFilterArgument, VersionOption, WhoseOption
from rafiki_cli.lazy import GroupWithFile, examples, new_app
from rafiki_cli.render import train_watch, values
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    error_column,
    plain,
    plain_record,
    put_data,
    put_record,
    put_rows,
    time_column,
)
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.train_jobs import (
        CreateTrainJobRequest,
        SubTrainJobView,
        TrainJobCreatedView,
        TrainJobView,
        TrialView,
    )
    from rafiki_cli.jobs.train_options import TrainOptions

app = new_app("Create, watch and stop train jobs; go from a raw file to a served model.", GroupWithFile)


def _budget(row: TrainJobView) -> str:
    return " ".join(f"{k}={values.text(v)}" for k, v in plain_record(row.budget).items())


def _short_budget(row: TrainJobView) -> str:
    """``12 trials, 0.5 h, 2 GPUs``: what ends the job, and what it takes."""
    budget = row.budget
    parts = [] if budget.trial_limit is None else [values.count(budget.trial_limit, "trial")]
    parts.append(f"{values.number(budget.time_hours)} h")
    parts += [values.count(budget.gpu_count, "GPU")] if budget.gpu_count else []
    return ", ".join(parts)


def _waits(row: TrainJobView) -> str | None:
    """What its models wait for, each reason once."""
    return "; ".join(dict.fromkeys(m.waits_for for m in row.models if m.waits_for)) or None


_COLUMNS: list[Column[TrainJobView]] = [
    Column("APP", lambda r: r.app, least=12),
    Column("VERSION", lambda r: r.app_version, is_right=True),
    Column("STATUS", train_watch.shown_status),
    Column("TASK", lambda r: r.task, rank=3),
    Column("MODELS", lambda r: ", ".join(m.model_ref for m in r.models), least=12),
    Column("BUDGET", _budget, short=_short_budget, rank=2),
    time_column("STARTED", lambda r: r.datetime_started, rank=1),
    Column("TIME", lambda r: values.duration(values.between(r.datetime_started, r.datetime_stopped)), is_right=True),
    Column("WAITS FOR", _waits, least=20, is_hidden_empty=True),
    error_column(lambda r: r.error),
]


@app.command(
    epilog=examples(
        "rafiki train create --app digits --train train --val val --trials 20",
        "rafiki train create -f job.yaml --hours 0.5 --watch",
        "rafiki train create -f job.yaml --advisor asha --option eta=4",
        "rafiki train create -f job.yaml --try '{\"max_depth\": 8}' --arg epochs=3",
    )
)
def create(
    cli: Application,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="A job spec, as `rafiki run` takes it; options override it.")
    ] = None,
    app: Annotated[str | None, typer.Option(help="Name of the app.", autocompletion=completers.apps)] = None,
    task: Annotated[
        str | None,
        typer.Option(help="That of the training dataset if left out.", autocompletion=completers.tasks),
    ] = None,
    train: Annotated[
        str | None, typer.Option(help="Training dataset: id or name.", autocompletion=completers.datasets)
    ] = None,
    val: Annotated[
        str | None, typer.Option(help="Validation dataset: id or name.", autocompletion=completers.datasets)
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Id or name; can be repeated. All available models if left out.", autocompletion=completers.models
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials of each model (MODEL_TRIAL_COUNT). [default: -1, no limit]")
    ] = None,
    hours: Annotated[float | None, typer.Option(help="Hours for the whole job (TIME_HOURS). [default: 0.1]")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs for the whole job (GPU_COUNT). [default: 0]")] = None,
    workers_per_gpu: Annotated[
        int | None, typer.Option(min=1, max=64, help="Train workers that share one GPU. [default: 1]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="CPU workers of each model (CPU_WORKER_COUNT). [default: 1]")
    ] = None,
    arg: Annotated[list[str] | None, typer.Option(help="KEY=JSON for the models' train(); can be repeated.")] = None,
    advisor: Annotated[
        str | None,
        typer.Option(help="Search scheme, such as tpe or asha. [default: auto]", autocompletion=completers.schemes),
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="KEY=JSON of the search scheme; can be repeated.")] = None,
    try_: Annotated[
        list[str] | None, typer.Option("--try", help="Knobs to try first, as JSON; can be repeated.")
    ] = None,
    early_ending: Annotated[
        str | None,
        typer.Option(
            help="When hopeless trials end: none, median or asha. [default: by the scheme]",
            autocompletion=completers.rules,
        ),
    ] = None,
    warm_start: Annotated[
        bool | None, typer.Option("--warm-start/--no-warm-start", help="Learn from earlier jobs of the app.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "--watch", help="Watch the job until it ends.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Start training models on your datasets under a budget. Of a job spec, what its training needs is uploaded unless
    it is there; nothing is deployed."""
    from rafiki_cli.jobs.json_options import parse_arguments, parse_knobs
    from rafiki_cli.jobs.train_options import TrainOptions

    terminal.check_number("--hours", hours)
    options = TrainOptions(
        app=app, task=task, train=train, val=val, models=model, trials=trials, hours=hours, gpus=gpus, workers=workers,
        workers_per_gpu=workers_per_gpu, train_args=parse_arguments(arg) if arg else None, scheme=advisor,
        scheme_options=parse_arguments(option, "--option") if option else None,
        first_knobs=parse_knobs(try_) if try_ else None, early_ending=early_ending, warm_start=warm_start,
    )  # fmt: skip
    if file is not None:
        client, created = _create_from_file(cli, file, options, wait)
    else:
        client = cli.client()
        with _healthy_for(client, wait):
            created = _create(client, options.request(client))
    if wait:
        _wait(client, created, format)
    columns: list[Column[TrainJobCreatedView]] = [
        Column("ID", lambda r: r.id),
        Column("APP", lambda r: r.app),
        Column("VERSION", lambda r: r.app_version),
    ]
    put_record(created, columns, format)
    if format is Format.TABLE:
        terminal.say(f"Watch it with `rafiki train watch {created.app}`.")


def _healthy_for(client: AdminClient, wait: bool) -> contextlib.AbstractContextManager[None]:
    """Who goes on to wait for the job learns at once that it would wait in vain."""
    from rafiki_cli.watch.health import while_healthy

    return while_healthy(client.address, client.trust) if wait else contextlib.nullcontext()


def _create_from_file(
    cli: Application, file: Path, options: TrainOptions, wait: bool
) -> tuple[AdminClient, TrainJobCreatedView]:
    """Upload what the job of a file needs and create it; what comes after the training is `rafiki run`'s."""
    from rafiki.config import environment
    from rafiki.contract.train_jobs import TrainJobCreatedView
    from rafiki.errors import InvalidTrainJobError
    from rafiki_cli.jobs.create import JobCreator
    from rafiki_cli.jobs.load import load_training
    from rafiki_cli.jobs.observe import observe
    from rafiki_cli.jobs.plan import make_plan

    training = load_training(file, environment(), options.overrides(), options.app)
    job = training.job
    resolve.check_task(job.spec.task)
    client = cli.client()
    observed = observe(client, job)
    plan = make_plan(job, observed, may_deploy=False, must_retrain=True)
    if plan.conflict is not None:
        raise InvalidTrainJobError(plan.conflict)
    if training.left_out:
        parts = " and ".join(f"`{key}`" for key in training.left_out)
        terminal.say(f"Only training is started: {parts} of {file} take effect with `rafiki run`.")
    creator = JobCreator(client, job, say=terminal.say)
    with _healthy_for(client, wait):
        created = creator.create(creator.provide(observed), may_adopt=False)
    return client, TrainJobCreatedView(id=created.id, app=created.app, app_version=created.app_version)


def _create(client: AdminClient, request: CreateTrainJobRequest) -> TrainJobCreatedView:
    resolve.check_task(request.task)
    try:
        created = client.create_train_job(request)
    except NoModelsForTrainJobError as e:
        tasks = sorted({m.task for m in client.get_available_models()} - {request.task})
        if not tasks:
            raise
        raise NoModelsForTrainJobError(f"{e.message} The models you can use are for {', '.join(tasks)}.") from e
    for note in created.notes:
        terminal.warn(note)
    return created


def _wait(client: AdminClient, created: TrainJobCreatedView, format: Format) -> None:
    from rafiki_cli.watch import train_loop

    name, version = created.app, created.app_version
    terminal.say(f"Started {name}, version {version} (train job {created.id}).")
    # A script that waits for the job has to learn that nobody waited to the end.
    with train_loop.detaching(name, ExitCode.INTERRUPTED):
        code = _follow(client, name, version, format)
    terminal.finish(code)


@app.command("list", epilog=examples("rafiki train list", "rafiki train list digits -o json"))
def list_(
    cli: Application,
    app: AppFilterArgument = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List your train jobs, newest first."""
    client = cli.client()
    rows = client.get_train_jobs_of_app(app) if app else client.get_train_jobs_by_user()
    put_rows(rows, _COLUMNS, format, nothing="No train jobs. Make one with `rafiki train create`.")


@app.command(epilog=examples("rafiki train show digits", "rafiki train show digits --version 2"))
def show(cli: Application, app: AppArgument, version: VersionOption = -1, format: FormatOption = Format.TABLE) -> None:
    """Show a train job and the state of each model's search."""
    client = cli.client()
    job = client.get_train_job(app, version)
    if format is not Format.TABLE:
        put_data(job, format)
        return
    trials = client.get_trials_of_train_job(app, job.app_version)
    names = {d.id: d.name for d in client.get_datasets()}

    def dataset_name(id: str) -> str:
        return f"{names[id]} ({id})" if id in names else id

    columns: list[Column[TrainJobView]] = [
        Column("ID", lambda r: r.id),
        *_COLUMNS[:4],
        Column("MODELS", lambda r: "\n".join(_model_line(r, m, trials) for m in r.models)),
        *_COLUMNS[5:8],
        Column("TRAIN", lambda r: dataset_name(r.train_dataset_id)),
        Column("VAL", lambda r: dataset_name(r.val_dataset_id)),
        Column("ARGS", lambda r: r.train_args),
        Column("ADVISOR", lambda r: plain(r.advisor) or "auto"),
        Column("BEST", lambda _: _best_line(trials)),
        Column("ERROR", lambda r: r.error),
    ]
    put_record(job, columns, format)


def _model_line(job: TrainJobView, model: SubTrainJobView, trials: Sequence[TrialView]) -> str:
    own = [t for t in trials if t.model_ref == model.model_ref]
    status = find_outcome(model.status, job.datetime_stop_requested) or model.status
    best = best_trial(own)
    text = f"{model.model_ref} {status}, {values.count(len(own), 'trial')}"
    text += f", best {values.score(best.score)} (#{best.no})" if best else ""
    if model.error:
        return f"{text}: {model.error}"
    return f"{text}, waits: {model.waits_for}" if model.waits_for else text


def _best_line(trials: Sequence[TrialView]) -> str:
    best = best_trial(trials)
    return f"{values.score(best.score)} by {resolve.trial_name(best)} ({best.id})" if best else values.NOTHING


@app.command(epilog=examples("rafiki train watch digits"))
def watch(cli: Application, app: AppArgument, version: VersionOption = -1, format: FormatOption = Format.TABLE) -> None:
    """Watch a train job until it ends. Ctrl-C leaves it running."""
    from rafiki_cli.watch import train_loop

    client = cli.client()
    version = version if version > 0 else client.get_train_job(app, version).app_version
    with train_loop.detaching(app, ExitCode.OK):
        code = _follow(client, app, version, format)
    terminal.finish(code)


def _follow(client: AdminClient, app: str, version: int, format: Format) -> ExitCode:
    """Watch a job. JSON Lines hold its events; JSON and YAML the job as it ended, and its trials are told on stderr."""
    from rafiki_cli.watch import train_loop
    from rafiki_cli.watch.health import while_healthy

    is_table = format is Format.TABLE
    with while_healthy(client.address, client.trust):
        if format is Format.JSONL:
            return train_loop.follow(client, app, version, on_event=lambda event: put_data(event, Format.JSONL))
        code = train_loop.follow(client, app, version, out=terminal.put if is_table else terminal.say)
    if not is_table:
        put_data(client.get_train_job(app, version), format)
    elif code is ExitCode.OK:
        terminal.hint(f"Next: rafiki infer create {app}")
    return code


@app.command(epilog=examples("rafiki train stop digits", "rafiki train stop digits --user bob@example.org"))
def stop(
    cli: Application,
    app: AppArgument,
    version: VersionOption = -1,
    user: WhoseOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Stop a train job. Its finished trials stay and can be deployed. Admins stop those of others, too."""
    client = cli.client()
    stopped = client.stop_train_job(app, version, resolve.user_id(client, user))
    if format is Format.TABLE:
        terminal.say(f"Stopped {stopped.app}, version {stopped.app_version}.")
    else:
        put_record(stopped, [], format)


app.command_of("file", "rafiki_cli.commands.train_file")
app.command_of("trials", "rafiki_cli.commands.train_trials")
app.command_of("best", "rafiki_cli.commands.train_trials")
app.command_of("compare", "rafiki_cli.commands.train_compare")
app.command_of("importance", "rafiki_cli.commands.train_importance")
