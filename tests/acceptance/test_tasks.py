"""Each task from real data to predictions over HTTP: upload, train a few trials, deploy, predict what was held out."""

from __future__ import annotations

import importlib.util
import statistics
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support.data.spoken_digits import write_recordings
from support.data.task_files import read_corpus, read_images, read_rows, real_data, split_csv, write_corpus
from support.stacks.deployed_job import DeployedJob, with_fixed_knobs
from support.stacks.running_stack import RunningStack

from rafiki.client import PredictorClient

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

ROOT = Path(__file__).parents[2]
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


# Networks take minutes to search on two cores; these knobs are good ones.
BILSTM = {
    "word_size": 64, "letter_size": 16, "letter_filters": 64, "hidden_size": 64, "dropout": 0.33, "word_dropout": 0.3,
    "learning_rate": 0.01, "batch_size": 16, "max_epochs": 5, "early_stop": False,
}  # fmt: skip
CTC = {
    "filters": 48, "hidden_size": 96, "layers": 1, "dropout": 0.1, "learning_rate": 5e-3, "batch_size": 16,
    "max_epochs": 12, "known_words_only": True,
}  # fmt: skip


def boosters(kind: str) -> list[tuple[str | Path, str]]:
    """The tabular templates whose libraries are installed."""
    found: list[tuple[str | Path, str]] = [("tabular/hist_gradient_boosting.py", f"HistGradientBoosting{kind}")]
    if importlib.util.find_spec("lightgbm"):
        found.append(("tabular/lightgbm_trees.py", f"LightGbm{kind}"))
    if importlib.util.find_spec("xgboost"):
        found.append(("tabular/xgboost_trees.py", f"XgBoost{kind}"))
    return found


def test_tabular_classification_tells_who_survived_the_titanic(stack: RunningStack, tmp_path: Path) -> None:
    train, val, test = split_csv(real_data("titanic.csv"), tmp_path, SHARES)
    job = DeployedJob(stack, "TABULAR_CLASSIFICATION")
    job.train(train, val, [*boosters("Classifier"), ("tabular/linear.py", "LogisticClassifier")], n_trials=3)
    queries, targets = read_rows(test, "survived")
    found = [["died", "survived"][p[1] > p[0]] for p in job.predict(queries)]
    accuracy = statistics.mean(a == b for a, b in zip(found, targets, strict=True))
    job.report("accuracy", accuracy)
    assert accuracy >= 0.78


def test_tabular_regression_tells_the_strength_of_concrete(stack: RunningStack, tmp_path: Path) -> None:
    train, val, test = split_csv(real_data("concrete.csv"), tmp_path, SHARES)
    job = DeployedJob(stack, "TABULAR_REGRESSION")
    # As it would be for any other column: the train arguments reach the templates.
    job.train(train, val, boosters("Regressor"), n_trials=8, target="compressive_strength")
    queries, targets = read_rows(test, "compressive_strength")
    numbers = [float(t) for t in targets]
    errors = [p - t for p, t in zip(job.predict(queries), numbers, strict=True)]
    r2 = 1 - statistics.fmean(e * e for e in errors) / statistics.pvariance(numbers)
    job.report("R2", r2)
    assert r2 >= 0.88
    check_other_ways_of_asking(stack, job.app, queries[:3])


def check_other_ways_of_asking(stack: RunningStack, app: str, queries: list[dict[str, Any]]) -> None:
    """A table's features are known to whoever asks; the same queries as tensors have the same predictions; what was
    asked before reaches no worker."""
    client = stack.client()
    host = client.create_inference_job(app, deployment={"cache": 100})["predictor_host"]
    try:
        with PredictorClient(host) as predictor:
            expected = predictor.predict_many(queries)
            assert [predictor.predict(query) for query in queries] == expected
        described = httpx.get(f"http://{host}/openapi.json").json()
        assert described["components"]["schemas"]["Query"]["properties"].keys() == queries[0].keys()
        example = described["x-rafiki"]["example"]
        assert httpx.post(f"http://{host}/predict", json={"query": example}).status_code == 200
        columns = {name: [float(query[name]) for query in queries] for name in queries[0]}
        tensors = [
            {"name": name, "datatype": "FP64", "shape": [len(queries)], "data": column}
            for name, column in columns.items()
        ]
        inferred = httpx.post(f"http://{host}/v2/models/{app}/infer", json={"inputs": tensors}, timeout=30).json()
        assert inferred["outputs"][0]["data"] == pytest.approx(expected)
        figures = (
            event for event in client.watch_inference_job(app) if event["type"] == "figures" and event["cache_hits"]
        )
        assert next(figures)["cache_hits"] >= len(queries)
    finally:
        client.stop_inference_job(app)


@pytest.mark.parametrize(
    ("name", "accuracy"), [("BigramHmm", 0.88), pytest.param("BiLstm", 0.90, marks=pytest.mark.engines)]
)
def test_pos_tagging_tags_english(
    request: pytest.FixtureRequest, stack: RunningStack, tmp_path: Path, name: str, accuracy: float
) -> None:
    model: tuple[str | Path, str]
    n_trials, model = 3, ("pos_tagging/bigram_hmm.py", name)
    if name == "BiLstm":
        request.getfixturevalue("torch")
        n_trials, model = 1, with_fixed_knobs(tmp_path, "pos_tagging/bilstm.py", name, BILSTM)
    tags: dict[str, int] = {}
    lines = real_data("ud_ewt_train_4000.tsv").read_text(encoding="utf-8").splitlines()
    dev = read_corpus(real_data("ud_ewt_dev.tsv"))
    val, test = dev[::2], dev[1::2]
    train_path = write_corpus(lines, tmp_path / "train.zip", tags)
    val_lines = [line for sentence in val for line in [*("\t".join(pair) for pair in sentence), ""]]
    val_path = write_corpus(val_lines, tmp_path / "val.zip", tags)
    job = DeployedJob(stack, "POS_TAGGING", name)
    job.train(train_path, val_path, [model], n_trials)
    names = list(tags)
    predictions = job.predict([[token for token, _ in sentence] for sentence in test])
    hits = [
        names[found] == tag
        for sentence, prediction in zip(test, predictions, strict=True)
        for (_, tag), found in zip(sentence, prediction, strict=True)
    ]
    job.report(f"accuracy per token of {name}", statistics.mean(hits))
    assert statistics.mean(hits) >= accuracy


@pytest.mark.usefixtures("torch")
def test_speech_recognition_understands_spoken_digits(stack: RunningStack, tmp_path: Path) -> None:
    train, val, test = write_recordings(tmp_path)
    job = DeployedJob(stack, "SPEECH_RECOGNITION")
    job.train(train, val, [with_fixed_knobs(tmp_path, "speech_recognition/ctc.py", "SpeechCtc", CTC)], n_trials=1)
    found = job.predict([recording for recording, _ in test])
    # Each recording is of one word; a word too many is an error too.
    errors = sum(max(1, len(p.split())) - (word in p.split()) for p, (_, word) in zip(found, test, strict=True))
    job.report("word error rate", errors / len(test))
    assert errors / len(test) <= 0.15


def test_image_classification_reads_digits(stack: RunningStack, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("digits", ROOT / "examples" / "datasets" / "load_digits.py")
    assert spec is not None
    assert spec.loader is not None
    examples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(examples)
    train, val, test = examples.write_digits(tmp_path)
    job = DeployedJob(stack, "IMAGE_CLASSIFICATION")
    job.train(train, val, [("image_classification/svm.py", "SkSvm")], n_trials=4)
    images, classes = read_images(test)
    found = [p.index(max(p)) for p in job.predict(images)]
    accuracy = statistics.mean(a == b for a, b in zip(found, classes, strict=True))
    job.report("accuracy", accuracy)
    assert accuracy >= 0.97
    host = stack.client().create_inference_job(job.app)["predictor_host"]
    try:
        with PredictorClient(host, binary=True) as predictor:
            arrays = [np.array(image, np.uint8) for image in images[:40]]
            assert [p.index(max(p)) for p in predictor.predict_many(arrays)] == found[:40]
            assert predictor.predict(arrays[0]).index(max(predictor.predict(arrays[0]))) == found[0]
    finally:
        stack.client().stop_inference_job(job.app)
