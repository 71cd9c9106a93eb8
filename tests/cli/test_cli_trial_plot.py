from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.contract.train_jobs import LogPlot
from rafiki_cli.commands.trial_plot import PlotSeries, series_of

SNAPSHOTS = Path(__file__).parent / "snapshots"
ID = "aaaa1111-0000-0000-0000-000000000001"


def _time(seconds: float) -> str:
    return f"2025-01-01T10:00:{seconds:06.3f}Z"


def _epoch(epoch: int, at_s: float, **metrics: Any) -> dict[str, Any]:
    return {"time": _time(at_s), "epoch": float(epoch), **metrics}


LOGS: dict[str, Any] = {
    "messages": [],
    "metrics": [_epoch(i, i * 2.0, loss=1 / i, val_loss=1 / i + 0.1) for i in range(1, 21)],
    "plots": [
        {"title": "Loss over epochs", "metrics": ["loss", "val_loss"], "x_axis": "epoch"},
        {"title": "Loss by the clock", "metrics": ["loss"], "x_axis": None},
    ],
}


@pytest.fixture
def server(server: ContractServer, trial: dict[str, Any]) -> ContractServer:
    server.answers |= {"get_trials_of_train_job": [{**trial, "id": ID}], "get_trial_logs": LOGS}
    return server


@pytest.mark.parametrize("words", [[ID], ["aaaa1"], ["digits", "SkSvm#1"]])
def test_the_plots_of_a_trial_are_drawn_however_it_is_named(
    logged_in, server: ContractServer, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    server.answers["get_train_jobs_by_user"] = [{"app": "digits", "app_version": 1}]
    result = logged_in("trial", "plot", *words)
    assert result.code == 0, result.err
    assert result.out == (SNAPSHOTS / "trial_plot_80.txt").read_text("utf-8")


def test_a_wide_terminal_gets_wide_plots(logged_in, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = logged_in("trial", "plot", ID, "--height", "5").out
    assert out == (SNAPSHOTS / "trial_plot_200.txt").read_text("utf-8")
    assert max(map(len, out.splitlines())) == 200


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_structured_output_holds_the_series(logged_in, form: str, load: Any) -> None:
    first, second = load(logged_in("trial", "plot", ID, "-o", form).out)
    assert (first["title"], first["x_axis"]) == ("Loss over epochs", "epoch")
    assert [s["metric"] for s in first["series"]] == ["loss", "val_loss"]
    assert first["series"][0]["x"] == [float(i) for i in range(1, 21)]
    assert first["series"][0]["y"][:2] == [1.0, 0.5]
    # By time: seconds since the first metric.
    assert second["series"][0]["x"][:3] == [0.0, 2.0, 4.0]


def test_json_lines_hold_a_plot_a_line_and_numbers_that_json_lacks_are_null(logged_in, server: ContractServer) -> None:
    server.answers["get_trial_logs"] = {
        **LOGS, "metrics": [_epoch(1, 1, loss="nan"), _epoch(2, 2, loss="inf"), _epoch(3, 3, loss=0.5)],
    }  # fmt: skip
    lines = logged_in("trial", "plot", ID, "-o", "jsonl").out.splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0])["series"][0] == {"metric": "loss", "x": [1.0, 2.0, 3.0], "y": [None, None, 0.5]}


def test_a_metric_that_comes_again_for_the_same_x_counts_as_it_came_last_and_x_is_in_order() -> None:
    metrics = [_epoch(2, 1, loss=2.0), _epoch(1, 2, loss=1.0), _epoch(2, 3, loss=3.0), {"time": _time(4), "loss": 9.0}]
    (series,) = series_of(LogPlot(title="Loss", metrics=["loss"], x_axis="epoch"), metrics)
    assert series == PlotSeries("loss", [1.0, 2.0], [1.0, 3.0])


def test_without_a_defined_plot_every_metric_is_drawn_over_its_step(logged_in, server: ContractServer) -> None:
    server.answers["get_trial_logs"] = {
        "messages": [], "plots": [], "metrics": [*LOGS["metrics"], {"time": _time(50), "memory": 3.0}],
    }  # fmt: skip
    plots = json.loads(logged_in("trial", "plot", ID, "-o", "json").out)
    assert [(p["title"], p["x_axis"]) for p in plots] == [("loss", "epoch"), ("val_loss", "epoch"), ("memory", None)]
    assert "defined no plot" in logged_in("trial", "plot", ID).err


def test_scores_reported_to_the_search_have_a_plot_too(logged_in, server: ContractServer) -> None:
    reports = [{"time": _time(i), "step": float(i), "score": i / 10} for i in range(1, 5)]
    server.answers["get_trial_logs"] = {**LOGS, "metrics": [*LOGS["metrics"], *reports]}
    plots = json.loads(logged_in("trial", "plot", ID, "-o", "json").out)
    assert plots[-1]["title"] == "Reported scores"
    assert plots[-1]["series"][0]["y"] == [0.1, 0.2, 0.3, 0.4]


def test_a_trial_without_metrics_says_so(logged_in, server: ContractServer) -> None:
    server.answers["get_trial_logs"] = {"messages": [], "metrics": [], "plots": []}
    result = logged_in("trial", "plot", ID)
    assert (result.code, result.out) == (0, "")
    assert "nothing to draw" in result.err
    assert json.loads(logged_in("trial", "plot", ID, "-o", "json").out) == []


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("Loss over epoch", None),
        ("loss", "begins 2 titles"),
        ("Los over epochs", "Did you mean 'Loss over epochs'?"),
        ("zzz", "There are: 'Loss over epochs', 'Loss by the clock'."),
    ],
)
def test_a_plot_is_named_by_its_title_or_the_beginning_of_it(logged_in, title: str, message: str | None) -> None:
    result = logged_in("trial", "plot", ID, "--plot", title)
    if message is None:
        assert (result.code, result.err) == (0, "")
        assert "Loss by the clock" not in result.out
    else:
        assert (result.code, result.out) == (ExitCode.USAGE, "")
        assert message in result.err


def _on_a_terminal(folder: Path, **variables: str) -> str:
    out, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60", "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "rafiki_cli", "trial", "plot", ID, "--plot", "Loss over epochs"]
    subprocess.run(command, stdout=terminal, env={**environment, **variables}, cwd=folder, check=True)
    os.close(terminal)
    shown = b""
    try:
        while more := os.read(out, 65536):
            shown += more
    except OSError:  # the other end is closed, and all of it was read
        pass
    os.close(out)
    return shown.decode()


def test_on_a_terminal_series_have_colours_unless_no_color_says_otherwise(
    logged_in, server: ContractServer, folder: Path
) -> None:
    assert "\x1b[36m" in _on_a_terminal(folder)
    plain = _on_a_terminal(folder, NO_COLOR="1")
    assert "\x1b[" not in plain
    assert "* loss   + val_loss" in plain


def test_a_terminal_without_utf8_gets_plain_characters(logged_in, server: ContractServer, folder: Path) -> None:
    assert _on_a_terminal(folder, PYTHONIOENCODING="ascii").isascii()
