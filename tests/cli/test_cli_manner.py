"""How commands talk: quiet, colours, hints and questions, on a terminal and off it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode

REPO = Path(__file__).parents[2]
DATASETS = [{"id": f"{i}" * 36, "name": n, "task": "T", "size_bytes": 1, "datetime_created": "2025-01-01T10:00:00Z"}
            for i, n in enumerate(["train", "val"])]  # fmt: skip


def on_terminal(*arguments: str, answer: str = "", **variables: str) -> tuple[int, str]:
    """Run a command with a pseudo-terminal for all its streams; returns its exit code and what it showed."""
    environment = {
        **os.environ, "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1", "TERM": "xterm-256color", **variables,
    }  # fmt: skip
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "rafiki_cli", *arguments], environment)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
            if answer and shown.rstrip().endswith(b":"):
                os.write(terminal, f"{answer}\n".encode())
                answer = ""
    except OSError:  # The other end is closed.
        pass
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return code, shown.decode().replace("\r\n", "\n")


@pytest.fixture
def with_datasets(logged_in, server: ContractServer, folder: Path):
    server.answers["get_datasets"] = DATASETS
    server.answers["create_dataset"] = {**DATASETS[0], "sha256": "ab"}
    server.answers["stop_all_jobs"] = {"train_jobs": [STOPPED], "inference_jobs": []}
    (folder / "train.zip").write_bytes(b"x")
    return logged_in


STOPPED = {"id": "1", "app": "digits", "app_version": 1}
COLOR = re.compile(r"\x1b\[[0-9;]*m")
UPLOAD = ["dataset", "upload", "train.zip", "--task", "T"]


def test_quiet_leaves_data_and_errors(with_datasets) -> None:
    loud = with_datasets("context", "add", "x", "--host", "h:1")
    assert loud.err
    for flag in ("-q", "--quiet"):
        assert with_datasets(flag, "context", "add", "x", "--host", "h:1") == (0, "", "")
        assert with_datasets("dataset", "list", flag).out == with_datasets("dataset", "list").out
        failed = with_datasets("dataset", "show", "nothing", flag)
        assert failed.code == ExitCode.NOT_FOUND
        assert failed.err.startswith("error: ")


def test_quiet_and_verbose_exclude_each_other(cli) -> None:
    result = cli("-q", "-v", "version")
    assert (result.code, "not both" in result.err) == (ExitCode.USAGE, True)


def test_off_a_terminal_there_are_neither_colours_nor_hints(with_datasets) -> None:
    result = with_datasets(*UPLOAD)
    assert result.code == 0
    assert not COLOR.search(result.out + result.err)
    assert "Next:" not in result.err


def test_on_a_terminal_the_next_step_is_told(with_datasets) -> None:
    code, shown = on_terminal(*UPLOAD)
    assert code == 0
    assert "Next: rafiki train create" in COLOR.sub("", shown)
    assert "Next:" not in on_terminal(*UPLOAD, "--quiet")[1]
    assert "Next:" not in on_terminal(*UPLOAD, "-o", "json")[1]


@pytest.mark.parametrize("words", [UPLOAD, ["dataset", "list"], ["dataset", "show", "train"], ["dataset", "show", "x"]])
def test_colours_are_for_terminals_that_do_not_refuse_them(with_datasets, words: list[str]) -> None:
    assert COLOR.search(on_terminal(*words)[1])
    for refused in (
        on_terminal(*words, "--no-color"),
        on_terminal(*words, NO_COLOR="1"),
        on_terminal(*words, TERM="dumb"),
    ):
        # Rich keeps bold type, which is no colour, under NO_COLOR.
        styles = {code for found in COLOR.findall(refused[1]) for code in found[2:-1].split(";")}
        assert styles <= {"", "0", "1", "2"}, refused[1]


def test_no_color_ends_with_its_command(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("--no-color", "version").code == 0
    assert "NO_COLOR" not in os.environ
    monkeypatch.setenv("NO_COLOR", "yes")
    assert cli("--no-color", "version").code == 0
    assert os.environ["NO_COLOR"] == "yes"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stop-all"], "--yes"),
        (["user", "ban", "a@rafiki"], "--yes"),
        (["user", "create", "a@rafiki"], "--password-file"),
        (["user", "password", "b@rafiki"], "--password-file"),
        (["user", "password"], "--old-password-file"),
        (["login", "a@rafiki"], "--password-stdin"),
    ],
)
def test_without_a_terminal_a_question_is_a_usage_error_that_names_the_option(
    with_datasets, server: ContractServer, words: list[str], says: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rafiki_cli", *words], env={**os.environ, "PYTHONPATH": str(REPO)}, text=True,
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert says in done.stderr
    assert server.calls[-1].name not in ("stop_all_jobs", "ban_user", "create_user", "set_password")


def test_stopping_everything_is_asked_about(with_datasets, server: ContractServer) -> None:
    code, shown = on_terminal("stop-all", answer="n")
    assert (code, "Nothing was stopped" in shown) == (ExitCode.FAILURE, True)
    assert server.calls[-1].name != "stop_all_jobs"
    code, shown = on_terminal("stop-all", answer="y")
    assert (code, "Stopped 1 train job and 0 inference jobs." in shown) == (0, True)


def test_stopping_everything_needs_no_question_with_yes(with_datasets) -> None:
    assert "Stopped 1 train job" in with_datasets("stop-all", "--yes").err
    found = json.loads(with_datasets("stop-all", "--yes", "-o", "json").out)
    assert found == {"train_jobs": [STOPPED], "inference_jobs": []}


def test_a_download_overwrites_nothing_without_force(logged_in, server: ContractServer, folder: Path) -> None:
    model = {"id": "m1", "user_id": "u1", "name": "Svm", "task": "T"}
    server.answers |= {"get_available_models": [model], "get_model_file": b"class Svm: ...\n", "get_model": model}
    assert logged_in("model", "download", "Svm").code == 0
    assert (folder / "Svm.py").read_bytes() == b"class Svm: ...\n"
    server.answers["get_model_file"] = b"new"
    refused = logged_in("model", "download", "Svm")
    assert (refused.code, "--force" in refused.err) == (ExitCode.USAGE, True)
    assert (folder / "Svm.py").read_bytes() == b"class Svm: ...\n"
    assert logged_in("model", "download", "Svm", "--force").code == 0
    assert (folder / "Svm.py").read_bytes() == b"new"
    (folder / "models").mkdir()
    assert logged_in("model", "download", "Svm", "--to", "models").code == 0
    assert (folder / "models" / "Svm.py").read_bytes() == b"new"
