"""A real MLflow server, in an environment of its own: what it needs is not what Rafiki needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.stacks.running_stack import eventually

from rafiki.utils.sockets import any_free_port

VARIABLE = "RAFIKI_TEST_MLFLOW"
"""Names the program."""
_USUAL = Path(sys.prefix) / ".mlflow" / "bin" / "mlflow"
"""Where ``.ci/run`` installs it."""


def find_mlflow() -> Path:
    """The program; skips the test where there is none, and fails it in CI."""
    program = Path(os.environ.get(VARIABLE, _USUAL))
    if program.exists():
        return program
    told = f"there is no MLflow: {program}. Install it into an environment of its own, and name it with {VARIABLE}."
    if os.environ.get("CI") == "true":
        pytest.fail(told)
    pytest.skip(told)


class MlflowServer:
    """One server with its database in a folder. It can be killed, and started again with what it had."""

    def __init__(self, folder: Path) -> None:
        self._program = find_mlflow()
        self._folder = folder
        self._port = any_free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        with (self._folder / "mlflow.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), "server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1",
                 "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db",
                 "--artifacts-destination", str(self._folder / "artifacts")],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "MLFLOW_DISABLE_TELEMETRY": "true",
                     "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )  # fmt: skip
        eventually(self._answers, f"an MLflow server; its log is in {self._folder}", 400)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """Its processes, all at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    # ---- what it knows, by its own API

    def ask(self, path: str, **request: Any) -> Any:
        answer = httpx.post(f"{self.url}/api/2.0/mlflow/{path}", json=request, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        """The runs of an experiment, each with params, metrics and tags as dicts."""
        found = httpx.get(
            f"{self.url}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": experiment}, timeout=60
        )
        if found.status_code == 404:
            return []
        experiment_id = found.json()["experiment"]["experiment_id"]
        runs = self.ask("runs/search", experiment_ids=[experiment_id], max_results=1000).get("runs", [])
        return [
            {
                **run["info"],
                **{
                    kind: {e["key"]: e["value"] for e in run.get("data", {}).get(kind, [])}
                    for kind in ("params", "metrics", "tags")
                },
            }
            for run in runs
        ]

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of all that was logged of a metric."""
        found = httpx.get(
            f"{self.url}/api/2.0/mlflow/metrics/get-history", params={"run_id": run_id, "metric_key": metric},
            timeout=60,
        ).json()  # fmt: skip
        return [(m["step"], m["value"]) for m in found.get("metrics", [])]

    def artifacts(self, run_id: str) -> dict[str, int]:
        """Name -> size in bytes."""
        found = httpx.get(f"{self.url}/api/2.0/mlflow/artifacts/list", params={"run_id": run_id}, timeout=60).json()
        return {f["path"]: f["file_size"] for f in found.get("files", [])}
