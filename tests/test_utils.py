from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import psutil
import pytest

from rafiki.utils.clock import Deadline, utc_now
from rafiki.utils.files import read_text, tail_lines, write_atomic, write_private
from rafiki.utils.ids import derive_secret, new_id, new_secret
from rafiki.utils.pid_file import PidFile, ProcessHandle, handle_of
from rafiki.utils.process import (
    SERVICE_VARIABLE,
    STACK_VARIABLE,
    Backoff,
    end_processes,
    find_stack_processes,
    wait_until,
)
from rafiki.utils.sockets import any_free_port, is_free, listen

Start = Callable[..., subprocess.Popen[str]]
READY = "print('ready', flush=True)\n"
WAIT = READY + "import signal\nsignal.pause()\n"
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + "while True:\n    signal.pause()\n"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python code and wait for its first line."""
    children: list[subprocess.Popen[str]] = []

    def begin(code: str, **environment: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    yield begin
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


# ---- processes


def test_a_handle_names_its_process_until_that_has_ended(start: Start) -> None:
    child = start(WAIT)
    handle = handle_of(child.pid)
    assert handle.is_alive()
    child.kill()
    # A zombie, until its parent has asked for its exit code, does not count as alive.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not handle.is_alive()
    child.wait()
    assert not handle.is_alive()
    with pytest.raises(psutil.NoSuchProcess):
        handle_of(child.pid)


def test_a_pid_that_is_used_again_is_another_process(start: Start) -> None:
    handle = handle_of(start(WAIT).pid)
    earlier = ProcessHandle(handle.pid, handle.create_time - 100)
    assert (handle.is_alive(), earlier.is_alive()) == (True, False)


def test_processes_of_a_stack_are_found_by_their_environment(start: Start, tmp_path: Path) -> None:
    mine = [start(WAIT, **{STACK_VARIABLE: str(tmp_path), SERVICE_VARIABLE: s}).pid for s in ("a", "b")]
    start(WAIT, **{STACK_VARIABLE: str(tmp_path / "another")})
    assert {p.pid for p in find_stack_processes(tmp_path)} == set(mine)
    assert [p.pid for p in find_stack_processes(tmp_path, service_id="b")] == mine[1:]
    assert find_stack_processes(tmp_path, service_id="c") == []


def test_who_does_not_listen_to_sigterm_is_killed(start: Start) -> None:
    children = [psutil.Process(start(code).pid) for code in (WAIT, DEAF)]
    end_processes(children, 0.3)
    # psutil keeps the exit code of a process that it has waited for.
    assert [c.wait() for c in children] == [-signal.SIGTERM, -signal.SIGKILL]


def test_ending_what_has_ended_is_no_error(start: Start) -> None:
    child = start(WAIT)
    process = psutil.Process(child.pid)
    child.kill()
    child.wait()
    end_processes([process], 1.0)
    end_processes([], 1.0)
    assert not process.is_running()


def test_a_pid_file_counts_while_its_process_lives(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    child = start(WAIT)
    written = PidFile(process=handle_of(child.pid), host="127.0.0.1", port=3000)
    written.save(path)
    assert PidFile.load(path) == written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    child.kill()
    child.wait()
    assert PidFile.load(path) is None


@pytest.mark.parametrize("text", [None, "", "{}", "123", "\0" * 100, '{"process": {"pid": 1}}'])
def test_a_missing_or_damaged_pid_file_names_nobody(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "server.json"
    if text is not None:
        path.write_text(text)
    assert PidFile.load(path) is None


# ---- the stop signal

STEPS = """
import os, signal
from rafiki.utils.process import ServiceStopped, StopSignal
stop = StopSignal()
stop.install()
def kill(n=signal.SIGTERM):
    os.kill(os.getpid(), n)
"""


def run(code: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", STEPS + code], capture_output=True, text=True, timeout=30,
        cwd=Path(__file__).resolve().parent.parent,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.split()


def test_the_first_signal_outside_of_a_wait_lets_the_step_end() -> None:
    code = "assert not stop.is_set()\nkill()\nprint('finished', stop.is_set(), stop.wait(30), flush=True)\n"
    assert run(code) == (0, ["finished", "True", "True"])


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_the_first_signal_ends_a_wait_though_model_code_catches_everything(number: str) -> None:
    code = f"""
try:
    with stop.interruptible():
        try:
            kill(signal.{number})
            signal.pause()
        except Exception:
            print("swallowed", flush=True)
except ServiceStopped:
    print("stopped", flush=True)
"""
    assert run(code) == (0, ["stopped"])


def test_a_signal_that_came_before_a_wait_ends_it_at_once() -> None:
    code = """
kill()
try:
    with stop.interruptible():
        print("never", flush=True)
except ServiceStopped:
    print("stopped", flush=True)
"""
    assert run(code) == (0, ["stopped"])


def test_the_second_signal_ends_the_process_at_once() -> None:
    code = "kill()\nprint('first', flush=True)\nkill(signal.SIGINT)\nprint('never', flush=True)\n"
    assert run(code) == (128 + signal.SIGINT, ["first"])


def test_without_a_signal_a_wait_ends_by_itself() -> None:
    code = "with stop.interruptible():\n    print(stop.wait(0.01), flush=True)\n"
    assert run(code) == (0, ["False"])


# ---- waiting


def test_delays_grow_to_their_cap_and_start_anew_after_a_success() -> None:
    backoff = Backoff(1.0, 5.0)
    assert [backoff.next_s() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next_s() == 1.0


def test_waiting_ends_with_the_condition_or_the_deadline() -> None:
    looks = iter([False, False, True])
    assert wait_until(lambda: next(looks), Deadline(30.0))
    assert not wait_until(lambda: False, Deadline(0.02))
    assert wait_until(lambda: True, Deadline(0.0))


def test_a_deadline_has_no_time_left_once_it_is_over() -> None:
    over, far = Deadline(0.0), Deadline(60.0)
    assert (over.is_over(), over.left_s()) == (True, 0.0)
    assert not far.is_over()
    assert 0 < far.left_s() <= 60.0
    assert utc_now().tzinfo is UTC


# ---- files, secrets, sockets


def test_a_file_is_replaced_whole_and_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read_text(path) is None
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert read_text(path) == "new"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_atomic(tmp_path / "folder", b"a folder cannot be replaced by a file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    write_private(path, "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("count", "expected"), [(2, ["b", "c"]), (9, ["a", "b", "c"])])
def test_the_last_lines_of_a_log_are_read(tmp_path: Path, count: int, expected: list[str]) -> None:
    (tmp_path / "log").write_text("a\nb\nc\n")
    assert tail_lines(tmp_path / "log", count) == expected
    assert tail_lines(tmp_path / "none", count) == []


def test_ids_and_secrets_are_fresh_and_derived_ones_are_repeatable() -> None:
    assert len({new_id() for _ in range(100)}) == len({new_secret() for _ in range(100)}) == 100
    assert derive_secret("master", "job 1") == derive_secret("master", "job 1")
    assert len({derive_secret("master", "job 1"), derive_secret("master", "job 2"), derive_secret("m", "job 1")}) == 3


def test_a_port_is_free_until_somebody_listens_on_it() -> None:
    port = any_free_port()
    assert is_free(port)
    with listen("127.0.0.1", port):
        assert not is_free(port)
        with pytest.raises(OSError):
            listen("127.0.0.1", port)
