"""``rafiki infer update``, ``promote``, ``rollback`` and ``updates``: other versions behind one address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import ExitCode
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion.arguments import AppArgument, DeployedOption, ServedAppArgument, VersionOption
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
from rafiki_cli.render import rollouts
from rafiki_cli.render.output import Format, FormatOption, put_record, put_rows
from rafiki_cli.replicas_option import parse_limits

if TYPE_CHECKING:
    from rafiki.contract.rollouts import RolloutView

app = new_app("Updates of running apps.")
_ROLLBACK_S = 300.0


@app.command(
    epilog=examples(
        "rafiki infer update digits",
        "rafiki infer update digits --version 2 --canary 10% --rollback-errors 1%",
        "rafiki infer update digits --shadow",
        "rafiki infer update digits --ensemble greedy --size 5",
    )
)
def update(
    cli: Application,
    app: ServedAppArgument,
    version: VersionOption = -1,
    canary: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Give it this share of the requests, such as 10%, until somebody decides.",
        ),
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Ask it with copies: its answers are compared, not given.")
    ] = False,
    rollback_errors: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Take it back when its share of errors is larger by more than this."),
    ] = None,
    rollback_latency_ms: Annotated[
        float | None,
        typer.Option(min=0.001, help="Take it back when its p99 latency is longer by more than this."),
    ] = None,
    rollback_score: Annotated[
        float | None,
        typer.Option(min=0, help="Do not begin when its validation score is lower by more than this."),
    ] = None,
    rollback_disagreement: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Take a shadow back when more of its answers say something else."),
    ] = None,
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
    deployed: DeployedOption = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until its workers are ready. The update itself goes on.")
    ] = 300.0,
    format: FormatOption = Format.TABLE,
) -> None:
    """Go over to another version of a running app, or another ensemble, behind its address: no request fails.

    What answers goes on until the workers of the new one are ready. Options that are left out stay as they are.
    """
    from rafiki.constants import RolloutKind
    from rafiki.contract.rollouts import RollbackRulesRequest, UpdateInferenceJobRequest

    if canary is not None and shadow:
        raise terminal.UsageError("--canary and --shadow do not go together: a shadow answers nothing.")
    chosen = choose(
        gpus, workers_per_gpu, parse_limits(replicas, idle), ensemble, size, require_key, replace_damaged,
        latency_budget_ms, batch_size, cache,
    )  # fmt: skip
    kind = RolloutKind.CANARY if canary is not None else RolloutKind.SHADOW if shadow else RolloutKind.REPLACE
    rules = RollbackRulesRequest(
        errors=_share("--rollback-errors", rollback_errors), latency_ms=rollback_latency_ms, score=rollback_score,
        disagreement=_share("--rollback-disagreement", rollback_disagreement),
    )  # fmt: skip
    client = cli.client()
    rollout = client.update_inference_job(
        UpdateInferenceJobRequest(
            app=app, app_version=version, deployed_version=deployed, kind=kind, share=_share("--canary", canary) or 0.0,
            rollback=rules, budget=chosen.budget, ensemble=chosen.ensemble, deployment=chosen.deployment,
        )
    )  # fmt: skip
    rollout = rollouts.wait_until_ready(client, rollout, timeout, terminal.say)
    _finish(rollout, format)


@app.command(epilog=examples("rafiki infer promote digits"))
def promote(
    cli: Application, app: ServedAppArgument, deployed: DeployedOption = None, format: FormatOption = Format.TABLE
) -> None:
    """Have the new version of an update, a canary or a shadow, answer all requests."""
    client = cli.client()
    _finish(client.promote_inference_job(app, deployed), format)


@app.command(epilog=examples("rafiki infer rollback digits"))
def rollback(
    cli: Application, app: ServedAppArgument, deployed: DeployedOption = None, format: FormatOption = Format.TABLE
) -> None:
    """Take an update back; where none is under way, go back to the version before."""
    client = cli.client()
    rollout = client.rollback_inference_job(app, deployed)
    if rollout.is_rollback:
        rollout = rollouts.wait_until_ready(client, rollout, _ROLLBACK_S, terminal.say)
    _finish(rollout, format, is_meant=True)


@app.command(epilog=examples("rafiki infer updates digits"))
def updates(cli: Application, app: AppArgument, format: FormatOption = Format.TABLE) -> None:
    """List the updates of an app, newest first, with how both versions did and why each ended."""
    rows = cli.client().get_rollouts(app)
    put_rows(rows, rollouts.COLUMNS, format, nothing="No updates. Begin one with `rafiki infer update APP`.")


def _share(option: str, text: str | None) -> float | None:
    from rafiki.utils.shares import parse_share

    try:
        return None if text is None else parse_share(text)
    except ValueError as e:
        raise terminal.UsageError(f"{option}: {e}") from e


def _finish(rollout: RolloutView, format: Format, *, is_meant: bool = False) -> None:
    """Show an update as it stands; one that was taken back although nobody meant it is an error."""
    from rafiki.constants import RolloutStatus

    if format is Format.TABLE:
        terminal.say(rollouts.sentence(rollout))
    else:
        put_record(rollout, [], format)
    failed = (RolloutStatus.ERRORED,) if is_meant else (RolloutStatus.ERRORED, RolloutStatus.ROLLED_BACK)
    if rollout.status in failed:
        terminal.finish(ExitCode.JOB_ERRORED)
