"""Event files as TensorBoard itself reads them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.results import tracked

from rafiki.constants import TrialStatus
from rafiki.trackers import TRACKERS, Tracker


def open_tracker(folder: Path) -> Tracker:
    settings = tracked.settings("tensorboard", folder)
    kind = TRACKERS.get("tensorboard")
    assert kind.check(settings) is None
    return kind.open(settings)


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_a_trial_is_a_folder_with_its_scalars_and_its_knobs(tensorboard: ModuleType, tmp_path: Path) -> None:
    tracker = open_tracker(tmp_path)
    job = tracked.job("digits/../x")
    done, failed = tracked.trial(job), tracked.trial(job, 2, status=TrialStatus.ERRORED, score=None, error="it broke")
    tracker.begin_job(job)
    for trial in (done, failed, done):
        tracker.log_trial(job, trial)
    tracker.end_job(tracked.ended(job))
    [runs] = {file.parent.parent for file in tmp_path.rglob("events.out.tfevents.*")}
    assert runs.is_relative_to(tmp_path)
    assert sorted(f.name for f in runs.iterdir()) == ["tiny#1", "tiny#2"]
    events = read(runs / "tiny#1")
    assert [(e.step, e.value, e.wall_time) for e in events.Scalars("loss")] == [
        (p.step, pytest.approx(p.value), p.time.timestamp()) for p in done.points
    ]
    assert [e.value for e in events.Scalars("score")] == [0.5]
    assert "score" not in read(runs / "tiny#2").Tags()["scalars"]

    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    def hparams(folder: Path) -> tuple[Any, Any]:
        content = read(folder).summary_metadata
        start, end = (
            plugin_data_pb2.HParamsPluginData.FromString(content[tag].plugin_data.content)
            for tag in (metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)
        )
        return start.session_start_info, end.session_end_info

    start, end = hparams(runs / "tiny#1")
    assert (start.hparams["x"].number_value, start.hparams["kind"].string_value) == (0.25, "a b")
    assert start.hparams["flag"].bool_value is True
    assert (end.status, hparams(runs / "tiny#2")[1].status) == (1, 2), "success and failure"


def test_a_trial_that_was_half_written_is_written_whole(tensorboard: ModuleType, tmp_path: Path) -> None:
    tracker, job = open_tracker(tmp_path), tracked.job()

    class Killed(BaseException):
        pass

    class Points(list[Any]):
        def __iter__(self) -> Any:
            raise Killed

    half = tracked.trial(job)
    half.points.extend([])
    with pytest.raises(Killed):
        tracker.log_trial(job, type(half)(trial=half.trial, points=Points()))
    tracker.log_trial(job, half)
    [folder] = {file.parent for file in tmp_path.rglob("events.out.tfevents.*")}
    assert len(read(folder).Scalars("loss")) == 3


def test_an_address_is_refused(tensorboard: ModuleType, tmp_path: Path) -> None:
    settings = tracked.settings("tensorboard", tmp_path, url="http://x")
    assert "asks no server" in str(TRACKERS.get("tensorboard").check(settings))
