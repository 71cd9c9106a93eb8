"""Promises of docs/explanation/promises.md name tests that there are; the figures of chaos are those of its reports."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from chaos.report import BEGIN, END, PAGE, Kind, Report, as_markdown, generated_block

ROOT = Path(__file__).resolve().parent.parent
PROMISES = (ROOT / "docs" / "explanation" / "promises.md").read_text()
ROWS = [line for line in PROMISES.partition("## What survives what")[0].splitlines() if line.startswith("| ")][1:]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PROMISES)


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_of_a_promise_is_there(file: str, name: str) -> None:
    assert name in functions_of(file)


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_every_promise_names_a_test(row: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::\w+`", row)


def test_the_figures_of_the_page_are_those_of_the_reports() -> None:
    block = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert block.strip() == generated_block().strip()


def report(**fields: object) -> Report:
    """Of a run of one blow in which nothing broke, but for ``fields``."""
    given: dict[str, object] = {
        "database": "sqlite", "seed": 1, "started": "2026-01-01 00:00 UTC", "duration_s": 60.0, "machine": "2 cores",
        "load_average": 1.0, "is_boxed": True, "kinds": [Kind(kind="kill admin", n=1, median_s=2.0, worst_s=2.0)],
        "left_out": {}, "n_blows": 1, "n_not_recovered": 0, "n_moot": 0, "n_jobs": 1, "n_deployments": 1,
        "n_finished_trials": 10, "n_failed_trials": 0, "n_lost": 0, "n_doubled": 0, "n_left_running": 0,
        "requests": {"answered": 5}, "n_late": 0, "n_late_for_client": 0, "n_held": 0, "worst_late_s": 0.0,
        "client_lag_s": 0.0, "n_ups": 1, "failed_ups": [], "broken": [],
    }  # fmt: skip
    return Report(**{**given, **fields})  # type: ignore[arg-type]


def test_the_table_tells_what_was_broken_and_what_could_not_be_tried() -> None:
    text = as_markdown(report(n_lost=3, broken=["a", "b"], left_out={"fill the disk": "no right to mount"}))
    assert "| ... lost or changed | 3 |" in text
    assert "| promises broken | 2 |" in text
    assert "| not tried: fill the disk | no right to mount |" in text
    assert "| kill admin | 1 | 2.00 s | 2.00 s |" in text
