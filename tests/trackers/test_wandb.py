"""Runs of Weights & Biases, offline: what is in their files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

from support.results import tracked

from rafiki.constants import TrialStatus
from rafiki.trackers import TRACKERS

_HEADER_BYTES, _BLOCK_BYTES = 7, 32768
_FULL, _LAST = 1, 4


def records(folder: Path) -> list[Any]:
    """The records of a run's file, which is a log in the format of LevelDB: pieces with a header each, in blocks."""
    from wandb.proto import wandb_internal_pb2

    [file] = folder.glob("*.wandb")
    data, at, found, begun = file.read_bytes(), _HEADER_BYTES, [], b""
    while at + _HEADER_BYTES <= len(data):
        if _BLOCK_BYTES - at % _BLOCK_BYTES < _HEADER_BYTES:
            at += _BLOCK_BYTES - at % _BLOCK_BYTES
        _, size, kind = struct.unpack("<IHB", data[at : at + _HEADER_BYTES])
        begun += data[at + _HEADER_BYTES : at + _HEADER_BYTES + size]
        at += _HEADER_BYTES + size
        if kind in (_FULL, _LAST):
            found.append(wandb_internal_pb2.Record.FromString(begun))
            begun = b""
    return found


def test_trials_are_runs_of_a_group_and_telling_one_twice_leaves_one(wandb: ModuleType, tmp_path: Path) -> None:
    settings = tracked.settings("wandb", tmp_path, is_offline=True, experiment="team/{app}")
    kind = TRACKERS.get("wandb")
    assert kind.check(settings) is None
    tracker, job = kind.open(settings), tracked.job()
    done, failed = tracked.trial(job), tracked.trial(job, 2, status=TrialStatus.ERRORED, score=None, error="it broke")
    tracker.begin_job(job)
    for trial in (done, failed, done):
        tracker.log_trial(job, trial)
    tracker.end_job(tracked.ended(job, best_score=0.5))
    tracker.close()
    folders = {f.name.split("-", 3)[3]: f for f in (tmp_path / "wandb").glob("offline-run-*")}
    assert folders.keys() == {job.id, done.trial.id, failed.trial.id}
    found = records(folders[done.trial.id])
    [run] = [r.run for r in found if r.WhichOneof("record_type") == "run"][:1]
    assert (run.project, run.entity, run.run_group, run.display_name) == ("digits", "team", "digits v3", "tiny#1")
    assert {u.key: json.loads(u.value_json) for u in run.config.update}["x"] == 0.25
    rows = [{i.key or i.nested_key[0]: json.loads(i.value_json) for i in r.history.item} for r in found
            if r.WhichOneof("record_type") == "history"]  # fmt: skip
    assert [(row["step"], row["loss"]) for row in rows] == [(p.step, p.value) for p in done.points]
    assert [r.exit.exit_code for r in found if r.WhichOneof("record_type") == "exit"] == [0]
    assert [r.exit.exit_code for r in records(folders[failed.trial.id]) if r.WhichOneof("record_type") == "exit"] == [1]


def test_without_a_key_it_has_to_be_offline(wandb: ModuleType, tmp_path: Path) -> None:
    assert "tracking.token_file" in str(TRACKERS.get("wandb").check(tracked.settings("wandb", tmp_path)))
