"""Examples of a validation dataset as queries and labels."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.data.image_zip import image_zip
from support.data.task_files import make_zip

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.registry import get_task
from rafiki.tasks.validation import CombiningTask, ValidationSample, draw_evenly

TABLE = "age,colour,bought\n24,red,yes\n,blue,no\n1.5,NA,yes\n7,red,?\n007,true,maybe\n"


def read(task: str, path: Path, train: Path | None = None, most: int = 100, **train_args: Any) -> ValidationSample:
    rules = get_task(task)
    assert isinstance(rules, CombiningTask)
    return rules.read_validation(path, train or path, train_args, most)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "val.csv").write_text(TABLE)
    return tmp_path / "val.csv"


def test_rows_become_queries_as_clients_send_them(table: Path) -> None:
    queries, labels = read("TABULAR_CLASSIFICATION", table)
    assert queries == [
        {"age": 24, "colour": "red"}, {"age": None, "colour": "blue"}, {"age": 1.5, "colour": None},
        {"age": 7, "colour": "true"},
    ]  # fmt: skip
    # maybe, no, yes: by alphabet.
    assert labels == [2, 1, 2, 0]


def test_classes_are_those_of_the_training_dataset(table: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("age,colour,bought\n1,red,yes\n1,red,no\n")
    assert read("TABULAR_CLASSIFICATION", table, tmp_path / "train.csv").labels == [1, 0, 1, -1]


def test_classes_that_are_numbers_stand_by_size(tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text("a,c\n1,10\n1,9\n1,9.0\n1,x\n")
    assert read("TABULAR_CLASSIFICATION", tmp_path / "val.csv").labels == [1, 0, 0, 2]


def test_the_train_arguments_name_the_columns(table: Path) -> None:
    queries, labels = read("TABULAR_REGRESSION", table, target="age", features=["colour"])
    assert queries == [{"colour": c} for c in ("red", None, "red", "true")]
    assert labels == [24.0, 1.5, 7.0, 7.0]
    with pytest.raises(InvalidDatasetError, match="'height'"):
        read("TABULAR_REGRESSION", table, target="height")
    with pytest.raises(InvalidDatasetError, match="'yes' is not a number"):
        read("TABULAR_REGRESSION", table)


def test_sentences_become_tokens_and_tags(tmp_path: Path) -> None:
    corpus = "token\ttag\textra\nDogs\t3\t0\nbark\t7\t0\n\\n\t0\t0\nCats\t3\t0\n"
    path = make_zip(tmp_path / "val.zip", {"corpus.tsv": corpus})
    assert read("POS_TAGGING", path) == ([["Dogs", "bark"], ["Cats"]], [[3, 7], [3]])


def picture(mode: str, size: tuple[int, int], colour: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


def test_images_become_arrays_of_three_channels(tmp_path: Path) -> None:
    files = {"a.png": picture("L", (3, 2), 9), "b.png": picture("RGBA", (1, 1), (1, 2, 3, 4))}
    (tmp_path / "val.zip").write_bytes(image_zip("path,class\na.png,0\nb.png,1\n", files))
    queries, labels = read("IMAGE_CLASSIFICATION", tmp_path / "val.zip")
    assert labels == [0, 1]
    assert queries[0].tolist() == [[[9] * 3] * 3] * 2
    assert [q.shape for q in queries[0:2]] == [(2, 3, 3), (1, 1, 3)]
    # Hardly there, it shows the white below it.
    assert queries[1].tolist() == [[[251, 251, 251]]]
    assert {q.dtype for q in queries} == {np.dtype("uint8")}
    assert len(queries) == len(list(queries)) == 2


def test_no_more_than_asked_for_are_drawn_evenly_and_always_the_same() -> None:
    drawn = draw_evenly(iter(range(10_000)), 500)
    assert drawn == sorted(set(drawn)) == draw_evenly(range(10_000), 500)
    assert len(drawn) == 500
    assert np.mean(drawn) == pytest.approx(5000, abs=500)
    assert draw_evenly(range(3), 500) == [0, 1, 2]
    assert draw_evenly([], 5) == []


def test_the_rules_of_all_tasks_load_without_numpy() -> None:
    code = (
        "import sys; from rafiki.constants import Task; from rafiki.tasks.registry import get_task\n"
        "[get_task(t) for t in Task]; import rafiki.admin.ensembles; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
