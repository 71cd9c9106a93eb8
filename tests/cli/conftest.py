"""The command line in a folder of its own, with a server of the contract where a test needs an admin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.http.complete_answers import completed
from support.http.contract_server import ContractServer

from rafiki import __version__
from rafiki.contract.train_jobs import TrainJobView, TrialView
from rafiki_cli.main import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Cli:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Result:
        code = main(list(arguments))
        out, err = self._capsys.readouterr()
        return Result(code, out, err)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, without any setting from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("RAFIKI_CONFIG", "RAFIKI_HOST", "RAFIKI_TOKEN", "NO_COLOR", "_RAFIKI_COMPLETE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def cli(folder: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def server() -> Iterator[ContractServer]:
    running = ContractServer(is_complete=True)
    running.answers["get_health"] = {"name": "rafiki", "version": __version__, "status": "ok"}
    running.answers["login"] = {"user_id": "u1", "user_type": "ADMIN", "token": "t"}
    running.answers["get_current_user"] = {"id": "u1", "email": "a@rafiki", "user_type": "ADMIN", "banned_date": None}
    yield running
    running.close()


@pytest.fixture
def logged_in(cli: Cli, server: ContractServer, folder: Path) -> Cli:
    """The command line, logged in at the server that rafiki.yaml names."""
    (folder / "rafiki.yaml").write_text(f"admin: {{port: {server.port}}}\n")
    (folder / "password").write_text("secret\n")
    assert cli("login", "a@rafiki", "--password-file", "password").code == 0
    return cli


TRIAL: dict[str, Any] = completed(
    {
        "id": "t1",
        "train_job_id": "j1",
        "no": 1,
        "worker_id": "w",
        "attempt": 1,
        "proposal": {"knobs": {"kernel": "rbf", "C": 1.25}},
        "status": "COMPLETED",
        "score": 0.9,
        "error": None,
        "model_name": "SkSvm",
        "is_params_saved": True,
        "datetime_started": "2025-01-01T10:00:00Z",
        "datetime_stopped": "2025-01-01T10:00:04Z",
    },
    TrialView,
)
JOB: dict[str, Any] = completed(
    {
        "id": "j1",
        "user_id": "u1",
        "status": "STOPPED",
        "outcome": "COMPLETED",
        "error": None,
        "app": "digits",
        "app_version": 1,
        "task": "IMAGE_CLASSIFICATION",
        "train_dataset_id": "d1",
        "val_dataset_id": "d2",
        "train_args": {},
        "budget": {"TIME_HOURS": 0.1, "GPU_COUNT": 0, "MODEL_TRIAL_COUNT": 2, "CPU_WORKER_COUNT": 1},
        "models": [{"id": "s1", "model_id": "m1", "model_name": "SkSvm", "status": "STOPPED", "error": None}],
        "datetime_started": "2025-01-01T10:00:00Z",
        "datetime_stopped": "2025-01-01T10:00:10Z",
    },
    TrainJobView,
)


@pytest.fixture
def trial() -> dict[str, Any]:
    return {**TRIAL}


@pytest.fixture
def job() -> dict[str, Any]:
    return {**JOB}
