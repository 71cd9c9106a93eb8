"""Event files for TensorBoard: one folder a trial, with its scalars and its entry of the tab HPARAMS.

They are written by TensorBoard's own package (the extra ``tensorboard``), which needs no TensorFlow for it. A trial's
file is written beside its folder and put there when it is whole, so that writing it again changes nothing.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import uuid
from datetime import datetime
from pathlib import Path

from rafiki import distribution
from rafiki.trackers.base import (
    TrackedJob,
    TrackedTrial,
    Tracker,
    TrackerAwayError,
    TrackerKind,
    TrackerRefusalError,
    TrackerSettings,
    experiment_of,
)
from rafiki.utils.paths import why

_NO_NAME = re.compile(r"[^\w\-.@#]")
_SCORE = "score"


class TensorboardTracker(Tracker):
    """See the module."""

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings

    def begin_job(self, job: TrackedJob) -> None:
        self._folder(job)

    def log_trial(self, job: TrackedJob, trial: TrackedTrial) -> None:
        folder = self._folder(job)
        target = folder / _name(trial.trial.label)
        if target.exists():
            return
        begun = folder / f".writing-{uuid.uuid4().hex}"
        try:
            try:
                _write(begun, trial)
                begun.rename(target)
            finally:
                shutil.rmtree(begun, ignore_errors=True)
        except OSError as e:
            raise TrackerAwayError(f"{target} cannot be written: {why(e)}.") from e

    def end_job(self, job: TrackedJob) -> None:
        self._folder(job)

    def _folder(self, job: TrackedJob) -> Path:
        # The beginning of the id: another user may have an app of that name.
        place = f"{_name(job.app)}-v{job.app_version}-{job.id[:8]}"
        folder = self._settings.folder / _name(experiment_of(self._settings, job)) / place
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise TrackerRefusalError(f"{folder} cannot be made: {why(e)}. See tracking.folder.") from e
        return folder


def _name(text: str) -> str:
    """A name of a folder; never one that leads out of another."""
    return _NO_NAME.sub("_", text).lstrip(".") or "_"


def _write(folder: Path, trial: TrackedTrial) -> None:
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    record = trial.trial
    writer = EventFileWriter(str(folder))

    def add(summary: object, time: datetime, step: int = 0) -> None:
        writer.add_event(event_pb2.Event(wall_time=time.timestamp(), step=step, summary=summary))

    def scalar(name: str, value: float, time: datetime, step: int) -> None:
        add(summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=name, simple_value=value)]), time, step)

    # Of its own module for this, which imports TensorFlow, only the messages are needed.
    def session(tag: str, time: datetime, **info: object) -> None:
        content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**info))
        add(
            summary_pb2.Summary(
                value=[summary_pb2.Summary.Value(tag=tag, metadata=content, tensor=metadata.NULL_TENSOR)]
            ),
            time,
        )

    start = plugin_data_pb2.SessionStartInfo(group_name=record.id, start_time_secs=record.datetime_started.timestamp())
    for name, value in trial.knobs.items():
        match value:
            case bool():
                start.hparams[name].bool_value = value
            case int() | float():
                start.hparams[name].number_value = value
            case _:
                start.hparams[name].string_value = str(value)
    session(metadata.SESSION_START_INFO_TAG, record.datetime_started, session_start_info=start)
    for point in trial.points:
        scalar(point.name, point.value, point.time, point.step)
    if record.score is not None:
        scalar(_SCORE, record.score, trial.time_ended, 0)
    status = api_pb2.STATUS_SUCCESS if trial.is_completed else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=trial.time_ended.timestamp())
    session(metadata.SESSION_END_INFO_TAG, trial.time_ended, session_end_info=end)
    writer.close()


def _check(settings: TrackerSettings) -> str | None:
    if importlib.util.find_spec("tensorboard") is None:
        return f"wants the package tensorboard: {distribution.install_command('tensorboard')}."
    if settings.url is not None:
        return "writes files and asks no server: leave tracking.url out, and set tracking.folder where you like."
    return None


TENSORBOARD = TrackerKind(about="event files for TensorBoard", check=_check, open=TensorboardTracker)
