from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.http.complete_answers import records
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.contract.train_jobs import TrialView
from rafiki_cli.commands.train_trials import sorted_trials, terminal_columns
from rafiki_cli.render.output import table_view

KNOBS = [
    {"C": 2.0, "kernel": "rbf", "gamma": 0.1, "epochs": 9},
    {"C": 1.0, "kernel": "poly", "gamma": 0.2, "epochs": 9},
    {"C": 10.0, "kernel": "rbf", "gamma": 0.3, "epochs": 9},
]
SCORES = [0.5, None, 0.9]


@pytest.fixture
def rows(trial: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            **trial, "id": f"{i}{trial['id'] * 10}", "no": i, "score": score, "proposal": {"knobs": {**knobs}},
            "status": "COMPLETED" if score else "ERRORED", "error": None if score else "ValueError: no such kernel",
            "ended_early": "far below the median" if i == 1 else None,
        }
        for i, (knobs, score) in enumerate(zip(KNOBS, SCORES, strict=True), 1)
    ]  # fmt: skip


@pytest.fixture
def server(server: ContractServer, rows: list[dict[str, Any]]) -> ContractServer:
    def answer(request: Any) -> Any:
        if request.type == "best":
            return [rows[2], rows[0]][: request.max_count]
        return rows[request.offset :][: request.limit]

    server.answers["get_trials_of_train_job"] = answer
    return server


def _text(rows: list[dict[str, Any]], width: int) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    trials = records(rows, TrialView)
    console.print(table_view(trials, terminal_columns(trials), width))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_on_a_terminal_the_knobs_that_differ_have_columns(rows: list[dict[str, Any]]) -> None:
    lines = _text(rows, 100)
    assert lines[0].split() == ["ID", "TRIAL", "STATUS", "SCORE", "TIME", "C", "kernel", "gamma", "ERROR"]
    assert lines[2].split() == ["1t1t1t1t", "SkSvm#1", "COMPLETED", "0.5000", "4.0s", "⏹", "2", "rbf", "0.1", "-"]
    assert lines[3].split()[-4:] == ["ValueError:", "no", "such", "kernel"]
    assert "epochs" not in lines[0]


def test_of_trials_that_are_all_completed_the_status_is_left_out(rows: list[dict[str, Any]]) -> None:
    assert _text([rows[0], rows[2]], 80)[0].split() == ["ID", "TRIAL", "SCORE", "TIME", "C", "gamma"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_first_knobs_stay_longest_and_no_line_is_too_wide(rows: list[dict[str, Any]], width: int) -> None:
    for row in rows:
        row["proposal"]["knobs"] |= {f"knob_number_{i}": i * row["no"] for i in range(1, 13)}
    lines = _text(rows, width)
    assert max(map(len, lines)) <= width
    shown = [t for t in lines[0].split() if t not in ("ID", "TRIAL", "STATUS", "SCORE", "TIME", "ERROR")]
    assert shown == ["C", "kernel", "gamma", *(f"knob_number_{i}" for i in range(1, 13))][: len(shown)]
    assert ("ID" in lines[0]) == (len(shown) == 15)


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("score", [3, 1, 2]), ("-score", [1, 3, 2]), ("C", [2, 1, 3]), ("-C", [3, 1, 2]), ("no", [1, 2, 3]),
        ("-no", [3, 2, 1]), ("kernel", [2, 1, 3]), ("status", [1, 3, 2]), (None, [1, 2, 3]),
    ],
)  # fmt: skip
def test_trials_are_sorted_by_score_property_or_knob(
    rows: list[dict[str, Any]], by: str | None, order: list[int]
) -> None:
    assert [r.no for r in sorted_trials(records(rows, TrialView), by)] == order


def test_knobs_of_mixed_types_and_absent_ones_can_be_sorted(rows: list[dict[str, Any]]) -> None:
    for row, value in zip(rows, ("text", None, 3), strict=True):
        row["proposal"] = {"knobs": {"x": value}}
    assert [r.no for r in sorted_trials(records(rows, TrialView), "x")] == [3, 1, 2]
    assert [r.no for r in sorted_trials(records(rows, TrialView), "-x")] == [1, 3, 2]


def test_sorting_comes_before_the_limit(logged_in) -> None:
    out = logged_in("train", "trials", "digits", "--sort", "score", "--limit", "1", "-o", "json").out
    assert [r["no"] for r in json.loads(out)] == [3]
    out = logged_in("train", "trials", "digits", "--sort", "C", "--offset", "1", "--limit", "1", "-o", "json").out
    assert [r["no"] for r in json.loads(out)] == [1]


def test_without_sorting_the_admin_pages(logged_in, server: ContractServer) -> None:
    assert logged_in("train", "trials", "digits", "--offset", "1", "--limit", "1").code == 0
    assert (server.calls[-1].request.offset, server.calls[-1].request.limit) == (1, 1)


@pytest.mark.parametrize("option", ["-n", "--count", "--limit"])
def test_as_many_of_the_best_as_wanted(logged_in, option: str) -> None:
    assert [r["no"] for r in json.loads(logged_in("train", "best", "digits", option, "1", "-o", "json").out)] == [3]
    out = logged_in("train", "best", "digits", "--sort", "C", "-o", "jsonl").out
    assert [json.loads(line)["no"] for line in out.splitlines()] == [1, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sort", "scor"], "Did you mean 'score'?"),
        (["--sort", "gama"], "Did you mean 'gamma'?"),
        (["--sort", "zzz"], "There are: score, no, time, started, model, status, C, kernel, gamma, epochs."),
        (["--model", "SkSvn"], "Did you mean 'SkSvm'?"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(logged_in, words: list[str], message: str) -> None:
    result = logged_in("train", "trials", "digits", *words)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert message in result.err


def test_a_terminal_shows_the_table_and_says_what_it_left_out(
    logged_in, server: ContractServer, rows: list[dict[str, Any]], folder: Path
) -> None:
    for row in rows:
        row["proposal"]["knobs"]["a_knob_of_a_very_long_name_that_takes_much_room"] = row["no"]
    out, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "rafiki_cli", "train", "trials", "digits", "--sort", "score"]
    done = subprocess.run(
        command, stdout=terminal, stderr=subprocess.PIPE, env=environment, cwd=folder, check=True, text=True
    )
    os.close(terminal)
    shown = os.read(out, 65536).decode()
    os.close(out)
    assert "SkSvm#3" in shown
    assert "No room for this knob: a_knob_of_a_very_long_name" in done.stderr
    assert "Alike in all of these: epochs=9" in done.stderr
