"""A stranger's first hour, on machines that have a wheel of Rafiki and no checkout; and the scaffolded CI there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
import yaml
from packaging.metadata import parse_email
from support.machines.machine import Machine
from support.machines.wheels import ROOT, build_wheel, served
from support.stacks.running_stack import eventually
from trove_classifiers import classifiers

from rafiki.client import Client
from rafiki.constants import ExitCode
from rafiki.errors import InvalidTrainJobError
from rafiki.utils.process import find_stack_processes
from rafiki.utils.sockets import any_free_port
from rafiki.version import __version__
from rafiki_cli.commands.help import TOPICS

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]
N_TRIALS = 60
"""Of the job that an upgrade meets."""
OPEN = "RAFIKI_CONTAINER__SANDBOX=none"
"""Of the stack whose trials wait for a file of the test, which a box would hide from them. The other's are boxed."""
WORKFLOW, GITLAB = ".github/workflows/rafiki.yml", ".gitlab-ci.yml"


class Room(NamedTuple):
    """Where wheels are, and where new machines are made."""

    folder: Path
    wheels: Path
    wheel: Path

    def machine(self, name: str, **variables: str) -> Machine:
        # Other stacks of this machine may hold the port that a scaffold would take.
        return Machine(self.folder / name, self.wheels, {"RAFIKI_ADMIN__PORT": str(any_free_port()), **variables})

    def project(self, name: str, *installed: str) -> tuple[Path, str]:
        """A project that `rafiki init` makes where pip installed Rafiki by these arguments; and what it said."""
        user = self.machine(name)
        user.borrow_environment(*installed)
        made = user.run("rafiki init demo")
        assert made.returncode == 0, made.stderr
        return user.home / "demo", made.stderr


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    folder = tmp_path_factory.mktemp("room")
    wheels = folder / "wheels"
    wheels.mkdir()
    return Room(folder, wheels, build_wheel(wheels))


@pytest.fixture(scope="module")
def runner(room: Room) -> Iterator[Machine]:
    """A runner of a CI service: a fresh environment, into which the workflow's own first command has installed what the
    project requires. The project is in its home."""
    project, said = room.project("user", "rafiki-ml")
    assert "warning" not in said
    machine = room.machine("runner", CI="true", GITHUB_STEP_SUMMARY=str(room.folder / "step_summary.md"))
    machine.make_environment()
    shutil.copytree(project, machine.home / "demo")
    done = machine.run(steps_of(project)[0], "demo", timeout_s=500)
    if done.returncode != 0 and os.environ.get("CI", "").lower() != "true" and "Failed to establish" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    yield machine
    for folder in machine.home.glob("*/.rafiki"):
        machine.run("rafiki down", folder.parent)


def steps_of(project: Path) -> list[str]:
    """The commands of the GitHub workflow, in their order."""
    steps = yaml.safe_load((project / WORKFLOW).read_text())["jobs"]["train"]["steps"]
    return [step["run"] for step in steps if "run" in step]


def installed_in(machine: Machine) -> dict[str, str]:
    """Name -> version of every package."""
    found = json.loads(machine.must("python -m pip list --format json"))
    return {package["name"]: package["version"] for package in found}


def check_reports(project: Path) -> None:
    report = ElementTree.parse(project / "junit.xml").getroot()
    assert list(report.iter("testcase"))
    assert not list(report.iter("failure"))
    assert "deployed" in (project / "summary.md").read_text()


# ---- the scaffolded CI


def test_the_github_workflow_runs_green_in_an_environment_made_from_its_requirements(
    runner: Machine, room: Room
) -> None:
    project = runner.home / "demo"
    assert f"\nrafiki-ml[templates]=={__version__}\n" in (project / "requirements.txt").read_text()
    assert runner.must("command -v rafiki").strip() == f"{runner.venv}/bin/rafiki"
    packages = installed_in(runner)
    assert packages["rafiki-ml"] == __version__
    assert "rafiki" not in packages

    first, *commands, down = steps_of(project)
    assert (first, down) == ("pip install -r requirements.txt", "rafiki down")
    for command in commands:
        done = runner.run(command, "demo")
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        # Without a terminal there are neither colours nor anything that moves.
        assert "\x1b" not in done.stdout + done.stderr
    check_reports(project)
    assert "deployed" in (room.folder / "step_summary.md").read_text()

    run = next(command for command in commands if command.startswith("rafiki run "))
    missed = runner.run(f"{run} --set gates.min_score=0.999", "demo")
    assert missed.returncode == ExitCode.GATE_MISSED, missed.stderr
    assert list(ElementTree.parse(project / "junit.xml").getroot().iter("failure"))
    assert "0.999" in (project / "summary.md").read_text()
    runner.must(down, "demo")


def test_the_gitlab_job_runs_green_in_an_environment_made_from_its_requirements(runner: Machine, room: Room) -> None:
    with served(room.wheels) as site:
        project, said = room.project("user-of-a-site", f"rafiki-ml @ {site}/{room.wheel.name}")
        assert "names this machine" in said
        requirement = (project / "requirements.txt").read_text().splitlines()[-2]
        assert requirement.startswith(f"rafiki-ml[templates] @ {site}/{room.wheel.name}#sha256=")
        # Fresh again, but for the libraries that were installed a moment ago.
        runner.must("python -m pip uninstall --yes rafiki-ml pytest")
        shutil.copytree(project, runner.home / "gitlab")
        job: dict[str, Any] = yaml.safe_load((project / GITLAB).read_text())["train"]
        for command in [*job["before_script"], *job["script"], *job["after_script"]]:
            runner.must(command, "gitlab")
    check_reports(runner.home / "gitlab")


def test_where_no_runner_could_fetch_rafiki_init_says_so_and_ci_stops_at_once_with_the_reason(
    runner: Machine, room: Room
) -> None:
    project, said = room.project("user-of-a-wheel", str(room.wheel))
    assert f"Rafiki was installed from a file on this machine ({room.wheel})" in " ".join(said.split())
    shutil.copytree(project, runner.home / "nowhere")
    job: dict[str, Any] = yaml.safe_load((project / GITLAB).read_text())["train"]
    before = installed_in(runner)
    for command in (steps_of(project)[0], job["before_script"][0]):
        done = runner.run(command, "nowhere")
        assert done.returncode != 0
        assert "it was installed from a file on this machine, which no other machine can fetch" in done.stderr
    assert installed_in(runner) == before


# ---- the first hour


@pytest.fixture(scope="module")
def stranger(room: Room, runner: Machine) -> Iterator[Machine]:
    """Somebody whose environment holds the wheel, beside Debian's cache server; no setting says which port to take."""
    if shutil.which("redis-server") is None:
        text = "redis-server is not on PATH: apt-get install redis-server"
        pytest.fail(text) if os.environ.get("CI", "").lower() == "true" else pytest.skip(text)
    machine = Machine(room.folder / "stranger", room.wheels, venv=runner.venv)
    machine.must(f"python -m pip install --force-reinstall --no-deps rafiki-ml=={__version__}")
    yield machine
    for folder in machine.home.glob("*/.rafiki"):
        machine.run("rafiki down", folder.parent)


def state_of(machine: Machine, project: str) -> dict[str, Any]:
    """What `rafiki status` says."""
    found: dict[str, Any] = json.loads(machine.must("rafiki status -o json", project))
    assert found["admin"]["status"] == "ok"
    return found


def client_of(machine: Machine, project: str, address: str) -> Client:
    """Who looks again and again: a command each time would take the processor from what is looked at."""
    client = Client(*address.rpartition("//")[2].rsplit(":", 1))
    password = (machine.home / project / ".rafiki" / "superadmin-password").read_text().strip()
    client.login("superadmin@rafiki", password)
    return client


def trials_of(machine: Machine, project: str, version: int) -> list[dict[str, Any]]:
    """The trials of a version of the project's app; none before it is there."""
    done = machine.run(f"rafiki train trials {project} --version {version} -o json", project)
    found: list[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
    return found


def slow_down(model: Path, file: Path) -> None:
    """Let every trial take longer as long as a file is there, and the last ones wait until it is gone."""
    file.touch()
    begun = file.with_name("begun")
    begun.mkdir()
    source = model.read_text()
    head = source.index("        from sklearn.tree import", source.index("    def train("))
    wait = f"""\
        import os, tempfile, time
        tempfile.mkstemp(dir={str(begun)!r})
        time.sleep(1.5 if os.path.exists({str(file)!r}) else 0.0)
        while len(os.listdir({str(begun)!r})) > {N_TRIALS - 10} and os.path.exists({str(file)!r}):
            time.sleep(0.05)
"""
    model.write_text(source[:head] + wait + source[head:])


def test_init_up_run_predict_a_second_project_and_an_upgrade_while_a_job_runs(stranger: Machine, room: Room) -> None:
    assert stranger.must("rafiki version").strip() == __version__
    assert "rafiki.py" not in stranger.must("python -c 'import rafiki; print(rafiki.__file__)'")

    # The first project.
    stranger.must("rafiki init one")
    stranger.must(f"{OPEN} rafiki up", "one")
    stranger.must("rafiki run job.yaml", "one")
    digit = json.loads(stranger.must("rafiki predict one --query-file data/digits_query.json", "one"))
    # One probability a digit; the query is a nought.
    assert len(digit) == 10
    assert max(digit) == digit[0]

    # A second one beside it, at the same time.
    stranger.must("rafiki init two --template tabular_classification/linear")
    stranger.must("rafiki up", "two")
    one, two = state_of(stranger, "one"), state_of(stranger, "two")
    assert one["admin"]["address"] != two["admin"]["address"]
    assert (Path(one["folder"]), Path(two["folder"])) == tuple(
        (stranger.home / name / ".rafiki").resolve() for name in ("one", "two")
    )
    plan = stranger.run("rafiki run job.yaml --dry-run", "two")
    assert "create" in plan.stdout + plan.stderr
    stranger.must("rafiki run job.yaml --set budget.trials=2", "two")
    for name in ("one", "two"):
        assert {job["app"] for job in json.loads(stranger.must("rafiki train list -o json", name))} == {name}

    # An upgrade, while a job runs and the first version of its app serves.
    slow = stranger.home / "slow"
    slow_down(stranger.home / "one" / "models" / "one_decision_tree.py", slow)
    log = room.folder / "run.log"
    running = stranger.start(f"rafiki run job.yaml --set budget.trials={N_TRIALS} --timeout 10m", "one", log)
    try:
        looker = client_of(stranger, "one", one["admin"]["address"])

        def completed() -> int:
            with contextlib.suppress(InvalidTrainJobError):
                trials = looker.get_trials_of_train_job("one", 2)
                return sum(trial["status"] == "COMPLETED" for trial in trials)
            return 0

        eventually(lambda: running.poll() is not None or completed() >= 3, "three trials of the second version")
        assert running.poll() is None, log.read_text()
        newer = f"{int(__version__.split('.')[0]) + 1}.0.0"
        wheel = build_wheel(room.folder / "newer", newer)
        stranger.must(f"python -m pip install --upgrade --no-deps --find-links {wheel.parent} rafiki-ml")
        assert stranger.must("rafiki version").strip() == newer

        # Nothing is restarted unasked; what would be done is said.
        said = stranger.run("rafiki up", "one")
        assert __version__ in said.stderr
        assert "rafiki up --restart" in said.stderr
        assert state_of(stranger, "one")["admin"]["version"] == __version__
        stranger.must(f"{OPEN} rafiki up --restart", "one")
        state = state_of(stranger, "one")
        assert (state["admin"]["version"], state["admin"]["address"]) == (newer, one["admin"]["address"])
        # Between two trials none may be running.
        assert running.poll() is None, "the job ended before the upgrade"
        slow.unlink()
        assert running.wait(timeout=200) == 0, log.read_text()
    finally:
        running.kill()
        running.wait()
    # Every trial was run, and counts once.
    trials = trials_of(stranger, "one", 2)
    assert [trial["status"] for trial in trials] == ["COMPLETED"] * N_TRIALS
    assert sorted(trial["no"] for trial in trials) == list(range(1, N_TRIALS + 1))
    assert len(json.loads(stranger.must("rafiki predict one --query-file data/digits_query.json", "one"))) == 10

    # The second project's stack goes on as it was, until it is its turn.
    assert state_of(stranger, "two")["admin"]["version"] == __version__
    stranger.must("rafiki up --restart", "two")
    assert state_of(stranger, "two")["admin"]["version"] == newer
    query = "rafiki predict two --query-file data/penguins_query.json"
    assert stranger.must(query, "two")
    for name in ("one", "two"):
        stranger.must("rafiki down", name)
        assert find_stack_processes((stranger.home / name / ".rafiki").resolve()) == []


# ---- the wheel


def test_the_wheel_holds_the_packages_and_what_they_copy_and_nothing_else(room: Room) -> None:
    with zipfile.ZipFile(room.wheel) as archive:
        names = archive.namelist()
    info = f"rafiki_ml-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"rafiki", "rafiki_cli", info}
    others = {name for name in names if not name.startswith(info)}
    expected: set[str] = set()
    for folder, place in (
        ("rafiki", "rafiki"), ("rafiki_cli", "rafiki_cli"), ("templates/models", "rafiki_cli/_templates/models"),
        ("templates/project", "rafiki_cli/_templates/project"), ("templates/samples", "rafiki_cli/_templates/samples"),
        ("examples/datasets", "rafiki_cli/_examples/datasets"),
    ):  # fmt: skip
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                expected.add(f"{place}/{file.relative_to(ROOT / folder).as_posix()}")
    pages = {f"rafiki_cli/_pages/{topic}.md" for topic in TOPICS}
    assert others == expected | {"rafiki_cli/_templates/catalogue.yaml"} | pages
    odd = [name for name in others if Path(name).suffix in ("", ".pyc", ".log", ".db") and "dot_" not in name]
    assert odd == ["rafiki_cli/images/Dockerfile"]
    # A project's own test is a template; no test of ours travels.
    assert [name for name in others if "tests/" in name] == ["rafiki_cli/_templates/project/tests/test_model.py.tmpl"]


def test_the_wheel_tells_what_it_is(room: Room) -> None:
    with zipfile.ZipFile(room.wheel) as archive:
        info = f"rafiki_ml-{__version__}.dist-info"
        metadata, text = parse_email(archive.read(f"{info}/METADATA"))
        points = archive.read(f"{info}/entry_points.txt").decode()
    assert text == {}
    assert (metadata["name"], metadata["version"], metadata["requires_python"]) == ("rafiki-ml", __version__, ">=3.11")
    assert metadata["license_expression"] == "Apache-2.0"
    assert set(metadata["classifiers"]) <= classifiers
    assert points == "[console_scripts]\nrafiki = rafiki_cli.start:main\n"
    # What an index shows has no file beside it.
    assert metadata["description_content_type"] == "text/markdown"
    assert not re.search(r"\]\((?!https://)", metadata["description"])
    assert "pip install 'rafiki-ml[templates]'" in metadata["description"]
