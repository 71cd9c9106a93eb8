"""``rafiki run``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import ExitCode
from rafiki.utils.urls import http_url
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import new_app
from rafiki_cli.render.output import Format, FormatOption, put_data

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.train_jobs import TrainJobEvent
    from rafiki.utils.clock import Deadline
    from rafiki_cli.jobs.apply import JobRunner
    from rafiki_cli.jobs.load import LoadedJob
    from rafiki_cli.jobs.plan import Plan

app = new_app("Jobs from YAML files.")
_EXAMPLES = """\
Examples:

  rafiki run job.yaml                          train, check the gates, deploy

  rafiki run job.yaml --dry-run                what would be done

  rafiki run job.yaml --set budget.trials=20 --set advisor=tpe

  rafiki run job.yaml --report junit.xml --summary summary.md --timeout 30m
"""


@app.command(epilog=_EXAMPLES)
def run(
    cli: Application,
    file: Annotated[Path, typer.Argument(help="A job file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")] = False,
    validate: Annotated[
        bool, typer.Option("--validate", help="Check the file and what it names on this machine; ask no server.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the file; can be repeated."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave once the train job is made.")] = False,
    no_deploy: Annotated[bool, typer.Option("--no-deploy", help="Train and check the gates; serve nothing.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train again though nothing has changed.")] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long to wait in all, as in 30m or 2h; the job goes on.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a JUnit XML report to this file.")] = None,
    summary: Annotated[Path | None, typer.Option(help="Write a summary in Markdown to this file.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make what a job file asks for: upload what changed, train, check the gates, deploy.

    Run it again, and it does only what has changed since. Exits with the code of the first job that did not end well.
    """
    from rafiki.config import environment
    from rafiki.utils.clock import Deadline
    from rafiki_cli.jobs.load import load_jobs
    from rafiki_cli.jobs.report import check_report
    from rafiki_cli.render.durations import parse_duration
    from rafiki_cli.watch.health import while_healthy

    jobs = load_jobs(file, environment(), set_ or [])
    deadline = Deadline(parse_duration(timeout, "--timeout")) if timeout is not None else None
    if validate:
        _show_valid(file, jobs, format)
        return
    _warn_of_tasks(jobs)
    for target in (report, summary):
        if target is not None:
            check_report(target)
    client = cli.client()
    commit = _commit()
    runners = [_runner(client, job, format, deadline, commit) for job in jobs]
    with _writing(runners, report, summary):
        options = {"may_deploy": not no_deploy, "must_retrain": retrain}
        if dry_run:
            _show_plans([runner.plan(**options) for runner in runners], format)
            return
        # All of them, before anything is changed: what is wrong with the last job is told at once.
        with while_healthy(client.address, client.trust):
            for runner in runners:
                runner.plan(**options)
        for i, runner in enumerate(runners):
            # What one job uploaded, the next one finds.
            _run_one(client, runner, {**options, "may_wait": not detach}, format, must_plan=i > 0)
            if runner.outcome.exit_code is ExitCode.UNHEALTHY:
                for other in runners[i + 1 :]:
                    other.outcome.exit_code, other.outcome.message = ExitCode.UNHEALTHY, runner.outcome.message
                break
    _put_outcomes(runners, format)
    code = next((r.outcome.exit_code for r in runners if not r.outcome.is_ok), ExitCode.OK)
    if code is not ExitCode.OK:
        terminal.finish(code)


def _show_valid(file: Path, jobs: Sequence[LoadedJob], format: Format) -> None:
    apps = [job.spec.app for job in jobs]
    if format is not Format.TABLE:
        put_data({"file": str(file), "apps": apps}, format)
    terminal.say(f"{file} is valid: {', '.join(apps)}.")


def _warn_of_tasks(jobs: Sequence[LoadedJob]) -> None:
    from rafiki_cli.target import resolve

    for task in dict.fromkeys(job.spec.task for job in jobs):
        resolve.check_task(task)


def _commit() -> str | None:
    """The commit that a CI run was started for."""
    from rafiki.config import environment

    environ = environment()
    return environ.get("GITHUB_SHA") or environ.get("CI_COMMIT_SHA") or None


def _runner(
    client: AdminClient, job: LoadedJob, format: Format, deadline: Deadline | None, commit: str | None
) -> JobRunner:
    from rafiki_cli.jobs.apply import JobRunner
    from rafiki_cli.watch import train_loop

    # Where data goes to stdout, the trials are told beside it.
    out = terminal.put if format is Format.TABLE else terminal.say
    on_event = _put_event if format is Format.JSONL else None

    def follow(app: str, version: int, timeout_s: float | None) -> tuple[ExitCode, str]:
        reasons: list[str] = []
        with train_loop.detaching(app, ExitCode.INTERRUPTED):
            code = train_loop.follow(
                client, app, version, out=out, timeout_s=timeout_s, on_event=on_event, report=reasons.append
            )
        return code, " ".join(reasons)

    return JobRunner(client, job, say=terminal.say, follow=follow, deadline=deadline, commit=commit)


def _put_event(event: TrainJobEvent) -> None:
    put_data(event, Format.JSONL)


def _run_one(
    client: AdminClient, runner: JobRunner, options: dict[str, bool], format: Format, *, must_plan: bool
) -> None:
    """Run one job; how it failed is told and kept, so that the next one has its turn."""
    from rafiki.errors import RafikiError
    from rafiki_cli.watch.health import while_healthy

    outcome = runner.outcome
    may_wait = options.pop("may_wait")
    try:
        with while_healthy(client.address, client.trust):
            plan = runner.plan(**options) if must_plan or outcome.plan is None else outcome.plan
            _show_plan(plan)
            runner.run(plan, may_wait=may_wait, **options)
    except RafikiError as e:
        outcome.exit_code, outcome.message = ExitCode(e.exit_code), e.message
        terminal.report(e.message if e.message.startswith(outcome.app) else f"{outcome.app}: {e.message}")
        return
    _show_success(runner, format)


def _show_success(runner: JobRunner, format: Format) -> None:
    from rafiki_cli.render.ensembles import ensemble_line

    outcome = runner.outcome
    what = f"{outcome.app} v{outcome.version}"
    ensemble = ensemble_line(outcome.ensemble, outcome.n_members) if outcome.ensemble else None
    if ensemble:
        terminal.say(ensemble)
    if outcome.predictor_host:
        nothing = " Nothing has changed." if outcome.plan and outcome.plan.is_nothing_to_do else ""
        terminal.say(f"{what} serves at {http_url(outcome.predictor_host)}/predict.{nothing}")
        if terminal.is_interactive() and format is Format.TABLE:
            terminal.say(f"Ask it: rafiki predict {outcome.app} --query ...")
    elif outcome.message == "nothing has changed":
        terminal.say(f"{what}: nothing has changed, nothing to do.")
    elif outcome.message == "trained":
        serves = "; ".join(s.text for s in outcome.serving)
        terminal.say(f"{what} is trained; nothing new was deployed{f', and {serves}' if serves else ''}.")
    else:
        terminal.say(f"{what} {outcome.message}. Watch it with `rafiki train watch {outcome.app}`.")


def _show_plan(plan: Plan) -> None:
    from rafiki_cli.render.job_plan import plan_lines

    for line in plan_lines(plan):
        terminal.say(line)


def _show_plans(plans: Sequence[Plan], format: Format) -> None:
    import msgspec

    from rafiki.errors import InvalidTrainJobError
    from rafiki_cli.render.job_plan import plan_lines

    if format is not Format.TABLE:
        put_data([msgspec.to_builtins(plan) for plan in plans], format)
    else:
        for plan in plans:
            for line in plan_lines(plan):
                terminal.put(line)
    if all(plan.is_nothing_to_do for plan in plans):
        terminal.say("Nothing to do.")
    for plan in plans:
        if plan.conflict:
            raise InvalidTrainJobError(plan.conflict)


def _put_outcomes(runners: Sequence[JobRunner], format: Format) -> None:
    if format is Format.JSONL:
        for runner in runners:
            put_data({"type": "result", **runner.outcome.to_json()}, format)
    elif format is not Format.TABLE:
        put_data([runner.outcome.to_json() for runner in runners], format)


@contextlib.contextmanager
def _writing(runners: Sequence[JobRunner], report: Path | None, summary: Path | None) -> Iterator[None]:
    """Writes the reports at the end, also of a run that was interrupted or refused."""
    from rafiki.errors import RafikiError
    from rafiki_cli.jobs.report import junit, markdown, write_report

    try:
        yield
    except RafikiError as e:
        for runner in runners:
            if runner.outcome.is_ok and runner.outcome.train_job is None:
                runner.outcome.exit_code, runner.outcome.message = ExitCode(e.exit_code), e.message
        raise
    except Exception as e:
        for runner in runners:
            if runner.outcome.is_ok and not runner.outcome.message and not isinstance(e, typer.Exit):
                runner.outcome.exit_code, runner.outcome.message = ExitCode.FAILURE, f"{type(e).__name__}: {e}"
            elif runner.outcome.is_ok and not runner.outcome.message:
                runner.outcome.exit_code, runner.outcome.message = ExitCode.INTERRUPTED, "interrupted"
        raise
    except KeyboardInterrupt:
        for runner in runners:
            if runner.outcome.is_ok and not runner.outcome.message:
                runner.outcome.exit_code, runner.outcome.message = ExitCode.INTERRUPTED, "interrupted"
        raise
    finally:
        outcomes = [runner.outcome for runner in runners]
        if report is not None:
            write_report(report, junit(outcomes))
        if summary is not None:
            write_report(summary, markdown(outcomes))
