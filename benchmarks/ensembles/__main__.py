"""``python -m benchmarks.ensembles``: one trial, equal weights or a greedy choice, on validation data and held out.

Templates with knobs drawn at random, trained, asked and joined by the code that serves them, in one process. For each
seed the rows are divided anew: 60% to train on, 20% to validate, 20% held out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rafiki.advisor.space import SearchSpace
from rafiki.model.loader import load_model_class_from_path
from rafiki.model.logger import logger
from rafiki.tasks.ensemble_selection import select_greedily
from rafiki.tasks.model_library import ModelLibrary
from rafiki.tasks.registry import get_task
from rafiki.tasks.validation import CombiningTask

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "ensembles.json"
DATA = ROOT / "examples" / "data"
TEMPLATES = ROOT / "templates" / "models"
BOOSTING, LIGHTGBM, LINEAR = "tabular/hist_gradient_boosting.py", "tabular/lightgbm_trees.py", "tabular/linear.py"
TREE, SVM = "image_classification/decision_tree.py", "image_classification/svm.py"


class Problem(NamedTuple):
    task: str
    models: list[tuple[str, str]]


PROBLEMS = {
    "titanic": Problem(
        "TABULAR_CLASSIFICATION",
        [
            (BOOSTING, "HistGradientBoostingClassifier"),
            (LIGHTGBM, "LightGbmClassifier"),
            (LINEAR, "LogisticClassifier"),
        ],
    ),
    "concrete": Problem(
        "TABULAR_REGRESSION",
        [(BOOSTING, "HistGradientBoostingRegressor"), (LIGHTGBM, "LightGbmRegressor"), (LINEAR, "RidgeRegressor")],
    ),
    "digits": Problem("IMAGE_CLASSIFICATION", [(TREE, "SkDt"), (SVM, "SkSvm")]),
}


class Trial(NamedTuple):
    model_name: str
    score: float
    validation: Mapping[str, Any]
    held_out: Mapping[str, Any]


def write_parts(problem: str, folder: Path, seed: int) -> tuple[Path, Path, Path]:
    """Datasets to train on, to validate, and held out."""
    if problem == "digits":
        found: tuple[Path, Path, Path] = _load_file("load_digits.py").write_digits(folder, seed=seed)
        return found
    header, *rows = (DATA / f"{problem}.csv").read_text("utf-8").splitlines()
    random.Random(seed).shuffle(rows)
    cuts = [0, int(0.6 * len(rows)), int(0.8 * len(rows)), len(rows)]
    paths = [folder / f"{problem}_{name}.csv" for name in ("train", "val", "test")]
    for path, start, end in zip(paths, cuts, cuts[1:], strict=False):
        path.write_text("\n".join([header, *rows[start:end]]) + "\n", "utf-8")
    return paths[0], paths[1], paths[2]


def _load_file(name: str) -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("loader", ROOT / "examples" / "datasets" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_trials(problem: Problem, paths: tuple[Path, Path, Path], n_trials: int, seed: int) -> Iterator[Trial]:
    task = get_task(problem.task)
    assert isinstance(task, CombiningTask)
    train, val, test = paths
    samples = [task.read_validation(path, train, {}, 2000) for path in (val, test)]
    for file, name in problem.models:
        model_class = load_model_class_from_path(TEMPLATES / file, name)
        space = SearchSpace(model_class.get_knob_config())
        rng = random.Random(f"{seed}/{name}")
        for _ in range(n_trials):
            model = model_class(**space.knobs(space.draw(rng)))
            model.train(str(train))
            score = float(model.evaluate(str(val)))
            packed = []
            for queries, labels in samples:
                answers = [msgspec.json.decode(task.encode_prediction(p)) for p in model.predict(list(queries))]
                packed.append(task.pack(labels, answers))
            yield Trial(name, score, *packed)


def compare(task: CombiningTask, trials: list[Trial], size: int) -> dict[str, tuple[float, float, int]]:
    """For each method its score on validation data and held out, and how many members it serves."""
    trials = sorted(trials, key=lambda t: -t.score)
    validation = task.library([t.validation for t in trials])
    held_out = task.library([t.held_out for t in trials])
    best_of_model: dict[str, int] = {}
    for place, trial in enumerate(trials):
        best_of_model.setdefault(trial.model_name, place)
    methods: dict[str, dict[int, float]] = {
        "best": {0: 1.0},
        "mean": dict.fromkeys(best_of_model.values(), 1.0),
        f"mean, size {size}": dict.fromkeys(range(min(size, len(trials))), 1.0),
        f"greedy, size {size}": select_greedily(validation, size).weights,
    }
    return {name: (_score(validation, w), _score(held_out, w), len(w)) for name, w in methods.items()}


def _score(library: ModelLibrary, weights: dict[int, float]) -> float:
    return library.score_of(weights).score


def _mean(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:+.4f}"
    return f"{statistics.fmean(values):+.4f} ± {statistics.stdev(values) / len(values) ** 0.5:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=8, help="of each model")
    parser.add_argument("--size", type=int, default=5)
    options = parser.parse_args()
    logger.set_sink(lambda *_: None)
    started = time.monotonic()
    runs: dict[str, list[dict[str, tuple[float, float, int]]]] = {}
    for name in options.problems:
        problem = PROBLEMS[name]
        task = get_task(problem.task)
        assert isinstance(task, CombiningTask)
        told = f"{options.seeds} seeds, {options.trials} trials of {len(problem.models)} models"
        print(f"\n{name} ({task.metric}), {told}\n")
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                trials = list(run_trials(problem, write_parts(name, Path(folder), seed), options.trials, seed))
            runs.setdefault(name, []).append(compare(task, trials, options.size))
        print("| method | members | validation | held out | held out, over the best trial |")
        print("| --- | --- | --- | --- | --- |")
        for method in runs[name][0]:
            val, out, members = (statistics.fmean(r[method][i] for r in runs[name]) for i in range(3))
            gains = [r[method][1] - r["best"][1] for r in runs[name]]
            print(f"| {method} | {members:.1f} | {val:.4f} | {out:.4f} | {'' if method == 'best' else _mean(gains)} |")
    RESULTS.write_text(json.dumps({"options": vars(options), "runs": runs}, indent=1) + "\n", "utf-8")
    print(f"\n{time.monotonic() - started:.0f} s, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
