"""One task of a running stack from datasets to predictions over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.stacks.running_stack import RunningStack, eventually

from rafiki.client.prediction import PredictorClient

TEMPLATES = Path(__file__).parents[3] / "templates" / "models"


def with_fixed_knobs(folder: Path, file: str, class_name: str, knobs: dict[str, Any]) -> tuple[Path, str]:
    """A torch template whose knobs were settled, as its next owner would do it; of one thread, because threads of
    several tests that wait for each other on few cores take ten times as long."""
    path = folder / Path(file).name
    path.write_text(f"""{(TEMPLATES / file).read_text(encoding="utf-8")}
torch.set_num_threads(1)


class Settled({class_name}):
    @staticmethod
    def get_knob_config():
        return {{name: FixedKnob(value) for name, value in {knobs!r}.items()}}
""")
    return path, "Settled"


class DeployedJob:
    """A train job of some models on a task's datasets, and what its best trials answer."""

    def __init__(self, stack: RunningStack, task: str, name: str = "") -> None:
        self._client = stack.client()
        self._task, self.app = task, f"acceptance-{task.lower()}{name and '-' + name}"
        self._stack = stack
        self.started = time.monotonic()

    def train(
        self, train: Path, val: Path, models: Sequence[tuple[str | Path, str]], n_trials: int, **args: Any
    ) -> None:
        datasets = [self._client.create_dataset(f"{self.app}-{p.name}", self._task, p)["id"] for p in (train, val)]
        made = [
            self._client.create_model(f"{self.app}-{name}", self._task, TEMPLATES / file, name) for file, name in models
        ]
        assert [m["load_error"] for m in made] == [None] * len(made)
        budget = {"MODEL_TRIAL_COUNT": n_trials, "TIME_HOURS": 0.2}
        self._client.create_train_job(self.app, self._task, *datasets, budget, [m["id"] for m in made], train_args=args)

        def ended() -> bool:
            return self._client.get_train_job(self.app)["status"] in ("STOPPED", "ERRORED")

        eventually(ended, f"the end of {self.app}", 180)
        trials = self._client.get_trials_of_train_job(self.app)
        assert [t["error"] for t in trials if t["status"] != "COMPLETED"] == [], self._stack.logs()
        assert len(trials) == n_trials * len(models)

    def predict(self, queries: Sequence[Any]) -> list[Any]:
        host = self._client.create_inference_job(self.app)["predictor_host"]
        try:
            with PredictorClient(host) as predictor:
                predictions = [p for part in _parts(queries, 32) for p in predictor.predict_many(part)]
                assert predictor.predict(queries[0]) == pytest.approx(predictions[0], abs=1e-4)
            return predictions
        finally:
            self._client.stop_inference_job(self.app)

    def report(self, what: str, score: float) -> None:
        best = [f"{t['model_name']} {t['score']:.4f}" for t in self._client.get_best_trials_of_train_job(self.app)]
        took_s = time.monotonic() - self.started
        print(
            f"{self._task}: {what} {score:.4f} held out; best trials on validation: {', '.join(best)}; {took_s:.1f} s"
        )


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
