"""One run of the benchmarks: how thorough it is, and the stack that its groups of figures share."""

from __future__ import annotations

import statistics
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from benchmarks.bench_stack import MODELS, REPO, BenchError, BenchStack, wait_for
from benchmarks.datasets import write_images, write_numbers
from benchmarks.figures import Result
from benchmarks.machine import busy_percent
from rafiki.utils.clock import utc_now

NUMBERS_TASK = "NUMBERS_64"
_TEMPLATES = REPO / "templates" / "models"


class Sizes(NamedTuple):
    """How often, and how long, things are measured."""

    n_help: int
    n_up: int
    n_starts: int
    n_searches: int
    n_loads: int
    warm_up_s: float
    load_s: float


FULL = Sizes(n_help=15, n_up=5, n_starts=5, n_searches=3, n_loads=3, warm_up_s=1.0, load_s=5.0)
QUICK = Sizes(n_help=5, n_up=2, n_starts=2, n_searches=1, n_loads=1, warm_up_s=0.5, load_s=2.0)


class _Template(NamedTuple):
    file: Path
    model_class: str
    task: str


_MODELS = {
    "noop_random": _Template(MODELS / "noop_random.py", "NoopRandom", NUMBERS_TASK),
    "noop_bayes": _Template(MODELS / "noop_bayes.py", "NoopBayes", NUMBERS_TASK),
    "tree64": _Template(MODELS / "tree64.py", "Tree64", NUMBERS_TASK),
    "FirstPixel": _Template(MODELS / "first_pixel.py", "FirstPixel", "IMAGE_CLASSIFICATION"),
    "forest64": _Template(MODELS / "forest64.py", "Forest64", NUMBERS_TASK),
    "tree_images": _Template(MODELS / "tree_images.py", "TreeImages", "IMAGE_CLASSIFICATION"),
    "SkDt": _Template(_TEMPLATES / "image_classification" / "decision_tree.py", "SkDt", "IMAGE_CLASSIFICATION"),
}


class Session:
    """Use as a context. The stack is started when a group of figures first asks for it."""

    def __init__(self, sizes: Sizes, container: dict[str, str] | None = None) -> None:
        """
        Args:
            container: settings of the section ``container`` of its stack.
        """
        self.sizes = sizes
        self._container = container or {}
        self._stack: BenchStack | None = None
        self._models: dict[str, str] = {}
        self._datasets: dict[str, tuple[str, str]] = {}
        self._n_apps = 0
        self._trained: dict[str, str] = {}
        self._busy_percent = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stack is not None:
            self._stack.__exit__(kind, error, trace)

    def begin_group(self) -> None:
        """Note how busy the machine is before anything is measured."""
        self._busy_percent = busy_percent()

    def result(self, name: str, runs: list[float], digits: int = 1, **details: Any) -> Result:
        return Result(
            name=name, value=round(statistics.median(runs), digits), runs=[round(r, digits) for r in runs],
            measured_at=utc_now(), busy_percent=self._busy_percent, details=details,
        )  # fmt: skip

    @property
    def stack(self) -> BenchStack:
        """The shared stack, running, with everything uploaded."""
        if self._stack is None:
            self._stack = stack = BenchStack(self._container)
            stack.up()
            self._upload(stack)
        return self._stack

    def _upload(self, stack: BenchStack) -> None:
        client = stack.client
        for task, files in (
            (NUMBERS_TASK, write_numbers(stack.folder)),
            ("IMAGE_CLASSIFICATION", write_images(stack.folder)),
        ):
            train, val = (client.create_dataset(file.stem, task, str(file))["id"] for file in files)
            self._datasets[task] = (train, val)
        for name, template in _MODELS.items():
            made = client.create_model(name, template.task, str(template.file), template.model_class)
            if made.get("load_error"):
                raise BenchError(f"the model {name} does not load: {made['load_error']}")
            self._models[name] = made["id"]

    def start_training(self, model: str, n_trials: int, **train_args: Any) -> str:
        """Create a train job of one model with one worker; returns its app."""
        client = self.stack.client
        self._n_apps += 1
        app, task = f"bench{self._n_apps}", _MODELS[model].task
        budget = {"MODEL_TRIAL_COUNT": n_trials, "TIME_HOURS": 1.0, "CPU_WORKER_COUNT": 1}
        client.create_train_job(app, task, *self._datasets[task], budget, [self._models[model]], train_args)
        return app

    def wait_for_end(self, app: str) -> None:
        """Wait until the job is over.

        Raises:
            BenchError: when it ended in an error.
        """

        def ended() -> dict[str, Any] | None:
            job = self.stack.client.get_train_job(app)
            return job if job["status"] in ("STOPPED", "ERRORED") else None

        job = wait_for(ended, f"the end of {app}")
        if job["status"] != "STOPPED":
            raise BenchError(f"{app} ended {job['status']}: {job['error']}")

    def trained(self, model: str) -> str:
        """An app with a finished train job of that model."""
        if model not in self._trained:
            app = self.start_training(model, 2)
            self.wait_for_end(app)
            self._trained[model] = app
        return self._trained[model]
