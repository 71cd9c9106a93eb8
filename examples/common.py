"""What the examples share: logging in, waiting for a train job, serving it, asking it; and the options for all that."""

from __future__ import annotations

import argparse
import contextlib
import csv
import getpass
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from rafiki.client import Client, PredictorClient
from rafiki.config import SUPERADMIN_EMAIL
from rafiki.constants import BudgetOption, ExitCode, InferenceJobStatus, TrainJobStatus, TrialStatus
from rafiki.data.images import as_seen
from rafiki.errors import RafikiError
from rafiki.utils.clock import Deadline

EXAMPLES = Path(__file__).resolve().parent
TEMPLATES = EXAMPLES.parent / "templates" / "models"
PASSWORD_VARIABLE = "RAFIKI_PASSWORD"
POLL_S = 0.5
START_GRACE_S = 120.0
"""What starting, and ending the last trial, may take on top of a train job's budget of time."""
DEPLOY_TIMEOUT_S = 120.0
BATCH_SIZE = 32
"""Queries sent to a predictor at once."""

Json = dict[str, Any]


class ExampleError(RafikiError):
    """An example cannot go on."""


class Template(NamedTuple):
    """A model template: its file, the class in it, and the PyPI packages that it imports."""

    file: Path
    model_class: str
    dependencies: dict[str, str]


# ---- the program ----------------------------------------------------------------------------------------------------


def run(main: Callable[[], None]) -> None:
    """Run an example as a program: an error becomes one line on stderr and an exit code other than 0."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what happens is to be seen at once, in a file or a pipe too
    try:
        main()
    except RafikiError as e:
        _fail(e.message, e.exit_code)
    except OSError as e:
        _fail(str(e), ExitCode.FAILURE)
    except KeyboardInterrupt:
        _fail("interrupted", ExitCode.INTERRUPTED)


def _fail(message: str, code: ExitCode) -> None:
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


def one_line(message: str | None) -> str:
    return " ".join((message or "").split())


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options to log in; ``doc`` becomes its help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="localhost", help="where the admin runs (localhost)")
    parser.add_argument("--port", type=int, default=3000, help="the admin's port (3000)")
    parser.add_argument("--email", default=SUPERADMIN_EMAIL, help=f"who you are ({SUPERADMIN_EMAIL})")
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"a file that holds the password; else {PASSWORD_VARIABLE} is taken, else you are asked",
    )
    return parser


def add_budget(parser: argparse.ArgumentParser, app: str, trials: int = 5, hours: float = 0.2) -> None:
    """Add the options of a train job."""
    parser.add_argument("--app", default=app, help=f"the name of the train job's app ({app})")
    parser.add_argument("--trials", type=int, default=trials, metavar="N", help=f"trials of each model ({trials})")
    parser.add_argument("--hours", type=float, default=hours, help=f"the longest that training may take ({hours})")


def log_in(args: argparse.Namespace) -> Client:
    """A client of the admin that the options name, logged in."""
    client = Client(args.host, args.port)
    client.login(email=args.email, password=_password(args))
    print(f"logged in as {args.email} at {client.address}")
    return client


def _password(args: argparse.Namespace) -> str:
    if args.password_file is not None:
        return Path(args.password_file).read_text(encoding="utf-8").strip()
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if sys.stdin.isatty():
        return getpass.getpass(f"Password of {args.email}: ")
    raise ExampleError(
        f"There is no terminal to ask for the password. Set {PASSWORD_VARIABLE}, or use --password-file."
    )


# ---- datasets and models --------------------------------------------------------------------------------------------


def convert(loader: str, *arguments: object) -> list[Path]:
    """Run one of examples/datasets as its users do; returns the paths of the datasets that it wrote."""
    command = [sys.executable, str(EXAMPLES / "datasets" / loader), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ExampleError(f"{loader} failed: {last_line.removeprefix('error: ')}")
    return [Path(line) for line in done.stdout.splitlines()]


def upload_model(client: Client, task: str, template: Template) -> Json:
    """The template as a model of yours. It is uploaded once: its name ends in a checksum of its file."""
    file, model_class, dependencies = template
    name = f"{model_class}-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}"
    me = client.get_current_user()["id"]
    for model in client.get_available_models(task):
        if model["user_id"] == me and model["name"] == name:
            return model
    # What the template depends on is installed meanwhile, unless the stack has it: that may take minutes.
    print(f"uploading the model {name}")
    model = client.create_model(name, task, file, model_class, dependencies)
    if model["load_error"]:
        client.delete_model(model["id"])
        needs = ", ".join(package + version for package, version in dependencies.items()) or "Rafiki alone"
        raise ExampleError(
            f"The template {file.name} does not load at the stack: {model['load_error'].rstrip('.')}. It needs "
            f"{needs}, installed where the stack runs."
        )
    return model


def with_fixed_knobs(template: Template, knobs: Json, folder: Path) -> Template:
    """The template without a search: each knob has the value that ``knobs`` tells. Its file is put into ``folder``."""
    settled = f"Settled{template.model_class}"
    text = f"""{template.file.read_text(encoding="utf-8")}

class {settled}({template.model_class}):
    @staticmethod
    def get_knob_config():
        from rafiki.model import FixedKnob

        return {{name: FixedKnob(value) for name, value in {knobs!r}.items()}}
"""
    file = folder / template.file.name
    file.write_text(text, encoding="utf-8")
    return Template(file, settled, template.dependencies)


# ---- training and serving -------------------------------------------------------------------------------------------


def train(
    client: Client,
    args: argparse.Namespace,
    task: str,
    train_file: Path,
    val_file: Path,
    templates: Sequence[Template],
    **train_args: Any,
) -> Json:
    """Upload two datasets and some models, train within the budget that the options set, and wait for the end.

    Returns:
        The train job, with ``app`` and ``app_version``.
    """
    models = [upload_model(client, task, template) for template in templates]
    train_dataset, val_dataset = (client.create_dataset(file.stem, task, file) for file in (train_file, val_file))
    job = client.create_train_job(
        args.app,
        task,
        train_dataset["id"],
        val_dataset["id"],
        budget={BudgetOption.MODEL_TRIAL_COUNT: args.trials, BudgetOption.TIME_HOURS: args.hours},
        models=[model["id"] for model in models],
        train_args=train_args,
    )
    print(f"training {args.app}, version {job['app_version']}, with up to {args.trials} trials of each model:")
    wait_for_train_job(client, job, args.hours * 3600 + START_GRACE_S)
    return job


def wait_for_train_job(client: Client, job: Json, timeout_s: float) -> None:
    """Wait for the end of a train job, and print each trial that ends meanwhile.

    A job that is waited for no longer, because of an error or of Ctrl-C, is stopped.
    """
    app, version = job["app"], job["app_version"]
    deadline, pause = Deadline(timeout_s), threading.Event()
    shown: set[str] = set()
    is_over = False
    try:
        while not is_over:
            job = client.get_train_job(app, version)
            is_over = job["status"] in (TrainJobStatus.STOPPED, TrainJobStatus.ERRORED)
            # Asked for after the job, so that a job that is over comes with all its trials.
            for trial in client.get_trials_of_train_job(app, version):
                if trial["status"] in (TrialStatus.COMPLETED, TrialStatus.ERRORED) and trial["id"] not in shown:
                    shown.add(trial["id"])
                    print(f"  {_describe(trial)}")
            if not is_over:
                if deadline.is_over():
                    raise ExampleError(f"The train job of {app!r} did not end within {timeout_s:.0f} s.")
                # The admin tells nobody of changes; it is to be asked.
                pause.wait(min(POLL_S, deadline.left_s()))
    finally:
        if not is_over:
            with contextlib.suppress(RafikiError):
                client.stop_train_job(app, version)
    if job["status"] == TrainJobStatus.ERRORED:
        raise ExampleError(f"The train job of {app!r} failed: {job['error']}")
    if not client.get_best_trials_of_train_job(app, version, max_count=1):
        raise ExampleError(
            f"No trial of {app!r} was completed; give it more --hours, or see `rafiki train trials {app}`."
        )


def _describe(trial: Json) -> str:
    head = f"{trial['model_name']} #{trial['no']}"
    if trial["status"] == TrialStatus.ERRORED:
        return f"{head} failed: {one_line(trial['error'])}"
    knobs = (trial["proposal"].get("knobs") or {}).items()
    values = " ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in knobs)
    return f"{head} score {trial['score']:.4f}  {values}"


def wait_for_predictor(client: Client, app: str, version: int, timeout_s: float = DEPLOY_TIMEOUT_S) -> str:
    """Wait until an inference job runs; returns its ``predictor_host``."""
    deadline, pause = Deadline(timeout_s), threading.Event()
    while True:
        # The newest comes first.
        job = next(j for j in client.get_inference_jobs_of_app(app) if j["app_version"] == version)
        if job["status"] == InferenceJobStatus.RUNNING and job["predictor_host"]:
            return str(job["predictor_host"])
        if job["status"] in (InferenceJobStatus.STOPPED, InferenceJobStatus.ERRORED):
            raise ExampleError(f"The inference job of {app!r} is {job['status']}: {job['error'] or 'it was stopped'}")
        if deadline.is_over():
            raise ExampleError(f"The inference job of {app!r} did not run within {timeout_s:.0f} s.")
        pause.wait(min(POLL_S, deadline.left_s()))


@contextlib.contextmanager
def serve(client: Client, train_job: Json) -> Iterator[PredictorClient]:
    """Serve the best trial of each model of a train job, until the block ends."""
    app, version = train_job["app"], train_job["app_version"]
    client.create_inference_job(app, version)
    try:
        host = wait_for_predictor(client, app, version)
        print(f"serving at http://{host}/predict")
        with PredictorClient(host) as predictor:
            yield predictor
    finally:
        client.stop_inference_job(app, version)


def ask(predictor: PredictorClient, queries: Sequence[Any]) -> list[Any]:
    """The predictions for many queries, a batch at a time."""
    starts = range(0, len(queries), BATCH_SIZE)
    return [p for start in starts for p in predictor.predict_many(queries[start : start + BATCH_SIZE])]


# ---- reading held-out data ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rafiki-example-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def open_table(archive: zipfile.ZipFile, name: str) -> Iterator[TextIO]:
    """A csv or tsv file within the zip of a dataset."""
    with archive.open(name) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        yield text


def read_images(path: Path) -> tuple[list[Any], list[int]]:
    """The images of a dataset for IMAGE_CLASSIFICATION as queries (rows of pixels, RGB), and their classes."""
    import numpy as np
    from PIL import Image

    queries, classes = [], []
    with zipfile.ZipFile(path) as archive, open_table(archive, "images.csv") as table:
        for row in csv.DictReader(table):
            with archive.open(row["path"]) as file, Image.open(file) as image:
                queries.append(np.asarray(as_seen(image).convert("RGB")))
            classes.append(int(row["class"]))
    return queries, classes


MISSING = {"", "?", "na", "n/a", "#n/a", "nan", "null", "none"}
"""How tables write a value that is missing, in lower case."""


def read_rows(path: Path, target: str) -> tuple[list[Json], list[str]]:
    """The rows of a csv file as queries, without their target; and the targets."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    targets = [row.pop(target) for row in rows]
    return [{column: to_value(text) for column, text in row.items()} for row in rows], targets


def to_value(text: str) -> float | str | None:
    """A cell of a table: a number, a text, or None where it is missing."""
    if text.strip().lower() in MISSING:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def most_probable(probabilities: Sequence[float]) -> int:
    """The class with the highest probability."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)
