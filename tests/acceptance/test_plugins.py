"""Packages of others that bring a scheme, a rule, a task, a store and a container back end: a whole job with them. And
one that is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.data.plugin_packages import install_hills, install_plugin, install_vault
from support.data.wheels import make_wheel, pip_variables
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client
from rafiki.client.prediction import PredictorClient
from rafiki.errors import InvalidDatasetError, InvalidQueryError, InvalidTrainJobError, RafikiError

pytestmark = pytest.mark.acceptance
TASK = "SERIES_FORECAST"
REPO = Path(__file__).parents[2]


class World:
    def __init__(self, folder: Path) -> None:
        packages, wheels = folder / "packages", folder / "wheels"
        install_hills(packages)
        install_vault(packages)
        install_plugin(
            packages, "rafiki-broken", {"all": "raise RuntimeError('no licence')"},
            {f"rafiki.{kind}": ["broken = rafiki_broken.all:ENTRY"] for kind in ("schemes", "rules", "tasks")},
        )  # fmt: skip
        make_wheel(wheels, "glimmer", "1.0")
        self.folder = folder
        path = os.pathsep.join([str(REPO), str(packages)])
        self.vault = folder / "vault"
        settings = {
            "stores": {"datasets": f"vault://{self.vault}/datasets", "params": f"vault://{self.vault}/params"},
            "container": {"backend": "pod"},
        }
        variables = {**pip_variables(wheels), "PYTHONPATH": path}
        self.stack = RunningStack(folder / "stack", settings, variables)
        self.stack.up()
        self.client: Client = self.stack.client()

    def rafiki(self, *arguments: str, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "rafiki_cli", *arguments], cwd=self.stack.folder, capture_output=True, text=True,
            env={**self.stack.environment, "COLUMNS": "200", **variables}, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    def completions(self, *words: str) -> list[str]:
        return [line.partition("\t")[0] for line in self.rafiki(*words, _RAFIKI_COMPLETE="zsh").splitlines()[1:]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("plugins"))
    yield made
    made.stack.down()


def test_a_job_runs_with_the_scheme_the_rule_and_the_task_of_a_package(world: World, tmp_path: Path) -> None:
    client = world.client
    bad, good = tmp_path / "bad.txt", tmp_path / "good.txt"
    bad.write_text("1\ntwo\n")
    good.write_text("".join(f"{n}\n" for n in range(10)))
    with pytest.raises(InvalidDatasetError, match="Row 2: 'two' is not a number"):
        client.create_dataset("bad", TASK, bad)
    data = client.create_dataset("good", TASK, good)["id"]
    models = [
        client.create_model("plain", TASK, MODELS / "forecast.py", "Drift"),
        client.create_model("apart", TASK, MODELS / "forecast.py", "DriftOfItsOwn", {"glimmer": "1.0"}),
    ]
    assert [m["load_error"] for m in models] == [None, None]
    budget = {"MODEL_TRIAL_COUNT": 8, "CPU_WORKER_COUNT": 1}
    floor = {"rule": "floor", "options": {"score": -3.0, "from_step": 2}}
    setting = {"scheme": "hill", "early_ending": floor}
    client.create_train_job("series", TASK, data, data, budget, [m["id"] for m in models], advisor=setting)

    def ended() -> dict[str, Any] | None:
        job = client.get_train_job("series")
        return job if job["status"] in ("STOPPED", "ERRORED") else None

    job = eventually(ended, "the end of the job", 120)
    assert job["status"] == "STOPPED", (job, world.stack.logs())
    assert job["advisor"] == {"scheme": "hill", "early_ending": floor}
    trials = client.get_trials_of_train_job("series")
    assert [t["status"] for t in trials] == ["COMPLETED"] * 16, world.stack.logs()
    assert {t["proposal"]["scheme"] for t in trials} == {"hill"}
    assert {t["proposal"]["phase"] for t in trials} == {"random", "climb"}
    hopeless = [t for t in trials if abs(t["proposal"]["knobs"]["drift"] - 1.0) > 3.0]
    assert hopeless
    assert all(t["ended_early"].startswith("floor: at step 2") for t in hopeless)
    assert not any(t["ended_early"] for t in trials if t not in hopeless)

    host = client.create_inference_job("series")["predictor_host"]
    with PredictorClient(host) as predictor:
        best = [t["proposal"]["knobs"]["drift"] for t in client.get_best_trials_of_train_job("series", max_count=1)]
        prediction = predictor.predict([1.0, 2.0, 3.0])
        # The median of one member of each model.
        assert abs(prediction - (3.0 + best[0])) < 3.0
        with pytest.raises(InvalidQueryError, match="A query is a list of numbers"):
            predictor.predict({"not": "a series"})
    pythons = {p.cmdline()[0] for p in world.stack.processes("inference")}
    assert len(pythons) == 2, "one of the models runs in an environment of its own"
    client.stop_inference_job("series")
    # All of it was kept in the store of a package, and started by the back end of one.
    assert len(list((world.vault / "datasets").iterdir())) == 1
    assert len(list((world.vault / "params").glob("*.safetensors"))) == 16
    assert not any((world.stack.root / name).exists() for name in ("datasets", "params"))
    started = (world.stack.root / "run" / "pods.txt").read_text().split()
    assert set(started) == {"advisor", "train", "predict", "inference"}


def test_what_the_package_brings_is_shown_wherever_names_are(world: World) -> None:
    assert world.completions("train", "create", "--advisor", "hi") == ["hill"]
    assert world.completions("train", "create", "--early-ending", "fl") == ["floor"]
    assert world.completions("dataset", "upload", "x.txt", "--task", "SE") == [TASK]
    definitions = json.loads(world.rafiki("schema", "job"))["$defs"]
    job, advisor = definitions["JobSpec"]["properties"], definitions["Advisor"]["properties"]
    for value, name in ((job["advisor"], "hill"), (job["task"], TASK), (advisor["early_ending"], "floor")):
        [offered] = [branch["enum"] for branch in value["anyOf"] if "enum" in branch]
        assert name in offered
        assert "broken" not in offered
    file = world.folder / "series.txt"
    file.write_text("1\n2\n")
    assert world.rafiki("dataset", "validate", str(file), "--task", TASK) == ""


def test_an_export_needs_the_package_and_holds_what_it_imports_of_rafiki(world: World, tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from rafiki_cli.export import folder, vendor\n"
        "from rafiki.tasks.registry import get_task\n"
        f"package = folder.find_task_package({TASK!r})\n"
        "print(*package[:2], folder._as_installed('rafiki-hills==1.0', package))\n"
        f"vendor.write_engine(pathlib.Path(sys.argv[1]), type(get_task({TASK!r})).__module__, [])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=world.stack.environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "rafiki-hills 1.0 rafiki-hills==1.0\n"
    # The scheme of the package travels as its task does: all that one of its modules may load.
    assert {"tasks", "advisor"} <= {f.name for f in (tmp_path / "rafiki").iterdir()}


def test_doctor_lists_what_is_registered_and_names_what_is_broken(world: World) -> None:
    findings = json.loads(world.rafiki("doctor", "-o", "json"))["findings"]
    for entry in ("rafiki-vault: vault.", "rafiki-vault: pod."):
        assert [f["verdict"] for f in findings if f["found"].endswith(f"; {entry}")] == ["ok"]
    told = {kind: [f for f in findings if f["check"] == kind] for kind in ("search schemes", "stopping rules", "tasks")}
    for kind, names in (("search schemes", "hill"), ("stopping rules", "floor"), ("tasks", TASK)):
        listed, broken = told[kind]
        assert listed["verdict"] == "ok"
        assert listed["found"].endswith(f"; rafiki-hills: {names}.")
        assert broken["verdict"] == "warning"
        assert "'broken' of the package rafiki-broken is left out: RuntimeError: no licence" in broken["found"]
        assert "pip uninstall rafiki-broken" in broken["cure"]


def test_a_broken_entry_is_offered_to_nobody_and_refused_with_the_reason(world: World, tmp_path: Path) -> None:
    client = world.client
    file = tmp_path / "data.txt"
    file.write_text("1\n")
    with pytest.raises(RafikiError, match=r"The task 'broken' of the package rafiki-broken cannot be used.*licence"):
        client.create_dataset("broken", "broken", file)
    data = client.create_dataset("any", "ANY", file)["id"]
    model = client.create_model("tiny", "ANY", MODELS / "tiny.py", "Tiny")["id"]

    def train(advisor: Any) -> None:
        client.create_train_job("any", "ANY", data, data, {"MODEL_TRIAL_COUNT": 1}, [model], advisor=advisor)

    with pytest.raises(InvalidTrainJobError, match="scheme 'broken' of the package rafiki-broken cannot be used"):
        train("broken")
    with pytest.raises(InvalidTrainJobError, match="rule 'broken' of the package rafiki-broken cannot be used"):
        train({"early_ending": "broken"})
    with pytest.raises(InvalidTrainJobError, match=r"There are: auto, .*, pbt, hill\."):
        train("nothing like it")
    assert world.completions("train", "create", "--advisor", "bro") == []
