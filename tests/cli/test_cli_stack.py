from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.stacks.running_stack import eventually, kill

from rafiki.constants import ExitCode
from rafiki.utils.pid_file import PidFile
from rafiki.utils.process import STACK_VARIABLE
from rafiki_cli.application import Application
from rafiki_cli.main import main
from rafiki_cli.target import stack_process
from rafiki_cli.target.health import health


@pytest.fixture
def port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        free: int = s.getsockname()[1]
        return free


@pytest.fixture
def stack(cli, folder: Path, port: int) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """The command line in the folder of a stack, which is stopped at the end."""
    (folder / "rafiki.yaml").write_text(f"admin: {{port: {port}}}\n")
    yield cli
    main(["down"])


def _pid(folder: Path, name: str) -> int:
    running = PidFile.load(folder / ".rafiki" / "run" / f"{name}.json")
    assert running is not None
    return running.process.pid


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_up_status_login_and_down(stack, folder: Path, port: int) -> None:
    assert stack("up").code == 0
    admin, cache = _pid(folder, "admin"), _pid(folder, "cache")
    again = stack("up")
    assert again.code == 0
    assert f"runs already at http://127.0.0.1:{port}" in again.err
    state = json.loads(stack("status", "-o", "json").out)
    assert (state["admin"]["is_up"], state["admin"]["status"], state["admin"]["pid"]) == (True, "ok", admin)
    assert stack("login").code == 0
    assert json.loads(stack("whoami", "-o", "json").out)["email"] == "superadmin@rafiki"
    assert json.loads(stack("status", "-o", "json").out)["services"] == []
    assert stack("down").code == 0
    assert not _is_alive(admin)
    assert not _is_alive(cache)
    assert stack("status").code == ExitCode.UNREACHABLE
    assert "No stack runs" in stack("down").err
    for command in (["train", "list"], ["logs", "admin", "--follow"]):
        result = stack(*command)
        assert (result.code, "with `rafiki up`" in result.err) == (ExitCode.UNREACHABLE, True), command


def test_two_ups_at_once_start_one_admin(stack, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "rafiki_cli", "up"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    said = sorted(p.communicate()[1].splitlines()[0] for p in both)
    assert [p.returncode for p in both] == [0, 0]
    assert [" already " in line for line in said].count(True) == 1


def test_after_a_killed_admin_up_starts_again_and_down_leaves_nothing(stack, folder: Path) -> None:
    assert stack("up").code == 0
    kill(_pid(folder, "admin"))
    for command in (["status"], ["train", "list"], ["logs", "admin", "--follow"]):
        result = stack(*command)
        assert (result.code, "has ended without `rafiki down`" in result.err) == (ExitCode.UNHEALTHY, True), command
    assert stack("up").code == 0
    cache = _pid(folder, "cache")
    kill(_pid(folder, "admin"))
    assert stack("down").code == 0
    assert not _is_alive(cache)


def test_a_taken_port_is_named_with_the_setting_that_changes_it(stack, folder: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        result = stack("up")
    assert result.code == ExitCode.FAILURE
    assert f"127.0.0.1:{port}" in result.err
    assert "admin.port" in result.err
    assert not (folder / ".rafiki").exists()


def test_the_admin_of_another_folder_is_not_taken_for_that_of_this_one(
    stack, folder: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stack("up").code == 0
    assert "does not belong" not in stack("status").err
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rafiki.yaml").write_text(f"admin: {{port: {port}}}\n")
    monkeypatch.chdir(elsewhere)
    result = stack("status")
    assert f"folder {folder / '.rafiki'}" in result.out
    assert f"does not belong to {elsewhere / '.rafiki'}" in result.err
    assert json.loads(stack("status", "-o", "json").out)["folder"] == str(folder / ".rafiki")
    monkeypatch.chdir(folder)


def test_what_is_left_of_a_stack_without_its_admin_is_not_explained_by_a_login(stack, folder: Path) -> None:
    assert stack("up").code == 0
    environment = {**os.environ, STACK_VARIABLE: str(folder / ".rafiki")}
    left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment)
    try:
        kill(_pid(folder, "admin"))
        result = stack("status")
    finally:
        left.kill()
        left.wait()
    assert result.code == ExitCode.UNHEALTHY
    assert str(left.pid) in result.out
    assert "rafiki login" not in result.err
    assert "rafiki down" in result.err


def test_an_admin_that_cannot_start_is_reported_in_its_own_words(stack, folder: Path) -> None:
    (folder / ".rafiki").mkdir()
    (folder / ".rafiki" / "secrets.json").write_text("{")
    result = stack("up")
    assert result.code == ExitCode.FAILURE
    assert "secrets.json" in result.err
    assert "Traceback" not in result.err


def test_a_folder_that_cannot_be_made_is_a_clear_error(stack, folder: Path) -> None:
    (folder / ".rafiki").write_text("in the way")
    result = stack("up")
    assert result.code == ExitCode.USAGE
    assert "stack.folder" in result.err


def test_an_admin_in_the_foreground_ends_with_the_signal(stack, folder: Path, port: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-m", "rafiki_cli", "up", "--foreground"], env=environment)
    try:
        eventually(lambda: health("127.0.0.1", port) is not None, "a healthy admin")
        assert stack_process.find_running(Application().stack_folder()).pid == process.pid  # type: ignore[union-attr]
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
