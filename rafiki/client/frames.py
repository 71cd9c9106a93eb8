"""Results as tables of pandas, where pandas is installed. Nothing else imports it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from rafiki.client.train_jobs import TrainJobCalls

if TYPE_CHECKING:
    import pandas as pd

KNOB_PREFIX = "knob_"
_TRIAL_COLUMNS = ("model_name", "no", "status", "score", "datetime_started", "datetime_stopped")
_LAST_COLUMNS = ("is_params_saved", "ended_early", "error", "id")


def load_pandas() -> ModuleType:
    """
    Raises:
        ImportError: when it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError as e:
        raise ImportError(
            "This needs pandas, which is not installed here. Install it: pip install 'rafiki-ml[pandas]'. Without it, "
            "the methods that answer with dicts and lists hold the same."
        ) from e


def trials_to_frame(trials: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Trials as a table: one row each in their order, under the name that people use (``SkSvm#10``).

    Columns: ``model_name``, ``no``, ``status``, ``score``, ``datetime_started``, ``datetime_stopped``, ``seconds``, one
    for each knob (``knob_max_depth``), then ``is_params_saved``, ``ended_early``, ``error`` and ``id``. What a trial
    does not have is missing (``NaN``, ``NaT``, ``None``).

    Raises:
        ImportError: when pandas is not installed.
    """
    pandas = load_pandas()
    knobs = [_knobs_of(trial) for trial in trials]
    names = list(dict.fromkeys(name for row in knobs for name in row))
    found: dict[str, object] = {column: [t.get(column) for t in trials] for column in _TRIAL_COLUMNS}
    for column in ("datetime_started", "datetime_stopped"):
        found[column] = pandas.to_datetime(found[column], utc=True, format="ISO8601")
    found["score"] = pandas.array(found["score"], dtype="float64")
    frame = pandas.DataFrame(found, index=pandas.Index([_name_of(t) for t in trials], name="trial"))
    frame["seconds"] = (frame["datetime_stopped"] - frame["datetime_started"]).dt.total_seconds()
    for name in names:
        frame[KNOB_PREFIX + name] = [row.get(name) for row in knobs]
    for column in _LAST_COLUMNS:
        frame[column] = [t.get(column) for t in trials]
    return frame


def _knobs_of(trial: Mapping[str, object]) -> Mapping[str, object]:
    proposal = trial.get("proposal")
    knobs = proposal.get("knobs") if isinstance(proposal, Mapping) else None
    return knobs if isinstance(knobs, Mapping) else {}


def _name_of(trial: Mapping[str, object]) -> str:
    return f"{trial.get('model_name')}#{trial.get('no')}"


def metrics_to_frame(logs: Mapping[str, object]) -> pd.DataFrame:
    """What a model logged as numbers: one row a time, one column a metric, under the time.

    Args:
        logs: as ``Client.get_trial_logs`` answers.

    Raises:
        ImportError: when pandas is not installed.
    """
    pandas = load_pandas()
    rows = logs.get("metrics")
    frame = pandas.DataFrame(rows if isinstance(rows, list) else [])
    if frame.empty:
        return pandas.DataFrame(index=pandas.DatetimeIndex([], name="time", tz="UTC"))
    frame["time"] = pandas.to_datetime(frame["time"], utc=True, format="ISO8601")
    # JSON has no number for "nan" and "inf".
    return frame.set_index("time").astype("float64")


def predictions_to_frame(predictions: Sequence[object], index: pd.Index | None = None) -> pd.DataFrame:
    """Predictions as a table, one row each.

    Columns: for lists of as many numbers each, such as probabilities, ``p_0``, ``p_1`` ... and ``best``, which of them
    is the highest; for all else ``prediction``.

    Args:
        index: of the rows; None = 0, 1, 2 ...

    Raises:
        ImportError: when pandas is not installed.
    """
    pandas = load_pandas()
    lengths = {len(p) if isinstance(p, list) and p and all(map(_is_number, p)) else 0 for p in predictions}
    if len(lengths) != 1 or 0 in lengths:
        column = pandas.Series(list(predictions), dtype=None if all(map(_is_number, predictions)) else "object")
        frame = pandas.DataFrame({"prediction": column})
    else:
        frame = pandas.DataFrame(list(predictions), columns=[f"p_{i}" for i in range(lengths.pop())])
        frame["best"] = frame.to_numpy().argmax(axis=1)
    return frame if index is None else frame.set_axis(index, axis=0)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def frame_to_queries(frame: pd.DataFrame) -> list[dict[str, object]]:
    """The rows of a table as queries of the tabular tasks: column -> value; a missing value is None."""
    rows = frame.astype("object").where(frame.notna(), None)
    return [{str(name): _plain(value) for name, value in row.items()} for row in rows.to_dict("records")]


def _plain(value: object) -> object:
    """A value that JSON has: dates as ISO 8601."""
    return value.isoformat() if hasattr(value, "isoformat") else value


class FrameCalls(TrainJobCalls):
    """Calls that answer with tables of pandas."""

    def trials_frame(self, app: str, app_version: int = -1) -> pd.DataFrame:
        """The trials of a train job as a table; see :func:`rafiki.client.frames.trials_to_frame`.

        Raises:
            ImportError: when pandas is not installed.
        """
        load_pandas()
        return trials_to_frame(self.get_trials_of_train_job(app, app_version))

    def metrics_frame(self, trial_id: str) -> pd.DataFrame:
        """The metrics that a model logged in a trial; see :func:`rafiki.client.frames.metrics_to_frame`.

        Raises:
            ImportError: when pandas is not installed.
        """
        load_pandas()
        return metrics_to_frame(self.get_trial_logs(trial_id))
