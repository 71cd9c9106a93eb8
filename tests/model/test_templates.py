"""The bundled model templates, on real digits: what a first `rafiki up` runs."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from support.data.image_parts import part_of_classes

from rafiki.model.loader import load_model_class_from_path
from rafiki.model_check.knob_reader import read_knob_config
from rafiki.param_store.codec import decode_params, encode_params
from rafiki.tasks.image_classification import ImageClassificationTask

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates" / "models" / "image_classification"
TREE = {"criterion": "entropy", "max_depth": 12, "min_samples_leaf": 1, "max_image_size": 32}
SVM = {"kernel": "rbf", "C": 5.0, "gamma": 2.0, "max_image_size": 32}
CASES = [
    pytest.param("decision_tree.py", "SkDt", TREE, 0.8, id="tree"),
    pytest.param("svm.py", "SkSvm", SVM, 0.97, id="svm rbf"),
    pytest.param("svm.py", "SkSvm", SVM | {"kernel": "linear"}, 0.95, id="svm linear"),
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    path = ROOT / "examples" / "datasets" / "load_digits.py"
    spec = importlib.util.spec_from_file_location("load_digits_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("digits")
    paths = module.write_digits(folder / "a")
    with mock.patch.object(module, "_digits_file", return_value=None):
        again = module.write_digits(folder / "b")  # As scikit-learn reads them.
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    return tuple(str(path) for path in paths)  # type: ignore[return-value]


def test_the_digits_are_valid_datasets(digits: tuple[str, str, str]) -> None:
    for path in digits:
        ImageClassificationTask().validate_dataset(Path(path))


@pytest.mark.parametrize(("file_name", "class_name", "knobs", "accuracy"), CASES)
def test_a_template_trains_scores_and_serves_from_its_parameters(
    digits: tuple[str, str, str], file_name: str, class_name: str, knobs: dict[str, Any], accuracy: float
) -> None:
    train, _, test = digits
    model_class = load_model_class_from_path(TEMPLATES / file_name, class_name)
    model = model_class(**knobs)
    model.train(train)
    assert model.evaluate(test) > accuracy

    served = model_class(**knobs)
    served.load_parameters(decode_params(encode_params(model.dump_parameters())))
    rng = np.random.default_rng(0)
    queries = [rng.integers(0, 256, shape).astype(np.uint8) for shape in [(8, 8, 3), (32, 32, 3), (30, 17, 3), (8, 8)]]
    predictions = served.predict(queries)
    assert predictions == model.predict(queries)
    for query, prediction in zip(queries, predictions, strict=True):
        assert len(prediction) == 10
        assert sum(prediction) == pytest.approx(1)
        assert served.predict([query])[0] == pytest.approx(prediction, abs=1e-4)


@pytest.mark.parametrize(("file_name", "class_name", "knobs", "accuracy"), CASES)
def test_a_part_that_lacks_classes_gives_a_probability_for_each_up_to_the_highest(
    digits: tuple[str, str, str],
    tmp_path: Path,
    file_name: str,
    class_name: str,
    knobs: dict[str, Any],
    accuracy: float,
) -> None:
    train = part_of_classes(digits[0], tmp_path / "train.zip", {1, 3, 7})
    val = part_of_classes(digits[1], tmp_path / "val.zip", {3, 8})
    model = load_model_class_from_path(TEMPLATES / file_name, class_name)(**knobs)
    model.train(str(train))
    # Of one half the class is not to be known.
    assert accuracy / 2 - 0.2 < model.evaluate(str(val)) < 0.7
    rules = ImageClassificationTask()
    sample = rules.read_validation(val, train, {}, 20)
    predictions = [json.loads(rules.encode_prediction(p)) for p in model.predict(list(sample.queries))]
    assert {len(p) for p in predictions} == {8}
    assert max(p[c] for p in predictions for c in (0, 2, 4, 5, 6)) < 0.1
    assert rules.find_misfit(sample.queries, predictions, sample.labels) is None


def test_the_tree_answers_as_scikit_learn_does(digits: tuple[str, str, str]) -> None:
    from sklearn.tree import DecisionTreeClassifier

    from rafiki.model import utils

    model = load_model_class_from_path(TEMPLATES / "decision_tree.py", "SkDt")(**TREE)
    model.train(digits[0])
    images, classes = zip(*utils.dataset.load_dataset_of_image_files(digits[0], mode="L"), strict=True)
    tree = DecisionTreeClassifier(criterion="entropy", max_depth=12, random_state=0)
    tree.fit(np.reshape(images, (len(images), -1)), classes)
    queries = np.random.default_rng(0).integers(0, 256, (200, 8, 8)).astype(np.uint8)
    flat = queries.reshape(200, -1)
    # The same leaves; their shares are smoothed by one image of each class.
    n = tree.tree_.n_node_samples[tree.apply(flat)][:, None]
    expected = (tree.predict_proba(flat) * n + 1) / (n + tree.n_classes_)
    np.testing.assert_allclose(model.predict(list(queries)), expected, atol=1e-12)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_svm_finds_the_margins_that_scikit_learn_finds(kernel: str, n_classes: int) -> None:
    from sklearn.svm import SVC

    model: Any = load_model_class_from_path(TEMPLATES / "svm.py", "SkSvm")(**SVM | {"kernel": kernel})
    rng = np.random.default_rng(n_classes)
    features = rng.normal(size=(150, 9)).astype(np.float32)
    svc = SVC(kernel=kernel, gamma=0.2, decision_function_shape="ovo")
    svc.fit(features, rng.integers(0, n_classes, 150))
    model._gamma = 0.2
    model._take_over(svc)
    # With two classes, scikit-learn's margins are positive for the second.
    sign = -1 if n_classes == 2 else 1
    expected = sign * svc.decision_function(features).reshape(150, -1)
    np.testing.assert_allclose(model._margins(features), expected, atol=1e-3)


@pytest.mark.parametrize(("file_name", "class_name", "knobs", "accuracy"), CASES[:2])
def test_a_templates_knobs_are_read_without_scikit_learn(
    file_name: str, class_name: str, knobs: dict[str, Any], accuracy: float
) -> None:
    reading = read_knob_config((TEMPLATES / file_name).read_bytes(), class_name, file_name)
    assert reading.error is None
    assert set(reading.knob_config or ()) == set(knobs)
    code = (
        "import sys; from rafiki.model.loader import load_model_class_from_path as load; "
        f"load({str(TEMPLATES / file_name)!r}, {class_name!r}); sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
