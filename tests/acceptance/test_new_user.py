"""The first lesson as somebody new would type it: in a terminal of 80 columns, with no other step."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stacks.running_stack import eventually

from docs._generate.screens import ScreenError, environment, run_in_terminal, screen_of

pytestmark = pytest.mark.acceptance
DEADLINE_S = 200.0


class Lesson:
    """A new user's home: commands are typed into a terminal, and what it shows is read."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = environment(home) | {"RAFIKI_ADMIN__PORT": "0"}  # Others run stacks at the same time.
        self.screens: dict[str, str] = {}
        """Of the first four commands, by their second word."""

    def type(self, line: str, folder: str = "demo", code: int = 0) -> str:
        command = [sys.executable, "-m", "rafiki_cli", *line.split()[1:]]
        found, data = run_in_terminal(command, self.home / folder, self.environ, DEADLINE_S)
        screen = screen_of(data)
        assert found == code, screen
        assert "Traceback" not in screen
        return screen


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lesson]:
    made = Lesson(tmp_path_factory.mktemp("home"))
    for line, folder in (
        ("rafiki init demo", "."), ("rafiki up", "demo"), ("rafiki run job.yaml", "demo"),
        ("rafiki predict demo --query-file data/digits_query.json -o table", "demo"),
    ):  # fmt: skip
        made.screens[line.split()[1]] = made.type(line, folder)
    yield made
    if (made.home / "demo").is_dir():
        subprocess.run(
            [sys.executable, "-m", "rafiki_cli", "down"], cwd=made.home / "demo", env=made.environ, capture_output=True,
            timeout=120, check=False,
        )  # fmt: skip


def test_init_up_run_predict_work_with_no_other_step(lesson: Lesson) -> None:
    assert "rafiki run job.yaml" in lesson.screens["init"]
    assert "The stack runs at http://127.0.0.1:" in lesson.screens["up"]
    assert "Next: rafiki run job.yaml" in lesson.screens["up"]

    run = lesson.screens["run"]
    assert re.search(r"demo v1 COMPLETED: 6 trials\s+completed, 0 failed", run), run
    assert re.search(r"best 0\.\d{4} by \w+#\d", run), "the curve of the best score"
    assert "gate min_score" in run
    assert re.search(r"demo v1 serves at http://127\.0\.0\.1:\d+/predict\.", run)
    assert re.match(r"class \d  [01]\.\d{4}", lesson.screens["predict"])


def test_no_word_of_a_message_is_broken_by_the_edge_of_the_terminal(lesson: Lesson) -> None:
    # A line that a terminal broke is a full one, and its last letter and the next line's first one make a word.
    for line in (
        "rafiki status",
        "rafiki doctor",
        "rafiki run job.yaml",
        "rafiki train show demo",
        "rafiki infer show demo",
    ):
        lines = lesson.type(line).splitlines()
        broken = [
            (a, b) for a, b in itertools.pairwise(lines)
            if len(a) == 80 and re.match(r"\w", b) and re.search(r"\w$", a) and not set(a) & set("━─")
        ]  # fmt: skip
        # Paths and lists of ids have no place to break at.
        assert [pair for pair in broken if " " in pair[0].strip()[-40:] and "/" not in pair[0][-40:]] == [], line


def test_the_views_of_a_job_are_there_to_read(lesson: Lesson) -> None:
    assert "DemoDecisionTree#1" in lesson.type("rafiki train trials demo")
    assert "criterion" in lesson.type("rafiki train best demo")
    assert "predict demo/1" in lesson.type("rafiki status")
    assert "RUNNING" in lesson.type("rafiki infer list")
    assert "digits_train" in lesson.type("rafiki dataset list")
    assert "nothing to free" in lesson.type("rafiki gc")


@pytest.mark.long
def test_a_changed_job_is_compared_exported_and_stopped(tmp_path_factory: pytest.TempPathFactory) -> None:
    own = Lesson(tmp_path_factory.mktemp("home"))
    own.type("rafiki init demo", folder=".")
    own.type("rafiki up")
    try:
        own.type("rafiki run job.yaml --set budget.trials=2")
        again = own.type("rafiki run job.yaml --set budget.trials=2")
        assert "Nothing has changed" in again
        assert "uploading" not in again
        changed = own.type("rafiki run job.yaml --set budget.trials=3")
        assert "budget has changed since v1" in " ".join(changed.split())
        assert "v1 has left" in changed
        compared = own.type("rafiki train compare demo@1 demo@2")
        assert "demo@1" in compared
        assert "demo@2" in compared

        own.type("rafiki export demo")
        folder, query = own.home / "demo" / "demo-v2", own.home / "demo" / "data" / "digits_query.json"
        done = subprocess.run(
            [sys.executable, "-I", folder / "predict.py", "--query-file", query],
            capture_output=True, text=True, timeout=DEADLINE_S, check=True, env=own.environ,
        )  # fmt: skip
        inside = own.type("rafiki predict demo --query-file data/digits_query.json")
        assert json.loads(done.stdout) == pytest.approx(json.loads(inside))
    finally:
        assert "Stopped the admin" in own.type("rafiki down")
    eventually(lambda: "down" in own.type("rafiki status", code=5), "a stack that is down")


def test_a_command_that_does_not_end_is_told(lesson: Lesson) -> None:
    with pytest.raises(ScreenError):
        run_in_terminal([sys.executable, "-c", "import time; time.sleep(60)"], lesson.home, lesson.environ, 1.0)
