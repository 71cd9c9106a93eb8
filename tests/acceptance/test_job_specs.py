"""`rafiki run` on a real stack: the same file again and again, changed, gated, interrupted, refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.stacks.running_stack import MODELS, RunningStack, eventually
from support.terminals.command_line import run_here

from rafiki.client import Client
from rafiki.constants import ExitCode

pytestmark = [pytest.mark.acceptance, pytest.mark.long]
_numbers = itertools.count(1)
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    running = RunningStack(tmp_path_factory.mktemp("stack"))
    running.up()
    token = running.client().token
    assert token is not None
    logins = running.folder / "config" / "rafiki" / "logins.json"
    logins.parent.mkdir(parents=True)
    login = {"email": "superadmin@rafiki", "user_type": "SUPERADMIN", "token": token}
    logins.write_text(json.dumps({f"127.0.0.1:{running.port}": login}))
    yield running
    running.down()


class Project:
    """A folder with a job file, in a stack that others use too: its app has a name of its own."""

    def __init__(self, stack: RunningStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.app = f"app-{os.getpid()}-{next(_numbers)}"
        self.client: Client = stack.client()
        (folder / "rafiki.yaml").write_text(f"{{admin: {{port: {stack.port}}}, stack: {{folder: {stack.root}}}}}\n")
        (folder / "data.bin").write_text(f"data of {self.app}")
        self.model = (MODELS / "tiny.py").read_text().replace("class Tiny", f"class {self.class_name}")
        (folder / "model.py").write_text(self.model)
        self.write()

    @property
    def class_name(self) -> str:
        return "M" + self.app.replace("-", "_")

    def text(self, **more: Any) -> str:
        spec = {
            "app": self.app, "task": "CUSTOM", "datasets": {"train": "data.bin", "val": "data.bin"},
            "models": [{"file": "model.py"}], "budget": {"trials": 3}, **more,
        }  # fmt: skip
        return json.dumps(spec)  # JSON is YAML

    def write(self, **more: Any) -> None:
        (self.folder / "job.yaml").write_text(self.text(**more))

    def start(self, *arguments: str, variables: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """`rafiki run` in a process of its own, which can be interrupted."""
        return subprocess.Popen(
            [sys.executable, "-m", "rafiki_cli", "run", "job.yaml", *arguments], cwd=self.folder,
            env={**self.stack.environment, **(variables or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`rafiki run` to its end."""
        environment = {**self.stack.environment, **(variables or {})}
        done = run_here("run", "job.yaml", *arguments, folder=self.folder, environment=environment)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def rafiki(self, *arguments: str) -> Any:
        """The JSON that another command puts out."""
        done = run_here(*arguments, folder=self.folder, environment=self.stack.environment)
        assert done.returncode == ExitCode.OK, done.stderr
        return json.loads(done.stdout)

    def records(self) -> dict[str, Any]:
        """All that a run may add to, as it stands on the server."""
        return {
            "datasets": [d["id"] for d in self.client.get_datasets()],
            "models": [m["id"] for m in self.client.get_available_models(all_versions=True)],
            "train_jobs": self.client.get_train_jobs_of_app(self.app),
            "inference_jobs": self.client.get_inference_jobs_of_app(self.app),
        }

    def serving(self) -> list[int]:
        jobs = self.client.get_inference_jobs_of_app(self.app)
        return [j["app_version"] for j in jobs if j["status"] in ("STARTED", "RUNNING")]


@pytest.fixture
def project(stack: RunningStack, tmp_path: Path) -> Iterator[Project]:
    made = Project(stack, tmp_path)
    yield made
    for version in made.serving():
        made.client.stop_inference_job(made.app, version)


def test_a_second_run_with_nothing_changed_does_nothing_and_says_so(project: Project) -> None:
    first = project.run()
    assert first.returncode == ExitCode.OK, first.stderr
    assert "3 trials completed" in first.stdout
    before = project.records()
    [job] = before["inference_jobs"]
    answer = httpx.post(f"http://{job['predictor_host']}/predict", json={"query": "q"}, timeout=30)
    assert answer.json()["prediction"]["query"] == "q"

    second = project.run()
    assert second.returncode == ExitCode.OK, second.stderr
    assert "Nothing has changed" in second.stderr
    assert job["predictor_host"] in second.stderr
    assert project.records() == before


def test_a_dry_run_tells_the_plan_and_changes_nothing(project: Project) -> None:
    before = project.records()
    planned = project.run("--dry-run", "-o", "json")
    [plan] = json.loads(planned.stdout)
    assert [(s["kind"], s["verb"]) for s in plan["steps"]] == [
        ("dataset", "upload"), ("dataset", "reuse"), ("model", "upload"), ("train", "create"), ("deploy", "create"),
    ]  # fmt: skip
    assert project.records() == before
    assert planned.returncode == ExitCode.OK


def test_only_what_changed_is_uploaded_and_the_new_version_takes_the_old_ones_place(project: Project) -> None:
    assert project.run().returncode == ExitCode.OK
    before = project.records()
    (project.folder / "model.py").write_text(project.model + "\n# changed\n")
    changed = project.run()
    assert changed.returncode == ExitCode.OK, changed.stderr
    assert "as version 2, because its file changed" in changed.stderr + changed.stdout
    after = project.records()
    assert after["datasets"] == before["datasets"]
    assert len(after["models"]) == len(before["models"]) + 1
    assert [j["app_version"] for j in after["train_jobs"]] == [2, 1]
    assert project.serving() == [2]

    (project.folder / "model.py").write_text(project.model)
    back = project.run()
    assert back.returncode == ExitCode.OK, back.stderr
    assert project.records()["models"] == after["models"], "the old file is the first version"
    assert project.serving() == [3]


def test_what_only_bears_on_serving_does_not_train_again(project: Project) -> None:
    assert project.run().returncode == ExitCode.OK
    done = project.run(
        "--set", "deploy={replicas: 2, latency_budget_ms: 750, batch_size: 8, late_target: 0.05}", "-o", "json"
    )
    assert done.returncode == ExitCode.OK, done.stderr
    [outcome] = json.loads(done.stdout)
    assert outcome["app_version"] == 1
    records = project.records()
    assert len(records["train_jobs"]) == 1
    served = records["inference_jobs"][0]
    assert (served["status"], served["budget"]["REPLICA_COUNT"]) == ("RUNNING", 2)
    given = {name: value for name, value in served["deployment"].items() if value is not None}
    assert given == {"latency_budget_ms": 750.0, "batch_size": 8, "late_target": 0.05}


def test_what_cannot_take_its_place_leaves_what_serves_alone(project: Project) -> None:
    assert project.run().returncode == ExitCode.OK
    before = project.records()["inference_jobs"]
    done = project.run("--set", "deploy.gpus=4")
    assert done.returncode == ExitCode.REFUSED
    assert "GPU_COUNT is 4" in done.stderr
    assert project.records()["inference_jobs"] == before


def test_a_version_that_serves_beside_the_newest_is_planned_to_be_stopped(project: Project) -> None:
    assert project.run().returncode == ExitCode.OK
    assert project.run("--set", "budget.trials=2").returncode == ExitCode.OK
    project.client.create_inference_job(project.app, 1)
    planned = project.run("--set", "budget.trials=2", "--dry-run")
    assert "v1 will be stopped" in planned.stdout
    assert "Nothing to do" not in planned.stderr
    assert project.run("--set", "budget.trials=2").returncode == ExitCode.OK
    assert project.serving() == [2]


def test_a_latency_budget_is_kept(project: Project) -> None:
    slow = project.model.replace(
        "def predict(self, queries):\n", "def predict(self, queries):\n        time.sleep(30)\n"
    )
    (project.folder / "model.py").write_text(slow)
    done = project.run("--set", "deploy.latency_budget_ms=200", "--set", "budget.trials=1", "-o", "json")
    assert done.returncode == ExitCode.OK, done.stderr
    [outcome] = json.loads(done.stdout)
    answer = httpx.post(f"http://{outcome['predictor_host']}/predict", json={"query": "q"}, timeout=20)
    assert (answer.status_code, answer.json()["error"]) == (503, "NoPredictionError")


def test_a_missed_gate_has_its_own_exit_code_a_readable_summary_and_deploys_nothing(project: Project) -> None:
    assert project.run().returncode == ExitCode.OK
    done = project.run(
        "--set", "gates.min_score=1.5", "--set", "budget.trials=2",
        "--report", "out/junit.xml", "--summary", "out/summary.md", "-o", "json",
    )  # fmt: skip
    assert done.returncode == ExitCode.GATE_MISSED
    assert "1.5 wanted" in done.stderr
    assert re.search(rf"{project.app} v1 goes on serving \(best score .*\), which misses min_score too", done.stderr)
    [outcome] = json.loads(done.stdout)
    assert (outcome["outcome"], outcome["app_version"], outcome["predictor_host"]) == ("GATE_MISSED", 2, None)
    [serving] = outcome["serving"]
    assert (serving["app_version"], serving["missed_gates"]) == (1, ["min_score"])
    assert project.serving() == [1], "the version that serves is left alone"
    # And it is still the one that is meant where no version is named.
    assert project.rafiki("infer", "show", project.app, "-o", "json")["app_version"] == 1
    assert project.rafiki("predict", project.app, "--query", '"q"')["query"] == "q"
    assert project.client.get_export(project.app)["app_version"] == 1

    suites = ET.parse(project.folder / "out" / "junit.xml").getroot()
    assert (suites.get("failures"), suites.get("errors")) == ("1", "0")
    [failure] = suites.iter("failure")
    assert "at least 1.5 wanted" in (failure.get("message") or "")
    summary = (project.folder / "out" / "summary.md").read_text()
    assert "gate missed" in summary
    assert f"{project.app} v1 goes on serving" in summary.replace("\\", "")
    assert any("v1 goes on serving" in (s.get("message") or "") for s in suites.iter("skipped"))
    assert "| `min_score` | 1.5 |" in summary
    assert "**missed**" in summary

    assert project.run("--set", "gates.min_score=1.5", "--set", "budget.trials=2").returncode == ExitCode.GATE_MISSED


def test_a_run_is_left_and_gone_on_with(project: Project) -> None:
    gate = project.folder / "gate"
    project.write(train_args={"gate": str(gate)}, budget={"trials": 4})
    left = project.run("--detach")
    assert left.returncode == ExitCode.OK, left.stderr
    assert project.serving() == []

    other = project.run("--set", "budget.trials=9")
    assert other.returncode == ExitCode.REFUSED
    assert f"rafiki train stop {project.app}" in other.stderr

    late = project.run("--timeout", "1s")
    assert late.returncode == ExitCode.TIMED_OUT, late.stderr
    assert "again" in late.stderr

    gate.touch()
    done = project.run()
    assert done.returncode == ExitCode.OK, done.stderr
    [job] = project.records()["train_jobs"]
    assert (job["status"], job["app_version"]) == ("STOPPED", 1)
    assert project.serving() == [1]


def test_two_runs_of_one_file_at_once_end_well_with_one_job(project: Project) -> None:
    project.write(train_args={"sleep_s": 1.0})
    both = [project.start() for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == ExitCode.OK, err
    assert len(project.records()["train_jobs"]) == 1
    assert project.serving() == [1]


def test_a_job_that_was_stopped_by_hand_is_trained_anew(project: Project) -> None:
    project.write(train_args={"sleep_s": 0.2}, budget={"trials": 500})
    assert project.run("--detach").returncode == ExitCode.OK
    eventually(
        lambda: any(t["status"] == "COMPLETED" for t in project.client.get_trials_of_train_job(project.app)),
        "a completed trial",
    )
    project.client.stop_train_job(project.app)
    planned = project.run("--dry-run")
    assert "stopped before its budget was used" in planned.stdout


@pytest.mark.parametrize("option", ["--report", "--summary"])
def test_where_no_report_can_be_written_is_told_before_anything_is_done(project: Project, option: str) -> None:
    (project.folder / "taken").mkdir()
    done = project.run(option, "taken")
    assert done.returncode == ExitCode.USAGE
    assert "it is a folder" in done.stderr
    assert project.records()["train_jobs"] == []


def test_ctrl_c_leaves_the_job_running_and_says_so_in_the_report(project: Project) -> None:
    project.write(train_args={"sleep_s": 2.0}, budget={"trials": 50})
    process = project.start("--report", "junit.xml")
    eventually(lambda: project.client.get_train_jobs_of_app(project.app), "a train job")
    eventually(lambda: project.client.get_trials_of_train_job(project.app), "a trial")
    process.send_signal(2)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "the job goes on" in err
    assert "interrupted" in (project.folder / "junit.xml").read_text()
    assert project.client.get_train_job(project.app)["status"] in ("STARTED", "RUNNING")
    project.client.stop_train_job(project.app)


def test_a_run_outlives_a_restart_of_the_admin(tmp_path: Path) -> None:
    own = RunningStack(tmp_path / "stack")
    own.up()
    try:
        (tmp_path / "project").mkdir()
        project = Project(own, tmp_path / "project")
        gate = tmp_path / "gate"
        project.write(train_args={"gate": str(gate), "n_free": 2}, budget={"trials": 8})
        process = project.start(variables={"RAFIKI_TOKEN": own.client().token or ""})
        eventually(
            lambda: any(t["status"] == "COMPLETED" for t in project.client.get_trials_of_train_job(project.app))
            if project.client.get_train_jobs_of_app(project.app) else False,
            "a completed trial",
        )  # fmt: skip
        own.kill_admin()
        own.up()
        gate.touch()
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == ExitCode.OK, err
        assert "8 trials completed" in out
        assert "serves at http://" in err
    finally:
        own.down()


def test_a_job_without_one_completed_trial_exits_with_its_own_code_and_tells_why(project: Project) -> None:
    broken = project.model.replace("time.sleep(sleep_s)", 'raise ValueError("no such column")')
    (project.folder / "model.py").write_text(broken)
    done = project.run("--report", "junit.xml")
    assert done.returncode in (ExitCode.NO_RESULT, ExitCode.JOB_ERRORED)
    assert "no such column" in done.stderr
    assert ET.parse(project.folder / "junit.xml").getroot().get("errors") == "1"
    assert project.serving() == []


def test_a_model_that_does_not_load_is_refused_with_its_place_and_leaves_its_name_free(project: Project) -> None:
    (project.folder / "model.py").write_text("import a_package_that_nobody_has\n" + project.model)
    before = project.records()
    done = project.run()
    assert done.returncode == ExitCode.REFUSED
    assert "job.yaml, line 1" in done.stderr
    assert "a_package_that_nobody_has" in done.stderr
    after = project.records()
    assert (after["models"], after["train_jobs"]) == (before["models"], [])
    (project.folder / "model.py").write_text(project.model)
    assert project.run().returncode == ExitCode.OK


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ({"datasets": {"train": {"name": "nowhere"}, "val": "data.bin"}}, ExitCode.NOT_FOUND, "no dataset 'nowhere'"),
        ({"models": [{"name": "Nobody"}]}, ExitCode.NOT_FOUND, "no model 'Nobody'"),
        ({"advisor": "of-another-package"}, ExitCode.REFUSED, "of-another-package"),
        ({"budget": {"trials": 1, "gpus": 99}}, ExitCode.REFUSED, "GPU_COUNT is 99"),
    ],
)
def test_what_only_the_server_can_tell_is_refused_before_anything_is_trained(
    project: Project, more: dict[str, Any], code: ExitCode, says: str
) -> None:
    project.write(**more)
    done = project.run()
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert project.records()["train_jobs"] == []


def test_several_jobs_of_one_file_have_their_turn_though_one_fails(project: Project, stack: RunningStack) -> None:
    one = json.loads(project.text(gates={"min_score": 2.0}))
    two = {**json.loads(project.text()), "app": f"{project.app}-two"}
    (project.folder / "job.yaml").write_text(json.dumps({"jobs": [one, two]}))
    done = project.run("-o", "jsonl")
    assert done.returncode == ExitCode.GATE_MISSED, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    results = [e for e in events if e["type"] == "result"]
    assert [(r["app"], r["outcome"]) for r in results] == [(one["app"], "GATE_MISSED"), (two["app"], "OK")]
    assert sum(e["type"] == "trial" for e in events) >= 6
    assert project.serving() == []
    project.client.stop_inference_job(two["app"])


def test_an_address_is_fetched_once(stack: RunningStack, tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    asked: list[str] = []

    class Files(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"data from afar")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    Thread(target=server.serve_forever, daemon=True).start()
    own = RunningStack(tmp_path / "stack", {"admin": {"allow_private_dataset_urls": True}})
    own.up()
    try:
        (tmp_path / "project").mkdir()
        project = Project(own, tmp_path / "project")
        url = f"http://127.0.0.1:{server.server_port}/far.bin?key=secret"
        project.write(datasets={"train": url, "val": {"url": url}})
        token = {"RAFIKI_TOKEN": own.client().token or ""}
        first = project.run(variables=token)
        assert first.returncode == ExitCode.OK, first.stderr
        assert "secret" not in first.stderr
        n_asked = len(asked)
        second = project.run(variables=token)
        assert "Nothing has changed" in second.stderr, second.stderr
        assert len(asked) == n_asked
        assert n_asked == 1
    finally:
        own.down()
        server.shutdown()


def test_a_job_says_which_commit_it_was_made_from(project: Project) -> None:
    assert project.run(variables={"GITHUB_SHA": "abc123"}).returncode == ExitCode.OK
    records = project.records()
    assert records["train_jobs"][0]["labels"]["commit"] == "abc123"
    assert records["inference_jobs"][0]["labels"]["commit"] == "abc123"


def test_a_new_projects_file_is_trained_alone_and_run_goes_on_from_there(stack: RunningStack, tmp_path: Path) -> None:
    def rafiki(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_here(*arguments, folder=tmp_path, environment=stack.environment)

    (tmp_path / "rafiki.yaml").write_text(f"{{admin: {{port: {stack.port}}}, stack: {{folder: {stack.root}}}}}\n")
    app = f"app-{os.getpid()}-{next(_numbers)}"
    assert rafiki("init", "demo", "--name", app).returncode == ExitCode.OK
    first = rafiki("train", "create", "-f", "demo/job.yaml", "--trials", "2", "-o", "json")
    assert first.returncode == ExitCode.OK, first.stderr
    assert "`ensemble` and `gates` of demo/job.yaml take effect with `rafiki run`" in first.stderr
    client = stack.client()
    job = client.get_train_job(app, 1)
    assert job["id"] == json.loads(first.stdout)["id"]
    spec = yaml.safe_load((tmp_path / "demo" / "job.yaml").read_text())
    assert job["budget"] == {"MODEL_TRIAL_COUNT": 2, "TIME_HOURS": spec["budget"]["hours"],
                             "CPU_WORKER_COUNT": spec["budget"]["workers"], "GPU_COUNT": 0}  # fmt: skip
    datasets = {d["id"]: d for d in client.get_datasets()}
    for part in ("train", "val"):
        content = (tmp_path / "demo" / spec["datasets"][part]).read_bytes()
        assert datasets[job[f"{part}_dataset_id"]]["sha256"] == hashlib.sha256(content).hexdigest()
    assert [m["model_name"] for m in job["models"]] == [spec["models"][0]["class"]]
    eventually(lambda: client.get_train_job(app, 1)["status"] == "STOPPED", "an ended train job")

    again = rafiki("train", "create", "-f", "demo/job.yaml", "--trials", "1", "--watch")
    assert again.returncode == ExitCode.OK, again.stderr
    assert "uploading" not in again.stderr
    assert client.get_train_job(app, 2)["models"][0]["model_id"] == job["models"][0]["model_id"]
    assert {d["id"] for d in client.get_datasets()} == set(datasets)
    assert client.get_inference_jobs_of_app(app) == []

    planned = rafiki("run", "demo/job.yaml", "--set", "budget.trials=1", "--dry-run", "-o", "json")
    verbs = [(s["kind"], s["verb"]) for s in json.loads(planned.stdout)[0]["steps"]]
    assert verbs[-2:] == [("train", "reuse"), ("deploy", "create")], planned.stdout
