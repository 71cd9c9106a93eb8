"""An export of each task predicts outside the stack what its predictor answered inside."""

from __future__ import annotations

import importlib.util
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

import numpy as np
import pytest
from support.data.spoken_digits import write_recordings
from support.data.task_files import read_corpus, read_images, read_rows, real_data, split_csv, write_corpus
from support.stacks.deployed_job import DeployedJob, with_fixed_knobs
from support.stacks.running_stack import RunningStack

from rafiki.client.prediction import PredictorClient

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

ROOT = Path(__file__).parents[2]
SHARES = {"train": 0.5, "val": 0.2, "test": 0.1}
QUICK_CTC = {
    "filters": 48, "hidden_size": 64, "layers": 1, "dropout": 0.1, "learning_rate": 5e-3, "batch_size": 8,
    "max_epochs": 8, "known_words_only": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the packages of this one, but without any Rafiki."""
    folder = tmp_path_factory.mktemp("elsewhere")
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
    """A deployed app, what its predictor answers, and its export made meanwhile."""

    def __init__(self, stack: RunningStack, job: DeployedJob, folder: Path, ensemble: dict[str, Any] | None) -> None:
        self._stack, self._job, self._home = stack, job, folder
        self._ensemble = ensemble
        self.folder = folder / "export"

    def make(self, queries: Sequence[Any], *options: str) -> tuple[list[Any], dict[str, Any]]:
        """The predictor's answers and the manifest."""
        client = self._stack.client()
        host = client.create_inference_job(self._job.app, ensemble=self._ensemble)["predictor_host"]
        try:
            with PredictorClient(host) as predictor:
                inside = predictor.predict_many(queries)
            told = self._cli("export", self._job.app, "--to", str(self.folder), "-o", "json", *options)
        finally:
            client.stop_inference_job(self._job.app)
        # The command itself has compared examples of the validation dataset with the predictor.
        assert told["checked"] == {"n_queries": 3, "is_compared": True}
        return inside, told

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
            assert line.startswith(f"{self._job.app} v1: http://127.0.0.1:"), line
            with PredictorClient(line.split("http://")[1].partition("/")[0]) as client:
                yield client
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
        finally:
            server.kill()
            server.communicate()


def check_same(
    stack: RunningStack, python: Path, job: DeployedJob, queries: Sequence[Any], folder: Path, **ensemble: Any
) -> dict[str, Any]:
    """Inside and outside, by file, by line and over HTTP."""
    exported = Exported(stack, job, folder, ensemble or None)
    inside, manifest = exported.make(queries)
    assert len({json.dumps(p) for p in inside}) > 1, "every prediction is the same: nothing is shown by comparing"
    same = _near(inside)
    assert exported.predict(python, queries) == same
    assert exported.predict_lines(python, queries) == same
    with exported.serve(python) as client:
        assert client.predict_many(queries) == same
        assert client.predict(queries[0]) == same[0]
        health = client.get_health()
    assert [health["task"], health["members"]] == [manifest["task"], [m["trial_id"] for m in manifest["members"]]]
    return manifest


def _near(predictions: list[Any]) -> list[Any]:
    """Texts and tags exactly; other numbers up to what single precision makes of batches of other sizes."""
    return [p if isinstance(p, str) else pytest.approx(p, rel=1e-4, abs=1e-6) for p in predictions]


def test_tabular_classification_with_a_weighted_ensemble(stack: RunningStack, python: Path, tmp_path: Path) -> None:
    train, val, test = split_csv(real_data("titanic.csv"), tmp_path, SHARES)
    job = DeployedJob(stack, "TABULAR_CLASSIFICATION", "export")
    models = [
        ("tabular/hist_gradient_boosting.py", "HistGradientBoostingClassifier"),
        ("tabular/linear.py", "LogisticClassifier"),
    ]
    job.train(train, val, models, n_trials=3)
    queries, _ = read_rows(test, "survived")
    manifest = check_same(stack, python, job, queries, tmp_path, method="greedy", size=4)
    assert sum(m["weight"] for m in manifest["members"]) == pytest.approx(1.0)
    assert any(line.startswith("scikit-learn==") for line in manifest["requirements"])


def test_tabular_regression(stack: RunningStack, python: Path, tmp_path: Path) -> None:
    train, val, test = split_csv(real_data("concrete.csv"), tmp_path, SHARES)
    job = DeployedJob(stack, "TABULAR_REGRESSION", "export")
    models = [
        ("tabular/hist_gradient_boosting.py", "HistGradientBoostingRegressor"),
        ("tabular/linear.py", "RidgeRegressor"),
    ]
    job.train(train, val, models, n_trials=2, target="compressive_strength")
    queries, _ = read_rows(test, "compressive_strength")
    manifest = check_same(stack, python, job, queries, tmp_path)
    assert len(manifest["members"]) == 2


def test_image_classification(stack: RunningStack, python: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("digits", ROOT / "examples" / "datasets" / "load_digits.py")
    assert spec is not None
    assert spec.loader is not None
    examples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(examples)
    train, val, test = examples.write_digits(tmp_path)
    job = DeployedJob(stack, "IMAGE_CLASSIFICATION", "export")
    models = [("image_classification/decision_tree.py", "SkDt"), ("image_classification/svm.py", "SkSvm")]
    job.train(train, val, models, n_trials=2)
    images, _ = read_images(test)
    check_same(stack, python, job, images[:40], tmp_path)
    exported = Exported(stack, job, tmp_path, None)
    np.save(tmp_path / "queries.npy", np.array(images[:40], np.uint8))
    as_arrays = json.loads(exported.run(python, "predict.py", "--queries-file", str(tmp_path / "queries.npy")))
    assert as_arrays == _near(exported.predict(python, images[:40]))


def test_pos_tagging(stack: RunningStack, python: Path, tmp_path: Path) -> None:
    tags: dict[str, int] = {}
    dev = read_corpus(real_data("ud_ewt_dev.tsv"))
    parts = {"train": dev[:1000], "val": dev[1000:1400]}
    paths = []
    for name, part in parts.items():
        lines = [line for sentence in part for line in [*("\t".join(pair) for pair in sentence), ""]]
        paths.append(write_corpus(lines, tmp_path / f"{name}.zip", tags))
    job = DeployedJob(stack, "POS_TAGGING", "export")
    job.train(*paths, [("pos_tagging/bigram_hmm.py", "BigramHmm")], n_trials=2)
    queries = [[token for token, _ in sentence] for sentence in dev[1400:1500]]
    # Two of one model, whose votes count.
    manifest = check_same(stack, python, job, queries, tmp_path, method="mean", size=2)
    assert [m["model_file"] for m in manifest["members"]] == [manifest["members"][0]["model_file"]] * 2


@pytest.mark.usefixtures("torch")
def test_speech_recognition(stack: RunningStack, python: Path, tmp_path: Path) -> None:
    train, val, test = write_recordings(tmp_path, n_takes=16)
    job = DeployedJob(stack, "SPEECH_RECOGNITION", "export")
    job.train(train, val, [with_fixed_knobs(tmp_path, "speech_recognition/ctc.py", "SpeechCtc", QUICK_CTC)], n_trials=1)
    check_same(stack, python, job, [recording for recording, _ in test[:20]], tmp_path)
