"""Commands as a person runs them: on a terminal, or in the folder of somebody else's stack."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.utils.clock import Deadline
from rafiki.utils.process import wait_until

REPO = Path(__file__).parents[2]
CREATE = ["train", "create", "--app", "digits", "--train", "d", "--val", "d", "--wait"]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rafiki_cli", *arguments]


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1", **more}


@pytest.mark.parametrize("words", [["login", "a@rafiki"], ["user", "create", "b@rafiki"], ["user", "ban", "b@rafiki"]])
@pytest.mark.parametrize(("key", "code"), [(b"\x03", ExitCode.INTERRUPTED), (b"\x04", ExitCode.USAGE)])
def test_a_question_is_left_with_ctrl_c_or_ctrl_d(logged_in, words: list[str], key: bytes, code: ExitCode) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, _command(*words), _environment())
    shown = b""
    while not shown.endswith(b": "):
        shown += os.read(terminal, 1024)
    ended: list[int] = []

    def press() -> bool:
        """Press the key until the command has ended: Python's input() may miss one that comes as it begins to wait."""
        nonlocal shown
        try:
            os.write(terminal, key)
            # Long enough to end in: a second Ctrl-C while Python shuts down would kill it.
            while select.select([terminal], [], [], 8.0)[0]:
                shown += os.read(terminal, 1024)
        except OSError:  # the other end is closed
            ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return bool(ended)

    assert wait_until(press, Deadline(60.0))
    os.close(terminal)
    assert ended == [code]
    assert b"Abort" not in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [(CREATE, 130), ([*CREATE, "-o", "json"], 130), (["train", "watch", "digits"], 0),
     (["train", "watch", "digits", "-o", "json"], 0)],
)  # fmt: skip
def test_ctrl_c_while_a_job_is_watched(
    logged_in, server: ContractServer, job: dict[str, Any], words: list[str], code: int
) -> None:
    server.answers |= {
        "get_datasets": [{"id": "d", "name": "d", "task": "T"}],
        "create_train_job": {"id": "j1", "app": "digits", "app_version": 1},
        "get_train_job": {**job, "status": "RUNNING"},
        "get_trials_of_train_job": [],
    }
    process = subprocess.Popen(
        _command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    )

    def is_watching() -> bool:
        return any(c.name == "watch_train_job" for c in server.calls)

    try:
        assert wait_until(is_watching, Deadline(120))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (code, "")
    assert "the job goes on" in err


def test_watching_with_json_puts_out_the_job_as_it_ended(logged_in, server: ContractServer, job, trial) -> None:
    server.answers |= {"get_train_job": job, "get_trials_of_train_job": [trial]}
    result = logged_in("train", "watch", "digits", "-o", "json")
    assert (result.code, json.loads(result.out)) == (0, job)
    assert "SkSvm#1" in result.err


@pytest.fixture
def closed_folder(server: ContractServer, tmp_path: Path) -> Iterator[Path]:
    """The folder of a stack whose state is closed to us, with an admin that answers."""
    folder = tmp_path
    (folder / "rafiki.yaml").write_text(f"admin: {{port: {server.port}}}\n")
    (folder / "password").write_text("secret")
    state = folder / ".rafiki"
    (state / "run").mkdir(parents=True)
    (state / "run" / "admin.json").write_text("{}")
    (state / "superadmin-password").write_text("first")
    state.chmod(0)
    yield folder
    state.chmod(0o700)


def _obey_modes() -> None:
    """Root opens what is closed, unless it gives up the two capabilities that let it."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP


def _as_somebody_else(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = _environment(XDG_CONFIG_HOME=str(folder / "config"), HOME=str(folder))
    return subprocess.run(
        _command(*arguments), cwd=folder, env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False, preexec_fn=_obey_modes,
    )  # fmt: skip


def test_another_user_talks_to_the_admin_of_a_closed_stack(closed_folder: Path, server: ContractServer) -> None:
    done = _as_somebody_else(closed_folder, "login", "a@rafiki", "--password-file", "password")
    assert done.returncode == 0, done.stderr
    done = _as_somebody_else(closed_folder, "status")
    assert done.returncode == 0, done.stderr
    assert str(closed_folder) in done.stdout
    assert "does not belong" not in done.stderr
    done = _as_somebody_else(closed_folder, "login")
    assert done.returncode == ExitCode.USAGE
    assert "no terminal" in done.stderr


@pytest.mark.parametrize("command", ["logs", "down"])
def test_another_user_neither_reads_the_logs_nor_stops_a_closed_stack(closed_folder: Path, command: str) -> None:
    done = _as_somebody_else(closed_folder, command)
    assert done.returncode == ExitCode.FAILURE
    assert "started by another user" in done.stderr
    assert "unexpected" not in done.stderr
