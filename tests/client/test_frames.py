"""Results as tables of pandas."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from support.http.contract_server import ContractServer

from rafiki.client import Client, predict
from rafiki.client.frames import frame_to_queries, metrics_to_frame, predictions_to_frame, trials_to_frame
from rafiki.errors import InvalidRequestError

TRIALS = [
    {
        "id": "t1", "no": 1, "model_name": "SkSvm", "status": "COMPLETED", "score": 0.75, "error": None,
        "is_params_saved": True, "ended_early": None, "proposal": {"knobs": {"C": 0.5, "kernel": "rbf"}},
        "datetime_started": "2026-01-01T10:00:00Z", "datetime_stopped": "2026-01-01T10:00:01.500000Z",
    },
    {
        "id": "t2", "no": 1, "model_name": "SkDt", "status": "RUNNING", "score": None, "error": None,
        "is_params_saved": False, "ended_early": None, "proposal": {"knobs": {"max_depth": 3, "score": [1, "a"]}},
        "datetime_started": "2026-01-01T10:00:02+00:00", "datetime_stopped": None,
    },
]  # fmt: skip


def test_trials_are_rows_with_a_column_for_each_knob(client: Client, server: ContractServer) -> None:
    server.answers["get_trials_of_train_job"] = TRIALS
    frame = client.trials_frame("demo", 2)
    assert (server.calls[0].request.app, server.calls[0].request.app_version) == ("demo", 2)
    assert list(frame.index) == ["SkSvm#1", "SkDt#1"]
    assert list(frame.columns) == [
        "model_name", "no", "status", "score", "datetime_started", "datetime_stopped", "seconds", "knob_C",
        "knob_kernel", "knob_max_depth", "knob_score", "is_params_saved", "ended_early", "error", "id",
    ]  # fmt: skip
    assert frame.loc["SkSvm#1", "seconds"] == 1.5
    assert frame["score"].dtype == "float64"
    assert frame["score"].idxmax() == "SkSvm#1"
    assert frame.loc["SkDt#1", "knob_score"] == [1, "a"]
    assert frame["datetime_stopped"].isna().tolist() == [False, True]
    assert str(frame["datetime_started"].dt.tz) == "UTC"


def test_no_trials_are_a_table_without_rows() -> None:
    frame = trials_to_frame([])
    assert len(frame) == 0
    assert {"score", "seconds", "id"} <= set(frame.columns)


def test_metrics_stand_under_their_time(client: Client, server: ContractServer) -> None:
    server.answers["get_trial_logs"] = {
        "messages": [], "plots": [],
        "metrics": [
            {"time": "2026-01-01T10:00:00+00:00", "loss": 0.5, "epoch": 1},
            {"time": "2026-01-01T10:00:01.250000+00:00", "loss": "nan", "epoch": 2},
        ],
    }  # fmt: skip
    frame = client.metrics_frame("t1")
    assert frame["epoch"].tolist() == [1.0, 2.0]
    assert frame["loss"].isna().tolist() == [False, True]
    assert (frame.index[1] - frame.index[0]).total_seconds() == 1.25
    assert metrics_to_frame({"metrics": []}).empty


@pytest.mark.parametrize(
    ("predictions", "columns", "first"),
    [
        ([[0.25, 0.75], [0.5, 0.5]], ["p_0", "p_1", "best"], [0.25, 0.75, 1]),
        ([1.5, 2], ["prediction"], [1.5]),
        (["one", "two"], ["prediction"], ["one"]),
        ([[1, 2], [3]], ["prediction"], [[1, 2]]),
        ([{"a": 1}], ["prediction"], [{"a": 1}]),
        ([], ["prediction"], None),
    ],
)
def test_predictions_are_rows(predictions: list[Any], columns: list[str], first: list[Any] | None) -> None:
    frame = predictions_to_frame(predictions)
    assert (list(frame.columns), len(frame)) == (columns, len(predictions))
    if first is not None:
        assert frame.iloc[0].tolist() == first


def test_rows_of_a_table_are_queries_and_what_is_missing_is_null() -> None:
    frame = pd.DataFrame(
        {"n": [1, 2], "x": [0.5, float("nan")], "s": ["a", None], "day": pd.to_datetime(["2026-01-01", None])},
        index=["first", "second"],
    )
    assert frame_to_queries(frame) == [
        {"n": 1, "x": 0.5, "s": "a", "day": "2026-01-01T00:00:00"},
        {"n": 2, "x": None, "s": None, "day": None},
    ]
    index = predictions_to_frame([1.0, 2.0], frame.index).index
    assert list(index) == ["first", "second"]


def test_without_pandas_the_error_says_what_to_install_and_nothing_else_needs_it() -> None:
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from rafiki.client import Client\n"
        "client = Client('127.0.0.1', 1)\n"
        "try:\n"
        "    client.trials_frame('demo')\n"
        "except ImportError as e:\n"
        "    print(e)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'rafiki-ml[pandas]'" in out


def test_the_client_loads_no_pandas_and_no_ipython() -> None:
    code = "import sys; from rafiki.client import Client; print({'pandas', 'IPython', 'numpy'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_table_is_no_list_of_queries() -> None:
    with pytest.raises(InvalidRequestError, match="predict_frame"):
        predict("127.0.0.1:1", queries=pd.DataFrame({"a": [1]}))
