"""Model files as people wrote them for the first Rafiki: unchanged, they train, serve, and run by themselves.

Their author knew the published interface, and nothing of this engine.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.data.task_files import read_corpus, read_images, read_rows, real_data, split_csv, write_corpus
from support.stacks.deployed_job import DeployedJob
from support.stacks.running_stack import MODELS, RunningStack

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

OLD = MODELS / "old_style"
ROOT = Path(__file__).parents[2]
TARGET = "compressive_strength"
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def write_digits(folder: Path) -> tuple[Path, Path, Path]:
    spec = importlib.util.spec_from_file_location("digits", ROOT / "examples" / "datasets" / "load_digits.py")
    assert spec is not None
    assert spec.loader is not None
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    found: tuple[Path, Path, Path] = loader.write_digits(folder)
    return found


def test_a_forest_of_pickled_trees_that_never_calls_its_parents_constructor(
    stack: RunningStack, tmp_path: Path
) -> None:
    train, val, test = write_digits(tmp_path)
    job = DeployedJob(stack, "IMAGE_CLASSIFICATION", "old-forest")
    job.train(train, val, [(OLD / "SkForestImg.py", "SkForestImg")], n_trials=3)
    images, classes = read_images(test)
    predictions = job.predict(images)
    accuracy = statistics.mean(p.index(max(p)) == c for p, c in zip(predictions, classes, strict=True))
    job.report("accuracy", accuracy)
    assert accuracy >= 0.85
    assert all(sum(p) == pytest.approx(1) for p in predictions)
    # What it printed and plotted is there to read.
    client = stack.client()
    [trial] = client.get_best_trials_of_train_job(job.app, max_count=1)
    logs = client.get_trial_logs(trial["id"])
    assert logs["plots"][0]["metrics"] == ["train_acc"]
    assert [m["trees"] for m in logs["metrics"]] == sorted(m["trees"] for m in logs["metrics"])
    assert any("Train accuracy" in m["message"] for m in logs["messages"])


def test_a_tagger_with_module_level_state_whose_score_is_a_numpy_number(stack: RunningStack, tmp_path: Path) -> None:
    tags: dict[str, int] = {}
    lines = real_data("ud_ewt_train_4000.tsv").read_text(encoding="utf-8").splitlines()
    dev = read_corpus(real_data("ud_ewt_dev.tsv"))
    val, test = dev[::2], dev[1::2]
    # A third of the sentences: its perceptron is pure Python.
    train_path = write_corpus(lines[:22_000], tmp_path / "train.zip", tags)
    val_lines = [line for sentence in val for line in [*("\t".join(pair) for pair in sentence), ""]]
    val_path = write_corpus(val_lines, tmp_path / "val.zip", tags)
    job = DeployedJob(stack, "POS_TAGGING", "old-tagger")
    job.train(train_path, val_path, [(OLD / "perceptron_tagger.py", "PerceptronTagger")], n_trials=2)
    predictions = job.predict([[token for token, _ in sentence] for sentence in test])
    names = list(tags)
    accuracy = statistics.mean(
        names[found] == tag
        for sentence, prediction in zip(test, predictions, strict=True)
        for (_, tag), found in zip(sentence, prediction, strict=True)
    )
    job.report("accuracy per token", accuracy)
    assert accuracy >= 0.85
    client = stack.client()
    [trial] = client.get_best_trials_of_train_job(job.app, max_count=1)
    assert all({"loss", "epoch"} <= m.keys() for m in client.get_trial_logs(trial["id"])["metrics"])


def test_a_regressor_that_imports_everything_and_keeps_its_train_arguments(stack: RunningStack, tmp_path: Path) -> None:
    train, val, test = split_csv(real_data("concrete.csv"), tmp_path, SHARES)
    job = DeployedJob(stack, "TABULAR_REGRESSION", "old-fourier")
    features = [f for f in train.read_text().splitlines()[0].split(",") if f not in ("fine_aggregate", TARGET)]
    job.train(
        train, val, [(OLD / "rff_regressor.py", "FourierBoostRegressor")], n_trials=8,
        target=TARGET, features=features,
    )  # fmt: skip
    queries, targets = read_rows(test, TARGET)
    numbers = [float(t) for t in targets]
    # As its clients sent them: some values as text, some missing.
    sent: list[Any] = [{f: str(q[f]) if i % 2 else q[f] for f in features} for i, q in enumerate(queries)]
    sent[3].pop(features[1])
    errors = [p - t for p, t in zip(job.predict(sent), numbers, strict=True)]
    r2 = 1 - statistics.fmean(e * e for e in errors) / statistics.pvariance(numbers)
    job.report("R2", r2)
    assert r2 >= 0.7


def test_an_old_model_file_runs_itself_with_its_own_options_and_ours(tmp_path: Path) -> None:
    train, val, test = write_digits(tmp_path)
    images, classes = read_images(test)
    for i, image in enumerate(images[:2]):
        Image.fromarray(np.asarray(image, np.uint8)).save(tmp_path / f"{i}.png")
    done = subprocess.run(
        [
            sys.executable, str(OLD / "SkForestImg.py"), "--train_path", str(train), "--val_path", str(val),
            "--test_path", str(test), "--query_path", f"{tmp_path / '0.png'},{tmp_path / '1.png'}",
            "--MODEL_TRIAL_COUNT=2", "--n_trees=40",
        ],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "n_trees=40" in done.stdout
    assert done.stdout.count(": score ") == 2
    assert done.stdout.splitlines()[-1].replace("np.int64(", "").replace(")", "") == str(classes[:2])


def test_a_script_with_a_model_of_mixed_knobs_and_nested_parameters(stack: RunningStack, tmp_path: Path) -> None:
    rows = [f"{a},{b},{c},{'yes' if a == 'y' else 'no'}" for a in "xy" for b in "12" for c in "pq"] * 4
    (tmp_path / "lookup.csv").write_text("a,b,c,label\n" + "\n".join(rows) + "\n")
    variables = {
        "RAFIKI_ADDR": "127.0.0.1",
        "ADMIN_EXT_PORT": str(stack.port),
        "SUPERADMIN_PASSWORD": (stack.root / "superadmin-password").read_text().strip(),
    }
    done = subprocess.run(
        [sys.executable, str(OLD / "run_lookup.py"), "lookup.csv"], cwd=tmp_path, capture_output=True, text=True,
        env={**stack.environment, **variables}, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{stack.logs()}"
    # The key of old is told, and nothing else is wrong.
    assert "'ENABLE_GPU' is unknown" in done.stderr
    assert "Predictions: [0, 1]" in done.stdout
