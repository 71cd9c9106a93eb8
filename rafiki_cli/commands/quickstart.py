"""``rafiki quickstart``."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from rafiki.constants import ExitCode
from rafiki.utils.urls import http_url
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_data, put_rows
from rafiki_cli.target import contexts

app = new_app("Quickstart.")
LEAST_ACCURACY = 0.9
"""An ensemble below this on the digits means that something is broken."""


@dataclass(frozen=True)
class StepRow:
    """A step, and how long it took."""

    step: str
    seconds: float


class Steps:
    """Tells each step and keeps how long it took."""

    def __init__(self) -> None:
        self.rows: list[StepRow] = []

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        number = len(self.rows) + 1
        terminal.say(f"{terminal.style(f'[{number}/6]', bold=True)} {title}")
        start = time.monotonic()
        yield
        self.rows.append(StepRow(title, round(time.monotonic() - start, 2)))


class Result(TypedDict):
    """What it puts out."""

    app: str
    app_version: int
    accuracy: float
    right: int
    total: int
    predictor_host: str | None
    steps: list[StepRow]
    seconds: float


@app.command(epilog=examples("rafiki quickstart", "rafiki quickstart --trials 6 --down"))
def quickstart(
    cli: Application,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each of the two models.")] = 12,
    workers: Annotated[int, typer.Option(min=1, help="Train workers of each model.")] = 1,
    down: Annotated[bool, typer.Option("--down", help="Stop the stack at the end.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Train two models on handwritten digits, deploy the best of each as an ensemble, test it: less than a minute."""
    if cli.options.admin is not None or cli.options.context not in (None, contexts.LOCAL):
        raise terminal.UsageError("quickstart runs on a stack of this machine: leave out --admin and --context.")
    # Whatever context or RAFIKI_HOST is in force: it starts a stack here, and that is the one that it means.
    cli.options.context = contexts.LOCAL
    steps = Steps()
    try:
        result = _run(cli, steps, trials, workers, format)
    except KeyboardInterrupt:
        terminal.say("\nInterrupted. Run it again to go on; `rafiki down` stops what it started.")
        raise
    finally:
        if down:
            from rafiki_cli.target import stack_process

            stack_process.stop(cli.stack_folder())
    _report(result, steps, is_up=not down, format=format)
    if result["accuracy"] < LEAST_ACCURACY:
        terminal.abort(
            f"The accuracy on the test images lies below {LEAST_ACCURACY:g}, so something is wrong. "
            "Look at the trials with `rafiki train trials digits`."
        )


def _run(cli: Application, steps: Steps, trials: int, workers: int, format: Format) -> Result:
    from rafiki.client import PredictorClient
    from rafiki_cli.quickstart import digits
    from rafiki_cli.quickstart import steps as admin
    from rafiki_cli.scaffold import assets
    from rafiki_cli.target import stack_process
    from rafiki_cli.watch import train_loop
    from rafiki_cli.watch.health import while_healthy

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with steps.step("Start the stack"):
            started = stack_process.start(cli.loaded_config())
            client = stack.enter_context(cli.client())
            stack.enter_context(while_healthy(client.address, client.trust))
            terminal.say(f"      {started.url}{'' if started.is_new else ' (it ran already)'}")
        with steps.step("Upload the digits: 1,078 images to train on, 359 to validate"):
            train_zip, val_zip, test_zip = assets.write_digits(folder)
            train, val = admin.upload_dataset(client, train_zip), admin.upload_dataset(client, val_zip)
        with steps.step("Upload two model templates: a decision tree and a support vector machine"):
            model_ids = [admin.upload_model(client, name) for name in admin.MODELS]
        with steps.step(f"Train: {trials} trials of each model"):
            app, version = admin.start_training(client, train, val, model_ids, trials, workers, terminal.say)
            is_live = terminal.is_interactive() and format is Format.TABLE
            out = terminal.put if is_live else terminal.say
            code = train_loop.follow(client, app, version, out=out)
            if code is not ExitCode.OK:
                terminal.finish(code)
        with steps.step("Deploy the best trial of each model as an ensemble"):
            served = admin.deploy(client, version)
            terminal.say(f"      {http_url(served.predictor_host or '')}/predict")
        with steps.step("Predict the test images over HTTP"):
            images, classes = digits.read_images(test_zip)
            with PredictorClient(served.predictor_host or "", trust=cli.target().trust) as predictor:
                accuracy = digits.measure(predictor, images, classes)
        result: Result = {
            "app": app,
            "app_version": version,
            "accuracy": accuracy.share,
            "right": accuracy.right,
            "total": accuracy.total,
            "predictor_host": served.predictor_host,
            "steps": steps.rows,
            "seconds": round(sum(row.seconds for row in steps.rows), 2),
        }
    return result


def _report(result: Result, steps: Steps, *, is_up: bool, format: Format) -> None:
    if format is not Format.TABLE:
        put_data(result, format)
        return
    terminal.put("")
    columns: list[Column[StepRow]] = [
        Column("STEP", lambda r: r.step),
        Column("TIME", lambda r: values.duration(r.seconds), is_right=True),
    ]
    put_rows([*steps.rows, StepRow("Total", result["seconds"])], columns, format)
    terminal.put("")
    terminal.put(f"test accuracy: {result['accuracy']:.4f} ({result['right']} of {result['total']} images)")
    if not is_up:
        terminal.say("The stack is stopped. `rafiki up` starts it again with all that it holds.")
        return
    terminal.say(
        "\nThe stack stays up, and the ensemble goes on serving. What to try next:\n"
        "  rafiki train best digits                  the best trials and their knobs\n"
        "  rafiki predict digits --query-file X.png  a prediction for an image of yours\n"
        "  rafiki model upload my_model.py --task IMAGE_CLASSIFICATION\n"
        "  rafiki status                             what runs\n"
        "  rafiki down                               stop everything"
    )
