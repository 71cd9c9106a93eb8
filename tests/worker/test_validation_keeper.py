"""What a train worker keeps of its best trials' predictions, and what it never does to a trial."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rafiki.errors import ModelError
from rafiki.model.base import BaseModel
from rafiki.param_store.folder import FolderParamStore
from rafiki.utils.process import ServiceStopped
from rafiki.worker.validation import ValidationKeeper

Rule = Callable[[list[Any]], Any]
REGRESSION = "TABULAR_REGRESSION"


class Answering(BaseModel):
    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def predict(self, queries: list[Any]) -> list[Any]:
        found: list[Any] = self.rule(queries)
        return found


def twice(queries: list[Any]) -> list[Any]:
    return [2.0 * q["a"] for q in queries]


class Scene:
    """A keeper over 150 rows, and its store."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.csv = folder / "val.csv"
        self.csv.write_text("a,b\n" + "".join(f"{i},{2 * i}\n" for i in range(150)))
        self.store = FolderParamStore(folder / "params")
        given: dict[str, Any] = {
            "task": REGRESSION, "max_examples": 100, "train_path": str(self.csv), "val_path": str(self.csv),
            "train_args": {}, "params": self.store, "file_name": "m.py",
        }  # fmt: skip
        self.keeper = ValidationKeeper(**{**given, **settings})

    def run(self, score: float, rule: Rule = twice, attempt: int = 1) -> str:
        """A trial of that score; the id of its parameters."""
        params_id = self.store.save({"score": score})
        self.keeper.keep(Answering(rule), params_id, score, attempt)
        return params_id

    def keeps(self, *params_ids: str) -> list[bool]:
        return [self.store.has_validation(p) for p in params_ids]


def test_predictions_for_a_sample_are_kept_beside_the_parameters(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    batches: list[int] = []

    def rule(queries: list[Any]) -> Any:
        batches.append(len(queries))
        return np.array(twice(queries))

    first, second = scene.run(1.0, rule), scene.run(2.0)
    for params_id in (first, second):
        kept = scene.store.find_validation(params_id)
        assert kept is not None
        assert len(set(kept["labels"].tolist())) == 100
        assert kept["predictions"].tolist() == kept["labels"].tolist()
    assert sum(batches) == 100
    assert max(batches) <= 64
    labels = [scene.store.find_validation(p)["labels"].tolist() for p in (first, second)]  # type: ignore[index]
    assert labels[0] == labels[1]


def test_only_the_best_trials_so_far_keep_theirs(tmp_path: Path) -> None:
    scene = Scene(tmp_path, most_kept=2)
    ids = [scene.run(score) for score in (3.0, 1.0, 2.0, 0.5, 4.0)]
    assert scene.keeps(*ids) == [True, False, False, False, True]


@pytest.mark.parametrize(
    "settings", [{"max_examples": 0}, {"task": "SPEECH_RECOGNITION"}, {"task": "MY_TASK"}], ids=str
)
def test_nothing_is_asked_where_nothing_is_to_be_kept(tmp_path: Path, settings: dict[str, Any]) -> None:
    scene = Scene(tmp_path, **settings)
    asked: list[Any] = []
    assert scene.keeps(scene.run(1.0, lambda q: asked.append(q))) == [False]
    assert asked == []


def _exits(queries: list[Any]) -> Any:
    raise SystemExit(3)


BAD: list[Rule] = [
    lambda q: 1 / 0,  # type: ignore[list-item]
    _exits,
    lambda q: None,
    lambda q: [1.0],
    lambda q: ["x"] * len(q),
    lambda q: [float("nan")] * len(q),
]


@pytest.mark.parametrize("rule", BAD)
def test_a_model_that_cannot_predict_loses_its_predictions_alone(
    tmp_path: Path, rule: Rule, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rafiki")
    scene = Scene(tmp_path)
    assert scene.keeps(scene.run(1.0, rule), scene.run(0.5)) == [False, True]
    assert "no validation predictions of this trial were kept: " in caplog.text


def test_after_three_failures_in_a_row_no_model_is_asked_any_more(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for rule in (BAD[0], BAD[0], twice, BAD[0], BAD[0]):
        scene.run(1.0, rule)
    assert scene.keeps(scene.run(2.0)) == [True]
    for _ in range(3):
        scene.run(3.0, BAD[0])
    assert scene.keeps(scene.run(4.0)) == [False]


def test_after_a_worker_was_lost_in_a_trial_no_model_is_asked_any_more(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    ids = [scene.run(1.0), scene.run(2.0, attempt=2), scene.run(3.0)]
    assert scene.keeps(*ids) == [True, False, False]


def test_a_dataset_that_cannot_be_read_fails_no_trial(tmp_path: Path) -> None:
    scene = Scene(tmp_path, train_args={"target": "nobody"})
    assert scene.keeps(scene.run(1.0)) == [False]


def _stuck(queries: list[Any]) -> Any:
    try:
        threading.Event().wait(60)
    except Exception as e:
        raise ModelError("swallowed") from e


def test_a_model_that_takes_too_long_is_interrupted_and_not_asked_again(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    scene = Scene(tmp_path, most_s=0.2)
    assert scene.keeps(scene.run(1.0, _stuck), scene.run(2.0)) == [False, False]
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_worker_that_is_stopped_while_it_predicts_stops(tmp_path: Path) -> None:
    def stopped(queries: list[Any]) -> Any:
        raise ServiceStopped

    scene = Scene(tmp_path)
    with pytest.raises(ServiceStopped):
        scene.run(1.0, stopped)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_model_that_changes_its_queries_changes_none_of_the_next(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    def spoils(queries: list[Any]) -> Any:
        return [2.0 * q.pop("a") for q in queries]

    scene.run(1.0, spoils)
    kept = scene.store.find_validation(scene.run(2.0))
    assert kept is not None
    assert kept["predictions"].tolist() == kept["labels"].tolist()


def test_a_disk_that_is_full_fails_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path)
    params_id = scene.store.save({"x": 1})

    def fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    scene.keeper.keep(Answering(twice), params_id, 1.0)
    assert scene.keeps(params_id) == [False]
    assert len(list((tmp_path / "params").iterdir())) == 1
