"""``rafiki model test``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rafiki.constants import ExitCode
from rafiki_cli import terminal
from rafiki_cli.completion import completers
from rafiki_cli.render.output import Format, FormatOption, put_data

Event = Mapping[str, Any]
EXAMPLES = """\
Examples:

  rafiki model test models/my_model.py

  rafiki model test my_model.py --task T --train a.csv --val b.csv --trials 5

  rafiki model test models/my_model.py --knob max_depth=8 --arg epochs=2 --logs"""


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
    request["queries"], request["trials"] = _queries(query_file, queries_file), trials
    terminal.finish(_run(request, timeout_s, logs, format))


def _request(
    file: Path,
    model_class: str | None,
    task: str | None,
    train: Path | None,
    val: Path | None,
    knobs: list[str],
    args: list[str],
) -> dict[str, Any]:
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
    return {
        "file": str(file),
        "model_class": model_class or said.model_class or _find_class(file),
        "task": task,
        "train_path": str(train),
        "val_path": str(val),
        "knobs": _texts(knobs),
        "train_args": {**said.train_args, **parse_arguments(args)},
        "dependencies": said.dependencies,
    }


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


def _queries(query_file: Path | None, queries_file: Path | None) -> list[Any] | None:
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


def _run(request: dict[str, Any], timeout_s: float, is_output_shown: bool, format: Format) -> ExitCode:
    from rafiki_cli.model_check.runner import CheckProcess
    from rafiki_cli.render import model_check as view

    is_table = format is Format.TABLE
    put = terminal.put if is_table else terminal.say
    started = time.monotonic()
    what = f"{request['model_class']} of {request['file']}" if request["model_class"] else request["file"]
    put(f"Testing {what} for {request['task']}")
    report = _Report(request)
    with CheckProcess(request, timeout_s, is_output_shown=is_output_shown) as process:
        is_live = is_table and terminal.is_interactive()
        follow = view.LiveCheck(request["trials"], put).follow if is_live else _follow_lines(put)
        with contextlib.closing(follow(process.events())) as events:
            for event in events:
                report.take(event)
                if is_output_shown and event["event"] == "log":
                    terminal.say(f"  | {event['line']}")
        printed = [] if is_output_shown or report.failure is None else process.output_tail()
    time_s = time.monotonic() - started
    if report.failure is None:
        put(view.passed_line(report.trials, len(report.warnings), time_s))
    else:
        for line in view.failure_lines(report.failure, Path(request["file"]).name):
            put(line)
        if printed:
            put("  The last that it printed:")
            for line in printed:
                put(f"    {line}")
    if not is_table:
        put_data(report.to_json(time_s), format)
    if report.failure is None:
        return ExitCode.OK
    return ExitCode.USAGE if report.failure["is_usage"] else ExitCode.FAILURE


def _follow_lines(put: Callable[[str], None]) -> Callable[[Iterator[Event | None]], Generator[Event, None, None]]:
    """Follows a check where no terminal is: a line for each step and each trial."""
    from rafiki_cli.render import model_check as view

    lines = {"done": view.step_line, "warning": view.warning_line, "trial": view.trial_line}

    def follow(events: Iterator[Event | None]) -> Generator[Event, None, None]:
        for event in events:
            if event is not None:
                if event["event"] in lines:
                    put(lines[event["event"]](event))
                yield event

    return follow


class _Report:
    """What of the events programs get to see."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._steps: list[dict[str, Any]] = []
        self.trials: list[Event] = []
        self.warnings: list[str] = []
        self.failure: Event | None = None

    def take(self, event: Event) -> None:
        match event["event"]:
            case "done":
                self._steps.append({"name": event["name"], "time_s": event["time_s"], "detail": event["detail"]})
            case "trial":
                self.trials.append(event)
            case "warning":
                self.warnings.append(event["message"])
            case "failed":
                self.failure = event

    def to_json(self, time_s: float) -> dict[str, Any]:
        def without_kind(event: Event, *more: str) -> dict[str, Any]:
            return {k: v for k, v in event.items() if k not in ("event", *more)}

        return {
            "file": self._request["file"],
            "class": self._request["model_class"],
            "task": self._request["task"],
            "is_passed": self.failure is None,
            "time_s": time_s,
            "steps": self._steps,
            "trials": [without_kind(t) for t in self.trials],
            "best_score": max((t["score"] for t in self.trials), default=None),
            "warnings": self.warnings,
            "failure": None if self.failure is None else without_kind(self.failure, "is_usage"),
        }
