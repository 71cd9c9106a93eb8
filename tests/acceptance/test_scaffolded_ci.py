"""The CI workflow that `rafiki init` writes: its own commands, in its order, against a stack of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from rafiki.constants import ExitCode
from rafiki.utils.sockets import any_free_port

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 200
Shell = Callable[[str], subprocess.CompletedProcess[str]]

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.timeout(600),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "demo"


@pytest.fixture
def shell(tmp_path: Path, project: Path) -> Iterator[Shell]:
    """Runs a step as GitHub does: by bash, where `rafiki` and `pytest` are commands."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, module in (("rafiki", "rafiki_cli"), ("pytest", "pytest")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (binaries / name).chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RAFIKI_", "PYTEST_"))}
    environment = {
        **clean,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        # Other stacks of this machine may hold the port of the project's rafiki.yaml.
        "RAFIKI_ADMIN__PORT": str(any_free_port()),
        "CI": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "step_summary.md"),
    }

    def run(command: str) -> subprocess.CompletedProcess[str]:
        # Files and not pipes: what `rafiki up` starts holds on to its output.
        with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
            done = subprocess.run(
                ["bash", "-ec", command], cwd=project if project.exists() else tmp_path, env=environment,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())

    assert run("rafiki init demo").returncode == 0
    yield run
    run("rafiki down")


def test_the_workflow_runs_green_and_a_missed_gate_has_its_own_exit_code(
    shell: Shell, project: Path, tmp_path: Path
) -> None:
    steps = yaml.safe_load((project / ".github/workflows/rafiki.yml").read_text())["jobs"]["train"]["steps"]
    commands = [s["run"] for s in steps if "run" in s and not s["run"].startswith("pip ")]
    assert commands[-1] == "rafiki down"
    for command in commands[:-1]:
        done = shell(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        # Without a terminal there are neither colours nor anything that moves.
        assert "\x1b" not in done.stdout + done.stderr
    report = ElementTree.parse(project / "junit.xml").getroot()
    assert list(report.iter("testcase"))
    assert not list(report.iter("failure"))
    assert "deployed" in (tmp_path / "step_summary.md").read_text()

    missed = shell("rafiki run job.yaml --set gates.min_score=0.999 --report junit.xml --summary summary.md")
    assert missed.returncode == ExitCode.GATE_MISSED, missed.stderr
    assert list(ElementTree.parse(project / "junit.xml").getroot().iter("failure"))
    assert "0.999" in (project / "summary.md").read_text()

    down = shell(commands[-1])
    assert down.returncode == 0, down.stderr


def test_what_init_says_comes_next_works_with_no_other_step(shell: Shell, project: Path) -> None:
    for command in ("rafiki up", "rafiki run job.yaml", "rafiki predict demo --query-file data/digits_query.json"):
        done = shell(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    # One probability a digit; the query is a nought.
    prediction = yaml.safe_load(done.stdout)
    assert len(prediction) == 10
    assert max(prediction) == prediction[0]
