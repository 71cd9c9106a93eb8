"""Who watches a train job is told when the parameters of an old trial are freed."""

from __future__ import annotations

import asyncio
from unittest.mock import MagicMock

import msgspec
import pytest
from support.stores.meta_store_records import Given
from support.stores.store_and_cache import given, migrated_file, store, store_url

from rafiki.admin.ops import train_job_events
from rafiki.admin.ops.train_job_events import TrainJobFeed
from rafiki.cache.changes import Change
from rafiki.constants import TrainJobStatus
from rafiki.meta_store import MetaStore

__all__ = ["given", "migrated_file", "store", "store_url"]


class _Model(msgspec.Struct):
    id: str


class _View(msgspec.Struct):
    status: TrainJobStatus
    models: list[_Model]


class _Hub:
    """A hub in which everything is always new."""

    def __init__(self) -> None:
        self.changes = {Change.TRIALS}

    def noted_at(self, topic: str, change: Change) -> float:
        return float("inf") if change in self.changes else -float("inf")

    async def in_thread(self, f, *arguments):  # type: ignore[no-untyped-def]
        return f(*arguments)


@pytest.mark.parametrize("few", [200, 0], ids=["few have parameters", "many have parameters"])
def test_watchers_are_told_of_a_trial_whose_parameters_are_freed(
    store: MetaStore, given: Given, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(train_job_events, "_FEW_SAVED", few)
    sub = given.sub_train_job("adv")
    trial = given.completed_trial(sub, 1, 0.5, "p1")
    context = MagicMock()
    context.store = store
    feed, hub = TrainJobFeed(context, trial.train_job_id), _Hub()
    monkeypatch.setattr(train_job_events, "train_job_view", lambda _, job: _View(job.status, [_Model(sub.id)]))

    def told() -> list[bool]:
        before = feed.last_change
        asyncio.run(feed.refresh(hub))  # type: ignore[arg-type]
        events = [msgspec.json.decode(e.split(b"data: ")[1]) for e in feed.since(before)]
        return [e["trial"]["is_params_saved"] for e in events if "trial" in e]

    assert told() == [True]
    assert told() == []
    assert store.trials.free_params(trial.id, "p1", owner_id="adv")
    hub.changes.add(Change.JOB)
    assert told() == [False]
    assert told() == []
