"""What a command that asks the admin may load: `python -m benchmarks.commands` says what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.http.contract_server import ContractServer

from rafiki.utils.pid_file import PidFile, handle_of

HEAVY = (
    "httpx", "http.client", "ssl", "email", "pydantic", "rich", "numpy", "yaml", "psutil", "sqlalchemy", "secrets",
    "hashlib", "rafiki.utils.mismatch", "rafiki_cli.commands.train_compare", "rafiki_cli.commands.train_importance",
    "rafiki_cli.commands.trial_plot", "rafiki_cli.commands.model_new", "rafiki_cli.commands.model_test",
)  # fmt: skip
COMMANDS = (
    "whoami", "dataset list", "model list", "status", "train list", "train show digits", "train trials digits",
    "trial show digits SkSvm#1", "infer list", "logs", "user list",
)  # fmt: skip


@pytest.fixture
def stack(server: ContractServer, folder: Path, job: dict[str, Any], trial: dict[str, Any]) -> Path:
    """The folder of a stack that runs, as far as its pid file tells, and that a login is kept for."""
    (folder / "rafiki.yaml").write_text(f"# Settings\nadmin:\n  host: 127.0.0.1\n  port: {server.port}\n")
    (folder / ".rafiki" / "run").mkdir(parents=True)
    (folder / ".rafiki" / "logs").mkdir()
    (folder / ".rafiki" / "logs" / "admin.log").write_text("2026-01-01 10:00:00 It runs.\n")
    pid_file = folder / ".rafiki" / "run" / "admin.json"
    PidFile(process=handle_of(os.getpid()), host="127.0.0.1", port=server.port).save(pid_file)
    kept: dict[str, Any] = {"email": "a@rafiki", "user_type": "ADMIN", "token": "t"}
    (folder / "config" / "rafiki").mkdir(parents=True)
    (folder / "config" / "rafiki" / "logins.json").write_bytes(msgspec.json.encode({f"127.0.0.1:{server.port}": kept}))
    for name in ("get_datasets", "get_available_models", "get_services", "get_inference_jobs_by_user", "get_users"):
        server.answers[name] = []
    server.answers |= {
        "get_train_job": job, "get_train_jobs_by_user": [job], "get_trials_of_train_job": [trial], "get_trial": trial,
    }  # fmt: skip
    return folder


def test_a_command_that_asks_the_admin_loads_what_it_needs_and_no_more(stack: Path) -> None:
    code = (
        "import contextlib, io, sys\nfrom rafiki_cli.main import main\n"
        f"for command in {COMMANDS!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        code = main(command.split())\n"
        f"    print(code, command, [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=stack)
    assert done.stdout.splitlines() == [f"0 {command} []" for command in COMMANDS]
