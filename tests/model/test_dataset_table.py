from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rafiki.errors import InvalidDatasetError
from rafiki.model import utils

NAN = float("nan")
TEXT = "age,town,port,bought\n24,Oslo,1,yes\n,Rome,2,no\n31.5,Oslo,A,yes\nNA,Rome,1.0,no\n7,Bonn,?,yes\n"


def table(folder: Path, text: str = TEXT) -> str:
    path = folder / "data.csv"
    path.write_text(text)
    return str(path)


def test_columns_are_numbers_unless_a_text_is_in_them(tmp_path: Path) -> None:
    dataset = utils.dataset.load_dataset_of_table(table(tmp_path))
    assert (dataset.features, dataset.target, len(dataset)) == (["age", "town", "port"], "bought", 5)
    np.testing.assert_array_equal(dataset.columns["age"], [24, NAN, 31.5, NAN, 7])
    port: Any = dataset.columns["port"]
    assert (port.codes.tolist(), port.categories, port.first_row_no) == ([0, 1, 2, 0, -1], ["1", "2", "A"], 4)
    classes = dataset.target_classes()
    assert classes == ["no", "yes"]
    assert dataset.target_class_indices(classes).tolist() == [1, 0, 1, 0, 1]
    assert dataset.target_class_indices(["yes"]).tolist() == [0, -1, 0, -1, 0]


def test_features_and_target_may_be_named(tmp_path: Path) -> None:
    dataset = utils.dataset.load_dataset_of_table(table(tmp_path, "y,a,b\n1.5,2,x\n3,4,y\n"), ["a"], "y")
    assert (dataset.features, list(dataset.columns)) == (["a"], ["a", "y"])
    assert dataset.target_numbers().tolist() == [1.5, 3]
    assert utils.dataset.load_dataset_of_table(table(tmp_path), target="town").features == [
        "age", "port", "bought",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("features", "target", "why"),
    [
        (["age", "size"], None, "there is no column 'size'; there are age, town"),
        (None, "size", "there is no column 'size'"),
        (["bought"], None, "'bought' is the target"),
        ([], None, "names no column"),
        (None, "age", "row 3, column 'age': the target is missing"),
    ],
)
def test_wrong_train_arguments_are_a_clear_error(
    tmp_path: Path, features: list[str] | None, target: str | None, why: str
) -> None:
    with pytest.raises(InvalidDatasetError, match=why):
        utils.dataset.load_dataset_of_table(table(tmp_path), features, target)


def test_a_target_that_does_not_fit_the_task_is_a_clear_error(tmp_path: Path) -> None:
    dataset = utils.dataset.load_dataset_of_table(table(tmp_path, "a,b\n1,2\n3,x\n"))
    with pytest.raises(InvalidDatasetError, match="row 3, column 'b': the target of a regression must be a number"):
        dataset.target_numbers()
    dataset = utils.dataset.load_dataset_of_table(table(tmp_path, "a,b\n1,2\n3,2.0\n"))
    with pytest.raises(InvalidDatasetError, match="column 'b': every row is of the class '2'"):
        dataset.target_classes()


@pytest.mark.parametrize(
    ("targets", "classes"),
    [("10 9 2 9", ["2", "9", "10"]), ("b A 1 TRUE true", ["1", "A", "b", "true"]), ("1 0 1.0", ["0", "1"])],
)
def test_classes_are_in_the_order_of_numbers_then_of_the_alphabet(
    tmp_path: Path, targets: str, classes: list[str]
) -> None:
    rows = "".join(f"1,{t}\n" for t in targets.split())
    dataset = utils.dataset.load_dataset_of_table(table(tmp_path, f"a,b\n{rows}"))
    assert dataset.target_classes() == classes


def test_datasets_and_queries_are_encoded_alike_also_after_a_reload(tmp_path: Path) -> None:
    dataset = utils.dataset.load_dataset_of_table(table(tmp_path))
    encoder = utils.dataset.FeatureEncoder.fit(dataset)
    assert encoder.categories == [None, ["Oslo", "Rome"], ["1"]]
    assert encoder.is_category.tolist() == [False, True, True]
    expected = [[24, 0, 0], [NAN, 1, NAN], [31.5, 0, NAN], [NAN, 1, 0], [7, NAN, NAN]]
    np.testing.assert_array_equal(encoder.encode(dataset), expected)
    np.testing.assert_array_equal(
        encoder.one_hot(encoder.encode(dataset))[:3], [[24, 1, 0, 1], [NAN, 0, 1, 0], [31.5, 1, 0, 0]]
    )
    again = utils.dataset.FeatureEncoder.from_json(encoder.to_json())
    queries = [
        {"age": 24, "town": "Oslo", "port": 1},
        {"age": "24", "town": " Oslo", "port": "1.0", "unknown": 3},
        {"age": "", "town": "Paris", "port": None},
        {"age": "old", "town": 5},
        {"age": True},
        {},
    ]
    expected = [[24, 0, 0], [24, 0, 0], [NAN] * 3, [NAN] * 3, [1, NAN, NAN], [NAN] * 3]
    np.testing.assert_array_equal(again.encode_queries(queries), expected)
    assert again.encode_queries([]).shape == (0, 3)


def test_another_dataset_is_encoded_by_the_types_of_the_training_data(tmp_path: Path) -> None:
    encoder = utils.dataset.FeatureEncoder(["a", "b"], [None, ["2", "x"]])
    other = utils.dataset.load_dataset_of_table(table(tmp_path, "a,b,y\n1,2,0\n?,2.0,1\nold,,1\n"))
    np.testing.assert_array_equal(encoder.encode(other), [[1, 0], [NAN, 0], [NAN, NAN]])


def test_only_the_most_frequent_categories_are_told_apart(tmp_path: Path) -> None:
    rows = "".join(f"{name},1\n" for name in ["c"] * 2 + ["b"] * 4 + ["a"] * 3 + ["once"])
    dataset = utils.dataset.load_dataset_of_table(table(tmp_path, f"name,y\n{rows}"))
    assert utils.dataset.FeatureEncoder.fit(dataset).categories == [["b", "a", "c"]]
    assert utils.dataset.FeatureEncoder.fit(dataset, max_categories=2).categories == [["b", "a"]]


def test_features_that_tell_nothing_are_left_out(tmp_path: Path) -> None:
    dataset = utils.dataset.load_dataset_of_table(table(tmp_path, "id,empty,n,y\na,,1,0\nb,NA,2,1\n"))
    assert utils.dataset.FeatureEncoder.fit(dataset).features == ["n"]
    dataset = utils.dataset.load_dataset_of_table(table(tmp_path, "id,empty,y\na,,0\nb,NA,1\n"))
    with pytest.raises(InvalidDatasetError, match="No feature tells rows apart"):
        utils.dataset.FeatureEncoder.fit(dataset)
