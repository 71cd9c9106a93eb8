"""The loop of a train worker, with the test in the part of its advisor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.cache.train import RedisTrainCache
from rafiki.data_store.folder import FolderDataStore
from rafiki.errors import ModelError, StoreFullError
from rafiki.messages import (
    CacheAddress,
    EndOrder,
    Hello,
    ModelSource,
    Order,
    TrainEvent,
    TrainOrder,
    TrainWorkerSpec,
    TrialDone,
    TrialFailed,
    TrialProgress,
)
from rafiki.model.base import Params
from rafiki.model.knobs import FloatKnob, to_knob_specs
from rafiki.model.logger import logger
from rafiki.param_store.folder import FolderParamStore
from rafiki.store_location import folder_location
from rafiki.utils.process import StopSignal
from rafiki.worker import train
from rafiki.worker.train import TrainWorker

MODEL = b"""
from rafiki.model import BaseModel, FloatKnob, utils

class M(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 100.0)}

    def __init__(self, **knobs):
        self.x = knobs["x"]

    def train(self, dataset_path, shared_params=None, **train_args):
        utils.logger.log(f"training on {dataset_path}", x=self.x)
        if self.x == 13.0:
            raise ValueError("unlucky \\udc80")
        if self.x == 14.0:
            raise SystemExit(3)

    def evaluate(self, dataset_path):
        return float("nan") if self.x == 15.0 else self.x

    def predict(self, queries):
        return queries

    def dump_parameters(self):
        return [1] if self.x == 16.0 else {"x": self.x}

    def load_parameters(self, params):
        pass
"""


class Scene:
    """One worker in a thread; what it says, and what it is told."""

    def __init__(self, server: OwnCache, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.job: CacheAddress = server.new_job()
        self.cache = RedisTrainCache(self.job, "sub")
        datasets = FolderDataStore(folder / "datasets")
        store_id = datasets.save([b"examples"]).store_id
        spec = TrainWorkerSpec(
            service_id="w", job_id="job", sub_train_job_id="sub", cache=self.job, heartbeat_s=1.0,
            datasets=datasets.location, train_store_id=store_id, val_store_id=store_id, train_args={},
            params=folder_location(folder), model=ModelSource(file=MODEL, model_class="M", name="m.py"),
            knob_config=to_knob_specs({"x": FloatKnob(0.0, 100.0)}),
        )  # fmt: skip
        self.worker = TrainWorker(spec, StopSignal())
        self.thread = threading.Thread(target=self.worker.run, daemon=True)
        self.thread.start()

    def tell(self, *orders: Order) -> None:
        self.cache.acknowledge([], [("w", o) for o in orders])

    def hears(self) -> TrainEvent:
        """What the worker says next; log lines that travel ahead are passed over."""

        def look() -> TrainEvent | None:
            received = self.cache.take_events(1.0, most=1)
            self.cache.acknowledge(received, [])
            return next((r.event for r in received if not isinstance(r.event, TrialProgress)), None)

        found: TrainEvent = eventually(look, "a word of the worker")
        return found

    def end(self) -> None:
        self.tell(EndOrder())
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def scene(cache: OwnCache, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(cache, tmp_path)
    assert made.hears() == Hello("w")
    yield made
    made.end()
    logger.set_sink(None)


def order(no: int, x: float, attempt: int = 1) -> TrainOrder:
    return TrainOrder(f"t{no}", no, attempt, {"x": x})


def test_a_trial_is_run_and_its_parameters_are_saved(scene: Scene) -> None:
    scene.tell(order(1, 0.5))
    result = scene.hears()
    assert isinstance(result, TrialDone)
    assert (result.worker_id, result.trial_id, result.attempt, result.score) == ("w", "t1", 1, 0.5)
    assert FolderParamStore(scene.folder).load(result.params_id) == {"x": 0.5}


def test_what_was_trained_waits_for_space_to_be_saved(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = ["No space is left.", "No space is left."]
    save = FolderParamStore.save

    def save_when_there_is_space(store: FolderParamStore, params: Params) -> str:
        if refusals:
            raise StoreFullError(refusals.pop())
        return save(store, params)

    monkeypatch.setattr(FolderParamStore, "save", save_when_there_is_space)
    scene.tell(order(1, 0.5))
    result = scene.hears()
    assert isinstance(result, TrialDone)
    assert refusals == []
    assert FolderParamStore(scene.folder).load(str(result.params_id)) == {"x": 0.5}
    assert caplog.text.count("wait for it") == 1


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (13.0, "ValueError: unlucky ?"),
        (14.0, "sys.exit(3)"),
        (15.0, "evaluate() must return a finite number"),
        (16.0, "dump_parameters() must return a dict, not a list"),
        (101.0, "x"),
    ],
)
def test_a_model_that_fails_costs_its_trial_alone_and_the_worker_goes_on(scene: Scene, x: float, reason: str) -> None:
    scene.tell(order(1, x), order(2, 1.0))
    result = scene.hears()
    assert isinstance(result, TrialFailed)
    assert (result.trial_id, result.attempt) == ("t1", 1)
    assert reason in result.reason
    assert isinstance(scene.hears(), TrialDone)


def test_an_order_that_was_sent_twice_is_run_once_and_another_attempt_is_run(scene: Scene) -> None:
    scene.tell(order(1, 0.5), order(1, 0.5), order(2, 0.25), order(2, 0.25), order(2, 0.25, attempt=2))
    done: list[Any] = [scene.hears() for _ in range(3)]
    assert [(e.trial_id, e.attempt) for e in done] == [("t1", 1), ("t2", 1), ("t2", 2)]
    scene.end()
    assert scene.cache.take_events(0.05) == []


def test_a_result_is_said_again_until_an_order_comes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "_RESEND_AFTER_S", 0.05)
    scene.tell(order(1, 0.5))
    first = scene.hears()
    while isinstance(first, Hello):
        first = scene.hears()
    assert isinstance(first, TrialDone)
    again = [scene.hears() for _ in range(2)]
    assert again == [first, first]


def test_a_result_survives_the_cache(own_cache: OwnCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(own_cache, tmp_path / "params")
    scene.folder.mkdir(exist_ok=True)
    assert scene.hears() == Hello("w")
    scene.tell(order(1, 0.5))
    first = scene.hears()
    assert isinstance(first, TrialDone)
    own_cache.restart(scene.job)
    # The worker, which waits for an order, notices, and says where it stands.
    scene.cache = RedisTrainCache(scene.job, "sub")
    assert scene.hears() == first
    scene.end()
    logger.set_sink(None)


def test_a_model_file_that_does_not_load_is_a_clear_error(cache: OwnCache, tmp_path: Path) -> None:
    datasets = FolderDataStore(tmp_path / "datasets")
    store_id = datasets.save([b"examples"]).store_id
    with pytest.raises(ModelError, match="M"):
        spec = TrainWorkerSpec(
            service_id="w", job_id="job", sub_train_job_id="sub", cache=cache.new_job(), heartbeat_s=1.0,
            datasets=datasets.location, train_store_id=store_id, val_store_id=store_id,
            model=ModelSource(file=b"class Other: ...", model_class="M", name="m.py"), train_args={}, knob_config={},
            params=folder_location(tmp_path),
        )  # fmt: skip
        TrainWorker(spec, StopSignal())
