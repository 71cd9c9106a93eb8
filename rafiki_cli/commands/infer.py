"""``rafiki infer ...``."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import EnsembleMethod, ExitCode
from rafiki.errors import UnreachableError
from rafiki.utils.urls import http_url
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion.arguments import (
    AppArgument,
    AppFilterArgument,
    ServedAppArgument,
    VersionOption,
    WhoseOption,
)
from rafiki_cli.completion.serving_options import (
    BatchOption,
    CacheOption,
    DamagedOption,
    EnsembleOption,
    GpusOption,
    IdleOption,
    KeyOption,
    LatencyOption,
    ReplicasOption,
    SharedOption,
    SizeOption,
    choose,
)
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import rollouts, values
from rafiki_cli.render.ensembles import scores_text
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    error_column,
    plain_record,
    put_data,
    put_record,
    put_rows,
    time_column,
)
from rafiki_cli.render.scaling import changes_text, is_asleep, replicas_text
from rafiki_cli.replicas_option import MOST_REPLICAS, parse_replicas
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.client.trust import Trust
    from rafiki.contract.inference_jobs import InferenceJobCreatedView, InferenceJobView
    from rafiki.contract.train_jobs import TrialView

app = new_app("Deploy the best trials of a train job as an ensemble.")
_UPDATE: Column[InferenceJobView] = Column("UPDATE", lambda r: rollouts.brief(r), least=16, is_hidden_empty=True)
_WAITS: Column[InferenceJobView] = Column("WAITS FOR", lambda r: r.waits_for, least=20, is_hidden_empty=True)
_REPLICAS: list[Column[InferenceJobView]] = [
    Column("REPLICAS", replicas_text),
    Column("SCALED", changes_text),
]
_COLUMNS: list[Column[InferenceJobView]] = [
    Column("APP", lambda r: r.app, least=12),
    Column("VERSION", lambda r: r.app_version, is_right=True),
    Column("STATUS", lambda r: r.status),
    Column("PREDICTOR", lambda r: r.predictor_host),
    Column("TRIALS", lambda r: len(r.trial_ids), is_right=True),
    _UPDATE,
    _WAITS,
    time_column("STARTED", lambda r: r.datetime_started, rank=1),
    time_column("STOPPED", lambda r: r.datetime_stopped, rank=2, is_hidden_empty=True),
    error_column(lambda r: r.error),
]


@app.command(
    epilog=examples(
        "rafiki infer create digits",
        "rafiki infer create digits --ensemble greedy --size 5",
        "rafiki infer create digits --version 2 --replicas 2",
        "rafiki infer create digits --latency-budget-ms 200",
        "rafiki infer create digits --replicas 0..4 --idle 600",
        "rafiki infer create digits --replace-damaged",
        "rafiki infer create digits --cache 10000",
    )
)
def create(
    cli: Application,
    app: AppArgument,
    version: VersionOption = -1,
    gpus: GpusOption = None,
    workers_per_gpu: SharedOption = None,
    replicas: ReplicasOption = None,
    idle: IdleOption = None,
    ensemble: EnsembleOption = None,
    size: SizeOption = None,
    latency_budget_ms: LatencyOption = None,
    batch_size: BatchOption = None,
    require_key: KeyOption = False,
    replace_damaged: DamagedOption = False,
    cache: CacheOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the inference job of this version that runs.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Serve trials of a stopped train job: the best one of each model, or as --ensemble and --size say."""
    from rafiki.contract.inference_jobs import CreateInferenceJobRequest

    chosen = choose(
        gpus, workers_per_gpu, parse_replicas(replicas, idle), ensemble, size, require_key, replace_damaged,
        latency_budget_ms, batch_size, cache,
    )  # fmt: skip
    client = cli.client()
    created = client.create_inference_job(
        CreateInferenceJobRequest(
            app=app, app_version=version, budget=chosen.budget, ensemble=chosen.ensemble, replace=replace,
            deployment=chosen.deployment,
        )
    )  # fmt: skip
    columns: list[Column[InferenceJobCreatedView]] = [
        Column("ID", lambda r: r.id),
        Column("APP", lambda r: r.app),
        Column("VERSION", lambda r: r.app_version),
        Column("PREDICTOR", lambda r: r.predictor_host),
    ]
    put_record(created, columns, format)
    if format is Format.TABLE:
        terminal.say(
            f"Ask it with `rafiki predict {app} --query ...`, or POST to "
            f"{http_url(created.predictor_host or '')}/predict."
        )
        if chosen.ensemble:
            _tell_choice(client, created)
    for warning in created.warnings:
        terminal.warn(warning)


def _tell_choice(client: AdminClient, created: InferenceJobCreatedView) -> None:
    """Which members were chosen, to stderr."""
    jobs = client.get_inference_jobs_of_app(created.app)
    job = next(j for j in jobs if j.id == created.id)
    if note := job.ensemble.note:
        terminal.warn(f"The best trial is served alone. {note}")
    elif score := scores_text(job.ensemble):
        terminal.say(f"Serves {values.count(len(job.trial_ids), 'trial')}; {score}.")


def _method(job: InferenceJobView) -> str:
    view = job.ensemble
    method: str = view.method
    if method == EnsembleMethod.BEST:
        return method
    return f"{method}, at most {view.size}" if view.size else f"{method}, one trial of each model"


@app.command("list", epilog=examples("rafiki infer list", "rafiki infer list digits"))
def list_(
    cli: Application,
    app: AppFilterArgument = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List your inference jobs, newest first."""
    client = cli.client()
    rows = client.get_inference_jobs_of_app(app) if app else client.get_inference_jobs_by_user()
    put_rows(rows, _COLUMNS, format, nothing="No inference jobs. Make one with `rafiki infer create APP`.")


@app.command(epilog=examples("rafiki infer show digits"))
def show(
    cli: Application, app: ServedAppArgument, version: VersionOption = -1, format: FormatOption = Format.TABLE
) -> None:
    """Show the running inference job of an app and the members of its ensemble."""
    client = cli.client()
    job = client.get_running_inference_job(app, resolve.served_version(client, app, version))
    absent = _absent_members(job, cli.target().trust)
    if format is not Format.TABLE:
        put_data({**plain_record(job), "absent_trial_ids": [*absent]}, format)
        return
    trials = {t.id: t for t in client.get_trials_of_train_job(app, job.app_version)}

    columns: list[Column[InferenceJobView]] = [
        Column("ID", lambda r: r.id),
        *_COLUMNS[:4],
        Column("ENSEMBLE", _method),
        Column("VALIDATION", lambda r: scores_text(r.ensemble)),
        Column("TRIALS", lambda r: "\n".join(_members(r, trials, absent))),
        *(_REPLICAS if job.deployment.replicas else []),
        *([_WAITS] if job.waits_for else []),
        *([_UPDATE] if rollouts.brief(job) else []),
        *[c for c in _COLUMNS if c.title == "STARTED"],
        Column("ERROR", lambda r: r.error),
    ]
    put_record(job, columns, format)
    if job.update is not None:
        terminal.say(rollouts.sentence(job.update))
    if note := job.ensemble.note:
        terminal.warn(f"The best trial is served alone. {note}")
    _tell_replaced(job)
    if absent and not job.lost_members and not is_asleep(job):
        terminal.warn(f"{values.count(len(absent), 'member')} of the ensemble cannot answer now. See `rafiki logs`.")


def _tell_replaced(job: InferenceJobView) -> None:
    for member in job.ensemble.replaced:
        terminal.warn(
            f"{member.label} is not served any more: {member.reason.rstrip('.')}. Others took its place "
            f"{values.local_time(member.datetime_replaced)}."
        )


def _members(job: InferenceJobView, trials: Mapping[str, TrialView], absent: Sequence[str]) -> list[str]:
    """A line for each served trial: its name, score, weight in percent and id."""
    lines = []
    lost = {m.trial_id for m in job.lost_members if not m.is_serving}
    for trial_id, weight in zip(job.trial_ids, job.weights, strict=True):
        trial = trials.get(trial_id)
        name = f"{resolve.trial_name(trial)} {values.score(trial.score)} " if trial else ""
        line = f"{name}weight {weight:.1%} ({trial_id})"
        if trial_id in lost:
            lines.append(f"{line} LOST: it cannot be served")
            continue
        if trial_id in absent:
            line += " ASLEEP: the next query starts it" if is_asleep(job) else " ABSENT: no worker serves it now"
        lines.append(line)
    return lines


def _absent_members(job: InferenceJobView, trust: Trust | None) -> list[str]:
    """The served trials without a worker, as the predictor tells them; none when it cannot be asked from here."""
    from rafiki.client.prediction import BriefPredictorClient

    if not job.predictor_host:
        return []
    try:
        with BriefPredictorClient(job.predictor_host, timeout_s=3.0, trust=trust) as predictor:
            health = predictor.get_health()
    except UnreachableError:
        return []
    return [str(t) for t in health.get("absent") or [] if t in job.trial_ids]


@app.command(epilog=examples("rafiki infer watch digits", "rafiki infer watch digits --count 10 -o jsonl > load.jsonl"))
def watch(
    cli: Application,
    app: ServedAppArgument,
    version: VersionOption = -1,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many seconds. [default: never]")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Watch how much an app serves: requests, errors, latencies and members. Ctrl-C ends it; the app goes on."""
    from rafiki_cli.watch import infer_loop
    from rafiki_cli.watch.health import while_healthy

    if format in (Format.JSON, Format.YAML):
        raise terminal.UsageError(f"-o {format} needs an end. Take -o jsonl: an event a line.")
    on_event = (lambda event: put_data(event, Format.JSONL)) if format is Format.JSONL else None
    client = cli.client()
    # Settled once: after a restart of the admin, the latest may be another one.
    version = resolve.served_version(client, app, version)
    version = version if version > 0 else client.get_running_inference_job(app, version).app_version
    code = ExitCode.OK
    with contextlib.suppress(KeyboardInterrupt), while_healthy(client.address, client.trust):
        code = infer_loop.follow(client, app, version, count=count, on_event=on_event)
    terminal.finish(code)


@app.command(
    epilog=examples(
        "rafiki infer scale digits --max 4", "rafiki infer scale digits --min 0 --max 4 --idle 600",
        "rafiki infer scale digits --min 2 --max 2",
    )
)  # fmt: skip
def scale(
    cli: Application,
    app: ServedAppArgument,
    version: VersionOption = -1,
    least: Annotated[
        int | None,
        typer.Option(
            "--min", min=0, max=MOST_REPLICAS,
            help="Inference workers of each served trial at least; 0 = none while nobody asks. [default: as it is]",
            show_default=False,
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option("--max", min=1, max=MOST_REPLICAS, help="At most. [default: as it is]", show_default=False),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(
            min=1, help="With --min 0: none after so many seconds without a query. [default: as it is]",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:  # fmt: skip
    """Change how many workers an app that serves may have; the load decides between the two numbers."""
    from rafiki.contract.inference_jobs import ScaleInferenceJobRequest

    if least is None and most is None and idle is None:
        raise terminal.UsageError("Say what is to change: --min, --max or --idle.")
    client = cli.client()
    version = resolve.served_version(client, app, version)
    scaled = client.scale_inference_job(
        ScaleInferenceJobRequest(app=app, app_version=version, min=least, max=most, idle_s=idle)
    )
    if format is Format.TABLE:
        terminal.say(f"{scaled.app}, version {scaled.app_version}: {scaled.replicas} workers of each served trial.")
    else:
        put_record(scaled, [], format)
    for warning in scaled.warnings:
        terminal.warn(warning)


@app.command(epilog=examples("rafiki infer stop digits", "rafiki infer stop digits --user bob@example.org"))
def stop(
    cli: Application,
    app: ServedAppArgument,
    version: VersionOption = -1,
    user: WhoseOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Stop serving an app. Admins stop what others serve, too."""
    client = cli.client()
    if user is None:
        version = resolve.served_version(client, app, version)
    stopped = client.stop_inference_job(app, version, resolve.user_id(client, user))
    if format is Format.TABLE:
        terminal.say(f"Stopped serving {stopped.app}, version {stopped.app_version}.")
    else:
        put_record(stopped, [], format)


app.command_of("update", "rafiki_cli.commands.infer_update")
app.command_of("promote", "rafiki_cli.commands.infer_update")
app.command_of("rollback", "rafiki_cli.commands.infer_update")
app.command_of("updates", "rafiki_cli.commands.infer_update")
