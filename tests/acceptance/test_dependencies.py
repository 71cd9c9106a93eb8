"""What models depend on is installed without a person: at upload, once, never in a trial's time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.data.wheels import make_wheel, pip_variables
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client
from rafiki.client.prediction import PredictorClient
from rafiki.environments.build import HEADING
from rafiki.errors import EnvironmentUsedError, InvalidEnvironmentError, InvalidModelError, UnauthorizedError

pytestmark = [pytest.mark.acceptance, pytest.mark.long]
TASK = "GLIMMER"


class World:
    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        for version in ("1.0", "2.0"):
            make_wheel(self.wheels, "glimmer", version)
        self.stack = RunningStack(folder / "stack", variables=pip_variables(self.wheels))
        self.stack.up()
        self.client = self.stack.client()
        data = folder / "data.bin"
        data.write_bytes(b"1")
        self.dataset_id = self.client.create_dataset("data", TASK, data)["id"]

    def upload(
        self, name: str, version: str, *, client: Client | None = None, access: str = "PRIVATE"
    ) -> dict[str, Any]:
        return (client or self.client).create_model(
            name, TASK, MODELS / "glimmering.py", "Glimmering", {"glimmer": version}, access
        )

    def train(self, app: str, *model_ids: str, client: Client | None = None, dataset_id: str = "") -> None:
        dataset_id = dataset_id or self.dataset_id
        budget = {"MODEL_TRIAL_COUNT": 2, "CPU_WORKER_COUNT": 2}
        (client or self.client).create_train_job(app, TASK, dataset_id, dataset_id, budget, list(model_ids))

    def ended(self, app: str) -> dict[str, Any]:
        def job() -> dict[str, Any] | None:
            found = self.client.get_train_job(app)
            return found if found["status"] in ("STOPPED", "ERRORED") else None

        return eventually(job, f"the end of {app}")

    def n_installs(self) -> int:
        logs = (self.stack.root / "logs").glob("environment-*.log")
        return sum(log.read_text().count(HEADING.decode()) for log in logs)

    def key_of(self, requirement: str) -> str:
        return next(e["key"] for e in self.client.get_environments() if e["requirements"] == [requirement])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("dependencies"))
    yield made
    made.stack.down()


def test_two_versions_of_one_package_train_and_serve_side_by_side(world: World) -> None:
    old, new = world.upload("old", "1.0"), world.upload("new", ">=2")
    assert (old["load_error"], new["load_error"]) == (None, None)
    # The knobs were read with the package in place.
    assert world.client.get_model(new["id"])["knob_config"]["x"]["value_max"] == 2.0
    n_installs = world.n_installs()
    assert n_installs == 2
    world.train("both", old["id"], new["id"])
    job = world.ended("both")
    assert job["status"] == "STOPPED", (job, world.stack.logs())
    assert [t["status"] for t in world.client.get_trials_of_train_job("both")] == ["COMPLETED"] * 4
    host = world.client.create_inference_job("both")["predictor_host"]
    answer = PredictorClient(host).predict({"n": 1})
    assert answer["glimmer"] in ("1.0", "2.0")
    pythons = {p.cmdline()[0] for p in world.stack.processes("inference")}
    keys = {world.key_of("glimmer==1.0"), world.key_of("glimmer>=2")}
    assert {Path(python).parents[1].name for python in pythons} == keys
    assert answer["python"] in pythons
    assert world.n_installs() == n_installs, "a warm environment is not installed again"
    listed = {e["requirements"][0]: e for e in world.client.get_environments()}
    assert {(r, e["n_models"], e["is_in_use"], e["status"]) for r, e in listed.items()} >= {
        ("glimmer==1.0", 1, True, "READY"),
        ("glimmer>=2", 1, True, "READY"),
    }
    with pytest.raises(EnvironmentUsedError):
        world.client.remove_environment(listed["glimmer==1.0"]["key"])
    world.client.stop_inference_job("both")


def test_a_second_model_of_the_same_set_is_taken_at_once_and_runs_in_the_same_environment(world: World) -> None:
    world.upload("first of 1.0", "1.0")
    before = world.n_installs()
    assert world.upload("second of 1.0", "==1.0")["load_error"] is None
    assert world.n_installs() == before


def test_what_is_installed_beside_rafiki_needs_no_environment(world: World) -> None:
    before = world.client.get_environments()
    made = world.client.create_model("plain", TASK, MODELS / "tiny.py", "Tiny", {"numpy": ">=1.26"})
    assert made["load_error"] is None
    assert world.client.get_environments() == before
    world.train("plain", made["id"])
    assert world.ended("plain")["status"] == "STOPPED"
    host = world.client.create_inference_job("plain")["predictor_host"]
    assert "pid" in PredictorClient(host).predict(1)
    [inference] = world.stack.processes("inference")
    assert Path(inference.cmdline()[0]) == Path(sys.executable)
    world.client.stop_inference_job("plain")


def test_a_failed_build_is_told_at_upload_and_is_the_reason_of_the_job(world: World) -> None:
    made = world.upload("missing", "9.9")
    assert "glimmer==9.9" in made["load_error"]
    assert "could not be installed" in made["load_error"]
    world.train("missing", made["id"])
    job = world.ended("missing")
    assert job["status"] == "ERRORED"
    assert "glimmer==9.9" in job["error"]
    log = world.client.get_environment_log(world.key_of("glimmer==9.9"))["lines"]
    assert any("glimmer" in line for line in log[1:])


def test_an_environment_that_was_removed_is_built_again_before_the_workers_start(world: World) -> None:
    model = world.upload("comes back", "2.0")
    key = world.key_of("glimmer==2.0")
    assert world.client.remove_environment(key)["key"] == key
    world.train("back", model["id"])
    assert world.ended("back")["status"] == "STOPPED"
    trials = world.client.get_trials_of_train_job("back")
    assert [(t["status"], t["attempt"]) for t in trials] == [("COMPLETED", 1)] * 2


def test_a_set_that_cannot_be_built_any_more_ends_the_job_with_the_reason(world: World) -> None:
    make_wheel(world.wheels, "glimmer", "5.0")
    model = world.upload("vanishes", "5.0")
    world.client.remove_environment(world.key_of("glimmer==5.0"))
    (world.wheels / "glimmer-5.0-py3-none-any.whl").unlink()
    world.train("vanished", model["id"])
    job = world.ended("vanished")
    assert job["status"] == "ERRORED"
    assert "could not be installed" in job["error"]
    assert "rafiki environment log" in job["error"]
    # The next job tries again: the package is back.
    make_wheel(world.wheels, "glimmer", "5.0")
    world.train("reappeared", model["id"])
    assert world.ended("reappeared")["status"] == "STOPPED"


def test_an_admin_killed_while_it_installs_leaves_a_stack_that_goes_on(world: World) -> None:
    model = world.upload("interrupted", "1.0")
    key = world.key_of("glimmer==1.0")
    world.client.remove_environment(key)
    world.train("interrupted", model["id"])
    folder = world.stack.root / "environments" / key
    eventually(folder.exists, "the build to begin")
    world.stack.kill_admin()
    world.stack.up()
    assert world.ended("interrupted")["status"] == "STOPPED"


def test_malformed_dependencies_are_refused_at_upload(world: World) -> None:
    with pytest.raises(InvalidModelError, match="no name of a PyPI package"):
        world.client.create_model("bad", TASK, MODELS / "tiny.py", "Tiny", {"--pre": "1"})
    with pytest.raises(InvalidModelError, match="no version of 'numpy'"):
        world.client.create_model("bad", TASK, MODELS / "tiny.py", "Tiny", {"numpy": "newest!"})


def test_who_sees_and_removes_environments(world: World) -> None:
    root = world.client
    for email, role in (("env-dev@rafiki", "MODEL_DEVELOPER"), ("env-app@rafiki", "APP_DEVELOPER")):
        root.create_user(email, "a password", role)
    world.upload("private one", "1.0")
    developer, app_user = (world.stack.client(f"env-{who}@rafiki", "a password") for who in ("dev", "app"))
    private = world.key_of("glimmer==1.0")
    for client in (developer, app_user):
        assert client.get_environments() == []
        with pytest.raises(InvalidEnvironmentError):
            client.get_environment_log(private)
        with pytest.raises(UnauthorizedError):
            client.remove_environment(private)
    world.upload("own", "==2.0", client=developer)
    [own] = developer.get_environments()
    assert (own["requirements"], own["status"]) == (["glimmer==2.0"], "READY")
    assert developer.get_environment_log(own["key"])["key"] == own["key"]
    assert app_user.get_environments() == []
    world.upload("public", "1.0", client=developer, access="PUBLIC")
    assert [e["key"] for e in app_user.get_environments()] == [private]
    with pytest.raises(InvalidEnvironmentError):
        root.get_environment_log("0123456789abcdef")


def test_an_unused_environment_is_one_that_no_model_depends_on(world: World) -> None:
    make_wheel(world.wheels, "glimmer", "7.0")
    model = world.upload("short-lived", "7.0")
    key = world.key_of("glimmer==7.0")
    world.client.delete_model(model["id"])
    [unused] = [e for e in world.client.get_environments() if e["key"] == key]
    assert unused["n_models"] == 0
    world.client.remove_environment(key)
    assert not (world.stack.root / "environments" / key).exists()
