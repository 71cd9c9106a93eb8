"""A real Prometheus, as Debian ships it, with a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.stacks.running_stack import eventually

from rafiki.utils.sockets import any_free_port


def find_program(name: str) -> str:
    """``prometheus`` or ``promtool``; skips the test where there is none, and fails it in CI."""
    found = shutil.which(name)
    if found is None:
        told = f"There is no {name} here: apt-get install prometheus"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(told)
        pytest.skip(told)
    return found


def check_metrics(text: str) -> str:
    """What ``promtool check metrics`` finds wrong with a page of metrics; empty = nothing."""
    done = subprocess.run(
        [find_program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


class PrometheusServer:
    """One server, which scrapes once a second."""

    def __init__(self, folder: Path, scrape_configs: list[dict[str, Any]]) -> None:
        program = find_program("prometheus")
        folder.mkdir(parents=True)
        config = folder / "prometheus.yml"
        config.write_text(
            yaml.safe_dump(
                {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": scrape_configs}
            )
        )
        port = any_free_port()
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
        eventually(self._is_ready, "a Prometheus that is ready")

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, query: str) -> dict[tuple[str, ...], float]:
        """The answer to a query in PromQL: the values of the labels but `instance` and `job`, sorted by the labels'
        names, -> the value."""
        answer = self._http.get("/api/v1/query", params={"query": query}).json()
        assert answer["status"] == "success", answer
        assert answer["data"]["resultType"] == "vector", answer
        return {
            tuple(v for name, v in sorted(r["metric"].items()) if name not in ("__name__", "instance", "job")): float(
                r["value"][1]
            )
            for r in answer["data"]["result"]
        }

    def eventually(self, query: str, expected: dict[tuple[str, ...], float]) -> None:
        """Wait until a query is answered like that."""
        try:
            eventually(lambda: self.ask(query) == expected, f"{query} = {expected}")
        except AssertionError as e:
            raise AssertionError(f"{e}; it is {self.ask(query)}") from e

    def close(self) -> None:
        self._http.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
