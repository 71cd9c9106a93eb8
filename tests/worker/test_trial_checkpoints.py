"""The checkpoints of a train worker: how often, how large, what is announced, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.cache.train import RedisTrainCache
from rafiki.entities import TrialCheckpoint
from rafiki.errors import StoreFullError
from rafiki.messages import CheckpointSaved, TrainOrder
from rafiki.model.logger import logger
from rafiki.param_store.base import new_params_id
from rafiki.param_store.folder import FolderParamStore
from rafiki.worker.checkpoints import MOST_SHARE, TrialCheckpoints

STATE = {"weights": [1.5, 2.5], "step": 3}


class SlowStore(FolderParamStore):
    """Takes its time, as the clock of the test tells it; may be full."""

    cost_s = 0.0
    is_full = False
    scene: Scene

    def put(self, params_id: str, pieces: Iterable[bytes]) -> None:
        self.scene.now_s += self.cost_s
        if self.is_full:
            raise StoreFullError("No space is left.")
        super().put(params_id, pieces)


class Scene:
    def __init__(self, server: OwnCache, folder: Path, **options: Any) -> None:
        address = server.new_job()
        self.now_s = 100.0
        self.cache = RedisTrainCache(address, "sub")
        self.cache.open_as_advisor()
        self.store = SlowStore(folder)
        self.store.scene = self
        self.logged: list[str] = []
        logger.set_sink(lambda entry: self.logged.append(str(entry["message"])))
        self.checkpoints = TrialCheckpoints(
            address=address, sub_train_job_id="sub", worker_id="w", params=self.store, clock=lambda: self.now_s,
            **{"every_s": 30.0, "max_bytes": 1 << 20, **options},
        )  # fmt: skip

    def begin(self, checkpoint: TrialCheckpoint | None = None, attempt: int = 1) -> None:
        self.checkpoints.begin(TrainOrder("t", 1, attempt, {}, checkpoint=checkpoint))

    def save(self, step: int) -> None:
        """Save, and wait until it is written."""
        assert self.checkpoints.save(STATE, step)
        n_lines = len(self.logged)
        eventually(lambda: len(self.logged) > n_lines or self.checkpoints._writer is None, "a written checkpoint")

    def announced(self) -> list[CheckpointSaved]:
        received = self.cache.take_events(0.001)
        self.cache.acknowledge(received, [])
        return [r.event for r in received if isinstance(r.event, CheckpointSaved)]


@pytest.fixture
def scene(cache: OwnCache, tmp_path: Path) -> Iterator[Scene]:
    yield Scene(cache, tmp_path)
    logger.set_sink(None)


def test_a_checkpoint_is_stored_then_announced_and_told(scene: Scene) -> None:
    scene.begin()
    scene.now_s += 30
    scene.save(4)
    (event,) = scene.announced()
    assert (event.worker_id, event.trial_id, event.attempt, event.step) == ("w", "t", 1, 4)
    assert scene.store.load(event.params_id) == STATE
    assert "Checkpoint at step 4" in eventually(lambda: scene.logged, "a line in the log")[0]
    scene.now_s += 10
    scene.checkpoints.end()
    assert "1 checkpoint took 0.00 of the 40.0 s" in scene.logged[-1]


def test_the_least_time_passes_between_two(scene: Scene) -> None:
    scene.begin()
    assert not scene.checkpoints.is_due()
    scene.now_s += 30
    assert scene.checkpoints.is_due()
    scene.save(1)
    scene.now_s += 29
    assert not scene.checkpoints.is_due()
    scene.now_s += 1
    assert scene.checkpoints.is_due()


def test_slow_checkpoints_take_no_more_than_their_share(scene: Scene) -> None:
    scene.store.cost_s = 12.0
    scene.begin()
    began_s = scene.now_s
    n_saved = 0
    for step in range(1, 200):
        scene.now_s += 10
        if scene.checkpoints.is_due():
            scene.save(step)
            n_saved += 1
    assert n_saved > 3
    assert 12.0 * n_saved <= MOST_SHARE * (scene.now_s - began_s) + 12.0


def test_zero_seconds_and_no_trial_mean_none(cache: OwnCache, tmp_path: Path) -> None:
    scene = Scene(cache, tmp_path, every_s=0.0)
    assert not scene.checkpoints.is_due()
    scene.begin()
    scene.now_s += 1000
    assert not scene.checkpoints.is_due()


def test_a_checkpoint_that_is_too_large_is_refused_once(cache: OwnCache, tmp_path: Path) -> None:
    scene = Scene(cache, tmp_path, max_bytes=10)
    scene.begin()
    scene.now_s += 30
    assert not scene.checkpoints.save(STATE, 1)
    scene.now_s += 300
    assert not scene.checkpoints.is_due()
    (line,) = scene.logged
    assert "train.checkpoint_max_mb" in line
    # The next trial may save smaller ones.
    scene.begin()
    scene.now_s += 30
    assert scene.checkpoints.is_due()


def test_a_state_that_cannot_be_stored_is_told_and_the_training_goes_on(scene: Scene) -> None:
    scene.begin()
    scene.now_s += 30
    assert not scene.checkpoints.save({"open": {1, 2}}, 1)
    assert "open" in scene.logged[0]
    assert scene.announced() == []


def test_a_full_store_costs_one_checkpoint(scene: Scene) -> None:
    scene.store.is_full = True
    scene.begin()
    scene.now_s += 30
    scene.save(1)
    assert "No space is left" in eventually(lambda: scene.logged, "a line in the log")[0]
    scene.store.is_full = False
    scene.now_s += 30
    scene.save(2)
    assert [event.step for event in scene.announced()] == [2]


def test_the_next_attempt_loads_what_was_saved(scene: Scene) -> None:
    params_id = scene.store.save(STATE)
    scene.begin(TrialCheckpoint(params_id=params_id, step=5, attempt=1), attempt=2)
    assert scene.checkpoints.load() == (STATE, 5)
    assert "attempt 1" in scene.logged[0]


def test_a_checkpoint_that_is_gone_or_damaged_means_anew(scene: Scene) -> None:
    scene.begin()
    assert scene.checkpoints.load() is None
    gone = new_params_id(b"gone")
    damaged = scene.store.save(STATE)
    next(scene.store.root.glob(f"{damaged}*")).write_bytes(b"other")
    for params_id in (gone, damaged):
        scene.begin(TrialCheckpoint(params_id=params_id, step=5, attempt=1), attempt=2)
        assert scene.checkpoints.load() is None
        assert "training starts anew" in scene.logged[-1]
