"""From a raw file to a served model, in one command, in an empty folder."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.data.task_files import real_data
from support.stacks.running_stack import RunningStack

pytestmark = [pytest.mark.acceptance, pytest.mark.long]


def rafiki(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rafiki_cli", *arguments], cwd=stack.folder, env=stack.environment, text=True,
        capture_output=True, check=False, timeout=220,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "target", "classes"),
    [("titanic.csv", "survived", ["died", "survived"]), ("concrete.csv", "compressive_strength", None)],
)
def test_a_raw_file_becomes_a_served_model(tmp_path: Path, name: str, target: str, classes: list[str] | None) -> None:
    # It writes a rafiki.yaml with a port of its own, and starts nothing.
    stack = RunningStack(tmp_path)
    with real_data(name).open(newline="") as source:
        rows = list(csv.reader(source))[:400]
    # As a spreadsheet of another country writes it.
    with (tmp_path / name).open("w", newline="", encoding="utf-8-sig") as out:
        csv.writer(out, delimiter=";").writerows(rows)
    app = Path(name).stem
    try:
        made = rafiki(stack, "train", name, "--target", target, "--trials", "1")
        assert made.returncode == 0, made.stderr
        assert "values are separated by semicolons" in made.stderr
        asked = rafiki(stack, "predict", app, "--query-file", f"{app}/data/query.json")
        assert asked.returncode == 0, asked.stderr
        answer = json.loads(asked.stdout)
        assert isinstance(answer, list) == (classes is not None)
        # A second time, nothing is left to do.
        again = rafiki(stack, "train", name, "--target", target, "--trials", "1")
        assert again.returncode == 0, again.stderr
        assert "everything is there already" in again.stderr
    finally:
        rafiki(stack, "down")
    record = json.loads((tmp_path / app / "data" / "split.json").read_text())
    assert sum(len(own) for own in record["rows"].values()) == len(rows) - 1
