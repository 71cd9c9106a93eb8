"""Datasets as the loaders of the first generation wrote them are taken as they are, by uploads and by readers."""

from __future__ import annotations

import csv
import os
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rafiki.constants import Task
from rafiki.model import utils
from rafiki.model.dataset_table import TextColumn
from rafiki.tasks.registry import get_task

# A part of the Penn Treebank's tags; the tokens of quotes, brackets and fractions are as the corpus has them.
SENTENCES = [
    [("``", "``"), ("It", "PRP"), ("'s", "VBZ"), ("5\\/8", "CD"), ("''", "''"), (".", ".")],
    [("He", "PRP"), ("said", "VBD"), (":", ":"), ('"', "''"), ("-LCB-", "("), ("U.S.", "NNP"), ('"Yes', "UH")],
]


def zip_folder(folder: Path, out: Path) -> Path:
    """An archive of a folder under the name that was asked for, without the suffix that ``shutil`` adds."""
    os.rename(shutil.make_archive(str(out), "zip", folder), out)
    return out


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_in_one_folder_with_their_table(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    with (folder / "images.csv").open("w") as f:
        writer = csv.DictWriter(f, fieldnames=["path", "class"])
        writer.writeheader()
        for i in range(6):
            name = f"{i % 3}-{i}.png"
            Image.fromarray(np.full((28, 28) if mode == "L" else (28, 28, 3), 40 * i, np.uint8)).save(folder / name)
            # The labels of a loader are numpy's.
            writer.writerow({"path": name, "class": np.uint8(i % 3)})
    path = zip_folder(folder, tmp_path / "train.zip")
    get_task(Task.IMAGE_CLASSIFICATION).validate_dataset(path)
    dataset = utils.dataset.load_dataset_of_image_files(str(path), max_image_size=32, mode="RGB")
    assert (dataset.classes, dataset.size, dataset.image_size) == (3, 6, 28)
    assert [(int(image[0, 0, 0]), label) for image, label in dataset] == [(40 * i, i % 3) for i in range(6)]


def test_a_corpus_that_is_written_without_any_quoting(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    tags: dict[str, int] = {}
    with (folder / "corpus.tsv").open("w") as f:
        f.write("token\ttag\n")
        for sentence in SENTENCES:
            f.writelines(f"{token}\t{tags.setdefault(tag, len(tags))}\n" for token, tag in sentence)
            f.write("\\n\t\n")
    path = zip_folder(folder, tmp_path / "train.zip")
    get_task(Task.POS_TAGGING).validate_dataset(path)
    dataset = utils.dataset.load_dataset_of_corpus(str(path))
    assert [[tuple(row) for row in s] for s in dataset] == [[(t, tags[tag]) for t, tag in s] for s in SENTENCES]
    assert dataset.tag_num_classes == [len(tags)]


@pytest.mark.parametrize("end", ["\r\n", "\r\r\n"])
@pytest.mark.parametrize("mark", ["\\n", "\n"])
def test_a_corpus_that_python_wrote_on_windows_and_whose_marks_are_real_line_feeds(
    tmp_path: Path, end: str, mark: str
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    with (folder / "corpus.tsv").open("w", newline="") as f:
        writer = csv.DictWriter(f, ["token", "tag"], dialect="excel-tab", lineterminator=end)
        writer.writeheader()
        for sentence in SENTENCES:
            writer.writerows({"token": token, "tag": len(tag)} for token, tag in sentence)
            writer.writerow({"token": mark, "tag": 0})
    path = zip_folder(folder, tmp_path / "train.zip")
    get_task(Task.POS_TAGGING).validate_dataset(path)
    dataset = utils.dataset.load_dataset_of_corpus(str(path))
    assert [[tuple(row) for row in s] for s in dataset] == [[(t, len(tag)) for t, tag in s] for s in SENTENCES]


@pytest.mark.parametrize("task", [Task.TABULAR_CLASSIFICATION, Task.TABULAR_REGRESSION])
def test_the_index_that_pandas_wrote_is_no_feature(tmp_path: Path, task: Task) -> None:
    path = tmp_path / "train.csv"
    path.write_text(",rooms,price\n7,2,100\n3,4,200\n")
    rules = get_task(task)
    rules.validate_dataset(path)
    assert "the first column has no name: it is taken for an index" in rules.find_oddities(path)[0]
    table = utils.dataset.load_dataset_of_table(str(path))
    assert (table.features, table.target, list(np.asarray(table.columns["rooms"]))) == (["rooms"], "price", [2, 4])
    path.write_text("rooms,price\n2,100\n")
    assert rules.find_oddities(path) == []


@pytest.mark.parametrize("task", [Task.TABULAR_CLASSIFICATION, Task.TABULAR_REGRESSION])
def test_a_table_that_pandas_wrote(tmp_path: Path, task: Task) -> None:
    # As DataFrame.to_csv(index=False) writes it: quotes where commas are, nothing where a value is missing.
    path = tmp_path / "titanic.csv"
    path.write_text(
        "Name,Sex,Age,Alone,Fare\n"
        '"Braund, Mr. ""Owen""",male,22.0,True,7.25\n'
        "Miss. Laina Heikkinen,female,,False,7.925\n"
        "Allen,male,0.8300000000000001,True,8.05\n"
    )
    get_task(task).validate_dataset(path)
    table = utils.dataset.load_dataset_of_table(str(path))
    assert (table.features, table.target, table.size) == (["Name", "Sex", "Age", "Alone"], "Fare", 3)
    name, age = table.columns["Name"], table.columns["Age"]
    assert isinstance(name, TextColumn)
    assert name.categories[name.codes[0]] == 'Braund, Mr. "Owen"'
    assert np.isnan(np.asarray(age)[1])


def test_recordings_with_the_table_that_pandas_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    with wave.open(str(folder / "1.wav"), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(16_000)
        f.writeframes(bytes(3200))
    size = (folder / "1.wav").stat().st_size
    (folder / "audios.csv").write_text(f"wav_filename,wav_filesize,transcript\n1.wav,{size},it's a test\n")
    path = zip_folder(folder, tmp_path / "train.zip")
    get_task(Task.SPEECH_RECOGNITION).validate_dataset(path)
