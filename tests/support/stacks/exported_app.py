"""An export of a deployed app, used where there is no Rafiki: it has to answer as the app's predictor does."""

from __future__ import annotations

import json
import os
import signal
import site
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.stacks.running_stack import RunningStack

from rafiki.client.prediction import PredictorClient


def make_python(folder: Path) -> Path:
    """An interpreter with the packages of this one, but without any Rafiki."""
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    packages = folder / "packages"
    packages.mkdir()
    for home in site.getsitepackages():
        for entry in Path(home).iterdir():
            # Also not by a file that adds folders or finders to the path, as editable installs have them.
            if "rafiki" not in entry.name.lower() and entry.suffix != ".pth" and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    [library] = (folder / "venv" / "lib").glob("python3*/site-packages")
    (library / "packages.pth").write_text(f"{packages}\n")
    python = folder / "venv" / "bin" / "python"
    tried = subprocess.run([python, "-I", "-c", "import rafiki"], capture_output=True, text=True, check=False)
    assert "No module named 'rafiki'" in tried.stderr
    return python


class Exported:
    """The export of an app that is deployed, made in a folder."""

    def __init__(self, stack: RunningStack, app: str, folder: Path) -> None:
        self._stack, self._app, self._home = stack, app, folder
        self.folder = folder / "export"
        self.manifest = self._cli("export", app, "--to", str(self.folder), "-o", "json")
        # The command itself has compared examples of the validation dataset with the predictor.
        assert self.manifest["checked"] == {"n_queries": 3, "is_compared": True}

    def _cli(self, *arguments: str) -> dict[str, Any]:
        environment = {**self._stack.environment, "XDG_CONFIG_HOME": str(self._home / "config")}
        command = [sys.executable, "-m", "rafiki_cli", "--admin", f"127.0.0.1:{self._stack.port}"]
        login = ["login", "superadmin@rafiki", "--password-file", str(self._stack.root / "superadmin-password")]
        subprocess.run([*command, *login], env=environment, check=True, capture_output=True)
        done = subprocess.run(
            [*command, *arguments], env=environment, cwd=self._home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def predict(self, python: Path, queries: Sequence[Any]) -> list[Any]:
        """What its predict.py says, to queries in a file."""
        file = self._home / "queries.json"
        file.write_text(json.dumps(queries))
        return json.loads(self.run(python, "predict.py", "--queries-file", str(file)))

    def predict_lines(self, python: Path, queries: Sequence[Any]) -> list[Any]:
        """What its predict.py says, to queries on stdin."""
        lines = self.run(python, "predict.py", stdin="".join(f"{json.dumps(q)}\n" for q in queries))
        return [json.loads(line) for line in lines.splitlines()]

    def run(self, python: Path, script: str, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [python, "-I", self.folder / script, *arguments], input=stdin, capture_output=True, text=True,
            cwd=self._home, env={"PATH": os.environ["PATH"]}, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def serve(self, python: Path) -> Iterator[PredictorClient]:
        """Its serve.py, as a predictor's client finds it."""
        server = subprocess.Popen(
            [python, "-I", self.folder / "serve.py", "--port", "0"], stderr=subprocess.PIPE, text=True, cwd=self._home
        )
        try:
            assert server.stderr is not None
            # Models may warn before it listens.
            line = next((text for text in server.stderr if "http://" in text), "")
            assert line.startswith(f"{self._app} v1: http://127.0.0.1:"), line
            with PredictorClient(line.split("http://")[1].partition("/")[0]) as client:
                yield client
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
        finally:
            server.kill()
            server.communicate()


def check_export(
    stack: RunningStack, python: Path, app: str, queries: Sequence[Any], inside: Sequence[Any], folder: Path
) -> dict[str, Any]:
    """Compare what the deployed app's predictor answered with what its export answers: by file, by line and over HTTP.
    Returns the manifest."""
    assert len({json.dumps(p) for p in inside}) > 1, "every prediction is the same: nothing is shown by comparing"
    exported = Exported(stack, app, folder)
    same = _near(inside)
    assert exported.predict(python, queries) == same
    assert exported.predict_lines(python, queries) == same
    with exported.serve(python) as client:
        assert client.predict_many(queries) == same
        assert client.predict(queries[0]) == same[0]
        health = client.get_health()
    members = [m["trial_id"] for m in exported.manifest["members"]]
    assert [health["task"], health["members"]] == [exported.manifest["task"], members]
    return exported.manifest


def _near(predictions: Sequence[Any]) -> list[Any]:
    """Texts and tags exactly; other numbers up to what single precision makes of batches of other sizes."""
    return [p if isinstance(p, str) else pytest.approx(p, rel=1e-4, abs=1e-6) for p in predictions]
