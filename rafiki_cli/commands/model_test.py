"""``rafiki model test``."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import ExitCode
from rafiki.utils.values import JsonValue
from rafiki_cli import terminal
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Format, FormatOption, put_data

if TYPE_CHECKING:
    from rafiki.check_events import CheckEvent, CheckFailed, CheckRequest, StepDone, TrialEnded

app = new_app("Tests of models.")


@app.command(
    "test",
    epilog=examples(
        "rafiki model test models/my_model.py",
        "rafiki model test my_model.py --task T --train a.csv --val b.csv --trials 5",
        "rafiki model test models/my_model.py --knob max_depth=8 --arg epochs=2 --logs",
    ),
)
def run_test(
    file: Annotated[Path, typer.Argument(help="The Python file of the model template.")],
    model_class: Annotated[
        str | None, typer.Option("--class", help="Its model class; found by itself when there is just one.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The task that the model is for.", autocompletion=completers.tasks)
    ] = None,
    train: Annotated[Path | None, typer.Option(help="The dataset to train on.")] = None,
    val: Annotated[Path | None, typer.Option(help="The dataset to evaluate on.")] = None,
    query_file: Annotated[Path | None, typer.Option(help="One query to ask: a JSON file, or an image.")] = None,
    queries_file: Annotated[Path | None, typer.Option(help="A JSON file with a list of queries to ask.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many, each with knobs of its own.")] = 1,
    knob: Annotated[list[str] | None, typer.Option(help="NAME=VALUE: fix a knob; can be repeated.")] = None,
    arg: Annotated[list[str] | None, typer.Option(help="KEY=JSON: an argument of train(); can be repeated.")] = None,
    timeout: Annotated[str, typer.Option(help="When to give up: 45s, 10m, 1h.")] = "10m",
    logs: Annotated[bool, typer.Option("--logs", help="Show what the model logs and prints.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Test a model template here, without a stack: train, evaluate, store, load, predict. In a project, the nearest
    job.yaml that names the file gives the task, the datasets, the dependencies and the arguments of train(). Queries
    are made from the validation dataset when none are given. Exits with 1 when the model fails."""
    from rafiki_cli.render.durations import parse_duration

    timeout_s = parse_duration(timeout, "--timeout")
    request = _request(file, model_class, task, train, val, knob or [], arg or [])
    request.queries, request.trials = _queries(query_file, queries_file), trials
    terminal.finish(_run(request, timeout_s, logs, format))


def _request(
    file: Path,
    model_class: str | None,
    task: str | None,
    train: Path | None,
    val: Path | None,
    knobs: list[str],
    args: list[str],
) -> CheckRequest:
    from rafiki.check_events import CheckRequest
    from rafiki_cli.jobs.json_options import parse_arguments
    from rafiki_cli.model_check.job_defaults import JobDefaults, find_job_defaults
    from rafiki_cli.target import resolve

    terminal.check_file(file, folder_hint="a model template is one Python file")
    said = find_job_defaults(file) or JobDefaults(origin=file)
    task, train, val = task or said.task, train or said.train, val or said.val
    missing = [name for name, value in (("--task", task), ("--train", train), ("--val", val)) if value is None]
    if missing or task is None or train is None or val is None:
        raise terminal.UsageError(
            f"Missing: {', '.join(missing)}. Give {'it' if len(missing) == 1 else 'them'} as options, or name the file "
            "in the job.yaml of a project (`rafiki init` makes one)."
        )
    resolve.check_task(task)
    for dataset in (train, val):
        terminal.check_file(dataset)
    return CheckRequest(
        file=str(file), model_class=model_class or said.model_class or _find_class(file), task=task,
        train_path=str(train), val_path=str(val), knobs=_texts(knobs),
        train_args={**said.train_args, **parse_arguments(args)}, dependencies=said.dependencies,
    )  # fmt: skip


def _find_class(file: Path) -> str:
    from rafiki_cli.scaffold.find_class import find_model_class

    try:
        return find_model_class(file)
    except terminal.UsageError as e:
        # A file that is no Python is a model that fails: the check says where.
        if isinstance(e.__cause__, (SyntaxError, ValueError)):
            return ""
        raise


def _texts(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise terminal.UsageError(f"--knob {pair}: write NAME=VALUE, as in max_depth=8.")
        found[name] = text
    return found


def _queries(query_file: Path | None, queries_file: Path | None) -> list[JsonValue] | None:
    from rafiki_cli.commands.predict import read_query

    if query_file and queries_file:
        raise terminal.UsageError("Give one of --query-file and --queries-file.")
    if query_file:
        return [read_query(query_file)]
    if queries_file:
        many = read_query(queries_file)
        if not isinstance(many, list) or not many:
            raise terminal.UsageError(f"{queries_file}: this must hold a JSON list of queries.")
        return many
    return None


def _run(request: CheckRequest, timeout_s: float, is_output_shown: bool, format: Format) -> ExitCode:
    from rafiki.check_events import ModelLogged
    from rafiki_cli.model_check.runner import CheckProcess
    from rafiki_cli.render import model_check as view

    is_table = format is Format.TABLE
    put = terminal.put if is_table else terminal.say
    started = time.monotonic()
    what = f"{request.model_class} of {request.file}" if request.model_class else request.file
    put(f"Testing {what} for {request.task}")
    report = _Report(request)
    with CheckProcess(request, timeout_s, is_output_shown=is_output_shown) as process:
        is_live = is_table and terminal.is_interactive()
        told = process.events()
        followed = view.LiveCheck(request.trials, put).follow(told) if is_live else view.follow_lines(told, put)
        with contextlib.closing(followed) as events:
            for event in events:
                report.take(event)
                if is_output_shown and isinstance(event, ModelLogged):
                    terminal.say(f"  | {event.line}")
        printed = [] if is_output_shown or report.failure is None else process.output_tail()
    time_s = time.monotonic() - started
    if report.failure is None:
        put(view.passed_line(report.trials, len(report.warnings), time_s))
    else:
        for line in view.failure_lines(report.failure, Path(request.file).name):
            put(line)
        if printed:
            put("  The last that it printed:")
            for line in printed:
                put(f"    {line}")
    if not is_table:
        put_data(report.to_json(time_s), format)
    if report.failure is None:
        return ExitCode.OK
    return ExitCode.USAGE if report.failure.is_usage else ExitCode.FAILURE


class _Report:
    """What of the events programs get to see."""

    def __init__(self, request: CheckRequest) -> None:
        self._request = request
        self._steps: list[StepDone] = []
        self.trials: list[TrialEnded] = []
        self.warnings: list[str] = []
        self.failure: CheckFailed | None = None

    def take(self, event: CheckEvent) -> None:
        from rafiki.check_events import CheckFailed, CheckWarning, StepDone, TrialEnded

        match event:
            case StepDone():
                self._steps.append(event)
            case TrialEnded():
                self.trials.append(event)
            case CheckWarning():
                self.warnings.append(event.message)
            case CheckFailed():
                self.failure = event

    def to_json(self, time_s: float) -> dict[str, object]:
        from msgspec.structs import asdict

        failure = {} if self.failure is None else asdict(self.failure)
        failure.pop("is_usage", None)
        return {
            "file": self._request.file,
            "class": self._request.model_class,
            "task": self._request.task,
            "is_passed": self.failure is None,
            "time_s": time_s,
            "steps": [{"name": s.name, "time_s": s.time_s, "detail": s.detail} for s in self._steps],
            "trials": [asdict(t) for t in self.trials],
            "best_score": max((t.score for t in self.trials), default=None),
            "warnings": self.warnings,
            "failure": failure or None,
        }
