"""The bundled model templates for tables and sentences, on real data."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.data.task_files import read_corpus, real_data, split_csv, write_corpus

from rafiki.errors import InvalidDatasetError
from rafiki.model.loader import load_model_class_from_path
from rafiki.model_check.knob_reader import read_knob_config
from rafiki.param_store.codec import decode_params, encode_params
from rafiki.tasks.registry import get_task

TEMPLATES = Path(__file__).parents[2] / "templates" / "models"
HIST = {
    "learning_rate": 0.1, "max_iter": 150, "max_leaf_nodes": 15, "min_samples_leaf": 10, "l2_regularization": 0.1,
}  # fmt: skip
LIGHTGBM = {
    "learning_rate": 0.1, "n_rounds": 150, "num_leaves": 15, "min_data_in_leaf": 10, "lambda_l2": 0.1,
    "feature_fraction": 0.8,
}  # fmt: skip
XGBOOST = {
    "eta": 0.1, "n_rounds": 150, "max_depth": 4, "min_child_weight": 2.0, "subsample": 0.8, "colsample_bytree": 0.8,
}  # fmt: skip


class Case(NamedTuple):
    file: str
    needs: str
    classifier: str
    regressor: str
    knobs: dict[str, Any]
    regressor_knobs: dict[str, Any]
    r2: float


CASES = [
    Case("linear", "sklearn", "LogisticClassifier", "RidgeRegressor", {"C": 1.0}, {"alpha": 1.0}, 0.5),
    Case("hist_gradient_boosting", "sklearn", "HistGradientBoostingClassifier", "HistGradientBoostingRegressor",
         HIST, HIST, 0.88),
    Case("lightgbm_trees", "lightgbm", "LightGbmClassifier", "LightGbmRegressor", LIGHTGBM, LIGHTGBM, 0.88),
    Case("xgboost_trees", "xgboost", "XgBoostClassifier", "XgBoostRegressor", XGBOOST, XGBOOST, 0.88),
]  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES, ids=[c.file for c in CASES])


def load(case: Case, class_name: str) -> Any:
    pytest.importorskip(case.needs)
    return load_model_class_from_path(TEMPLATES / "tabular" / f"{case.file}.py", class_name)


def serve(model_class: Any, knobs: dict[str, Any], model: Any) -> Any:
    served = model_class(**knobs)
    served.load_parameters(decode_params(encode_params(model.dump_parameters())))
    return served


@each_case
def test_a_classifier_learns_from_missing_values_and_text(case: Case, tmp_path: Path) -> None:
    train, test = split_csv(real_data("titanic.csv"), tmp_path, {"train": 0.75, "test": 0.25})
    model_class = load(case, case.classifier)
    model = model_class(**case.knobs)
    model.train(str(train))
    assert model.evaluate(str(test)) >= 0.75
    queries = [
        {"pclass": "1st", "sex": "female", "age": 30, "sibsp": 0, "parch": 0},
        {"pclass": "3rd", "sex": "male", "age": "44", "sibsp": 0, "parch": None},
        {"sex": "male", "pclass": "4th", "cabin": "B5"},
        {},
    ]
    served = serve(model_class, case.knobs, model)
    predictions = served.predict(queries)
    np.testing.assert_allclose(predictions, model.predict(queries), atol=1e-6)
    np.testing.assert_allclose([served.predict([q])[0] for q in queries], predictions, atol=1e-6)
    assert served.evaluate(str(test)) == pytest.approx(model.evaluate(str(test)))
    np.testing.assert_allclose(np.sum(predictions, axis=1), 1, atol=1e-5)
    # The classes are died, survived.
    assert predictions[0][1] > 0.8
    assert predictions[1][0] > 0.6
    task = get_task("TABULAR_CLASSIFICATION")
    assert all(task.encode_prediction(p) for p in predictions)


@each_case
def test_a_regressor_explains_the_strength_of_concrete(case: Case, tmp_path: Path) -> None:
    train, test = split_csv(real_data("concrete.csv"), tmp_path, {"train": 0.75, "test": 0.25})
    model_class = load(case, case.regressor)
    model = model_class(**case.regressor_knobs)
    model.train(str(train))
    assert model.evaluate(str(test)) >= case.r2
    served = serve(model_class, case.regressor_knobs, model)
    queries = [{"cement": 500, "water": 140, "age": 90}, {"cement": 500, "water": 140, "age": 1}]
    strong, weak = served.predict(queries)
    assert strong > weak + 5
    assert [strong, weak] == pytest.approx(model.predict(queries), rel=1e-5)
    assert get_task("TABULAR_REGRESSION").encode_prediction(strong)


@each_case
@pytest.mark.parametrize("n_classes", [2, 3])
def test_hard_columns_and_any_number_of_classes_just_work(case: Case, tmp_path: Path, n_classes: int) -> None:
    rng = np.random.default_rng(0)
    signal = rng.integers(0, n_classes, 200)
    path = tmp_path / "data.csv"
    rows = [f"{s}.5,{'abc'[s]},,x,{'' if i % 3 else s},id{i},{s + 7}" for i, s in enumerate(signal)]
    path.write_text("\n".join(["number,text,empty,constant,gaps,id,class", *rows]) + "\n")
    model = load(case, case.classifier)(**case.knobs)
    model.train(str(path), features=["number", "text", "empty", "constant", "gaps", "id"], target="class")
    assert model.evaluate(str(path)) == 1.0
    assert np.argmax(model.predict([{"number": 1.5, "text": "b"}])[0]) == 1
    unknown = tmp_path / "unknown.csv"
    unknown.write_text("number,text,empty,constant,gaps,id,class\nmany,d,1,y,old,,12\n1.5,b,,x,,,8\n")
    assert model.evaluate(str(unknown)) == 0.5


@each_case
def test_a_table_of_one_class_or_without_the_columns_is_a_clear_error(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,x\n2,x\n")
    model = load(case, case.classifier)(**case.knobs)
    with pytest.raises(InvalidDatasetError, match="every row is of the class 'x'"):
        model.train(str(path))
    with pytest.raises(InvalidDatasetError, match="there is no column 'c'"):
        model.train(str(path), features=["c"])


@each_case
def test_the_knobs_are_read_without_the_library(case: Case) -> None:
    path = TEMPLATES / "tabular" / f"{case.file}.py"
    for class_name, knobs in ((case.classifier, case.knobs), (case.regressor, case.regressor_knobs)):
        reading = read_knob_config(path.read_bytes(), class_name, path.name)
        assert reading.error is None
        assert set(reading.knob_config or ()) == set(knobs)


HMM = {
    "transition_smoothing": 0.1, "suffix_smoothing": 5.0, "rare_count": 10, "token_smoothing": 0.1, "max_suffix": 5,
}  # fmt: skip


def test_the_bigram_hmm_tags_english(tmp_path: Path) -> None:
    tags: dict[str, int] = {}
    paths = []
    for name in ("ud_ewt_train_4000.tsv", "ud_ewt_dev.tsv"):
        lines = real_data(name).read_text(encoding="utf-8").splitlines()
        paths.append(str(write_corpus(lines, tmp_path / f"{name}.zip", tags)))
    model_class: Any = load_model_class_from_path(TEMPLATES / "pos_tagging" / "bigram_hmm.py", "BigramHmm")
    model = model_class(**HMM)
    model.train(paths[0])
    served = serve(model_class, HMM, model)
    accuracy = served.evaluate(paths[1])
    print(f"bigram HMM: {accuracy:.4f} of the tokens of UD English EWT (dev)")
    assert accuracy >= 0.9
    sentences = [[token for token, _ in sentence] for sentence in read_corpus(real_data("ud_ewt_dev.tsv"))[:50]]
    predictions = served.predict(sentences)
    assert predictions == model.predict(sentences)
    assert [len(p) for p in predictions] == [len(s) for s in sentences]
    assert get_task("POS_TAGGING").encode_prediction(predictions[0])
    names = list(tags)
    assert [names[t] for t in served.predict([["The", "blorfs", "gleeped", "in", "Zorgville", "."]])[0]] == [
        "DET", "NOUN", "VERB", "ADP", "PROPN", "PUNCT",
    ]  # fmt: skip


def test_the_bigram_hmm_finds_the_best_of_all_taggings(tmp_path: Path) -> None:
    from itertools import product

    rng = np.random.default_rng(0)
    lines = [line for n in rng.integers(1, 6, 60) for line in [*(f"{'abcde'[rng.integers(5)]}\t{rng.integers(3)}"
             for _ in range(n)), ""]]  # fmt: skip
    path = write_corpus(lines, tmp_path / "corpus.zip", {str(i): i for i in range(3)})
    model: Any = load_model_class_from_path(TEMPLATES / "pos_tagging" / "bigram_hmm.py", "BigramHmm")(**HMM)
    model.train(str(path))
    tokens = list("abxea")

    def log_probability(tags: tuple[int, ...]) -> float:
        moves = zip((3, *tags), (*tags, 3), strict=True)
        emissions = sum(model._emission(token)[tag] for token, tag in zip(tokens, tags, strict=True))
        return float(sum(model._transitions[a, b] for a, b in moves) + emissions)

    best = max(product(range(3), repeat=len(tokens)), key=log_probability)
    assert model.predict([tokens]) == [list(best)]
