"""``rafiki model new``: models from templates, under good names."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rafiki.constants import ExitCode
from rafiki.model.loader import load_model_class_from_path
from rafiki_cli.scaffold.catalogue import get_template
from rafiki_cli.scaffold.find_class import model_classes
from rafiki_cli.scaffold.names import parse_model_name
from rafiki_cli.scaffold.rewrite import make_model_source

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "model_class", "module"),
    [
        ("DigitsTree", "DigitsTree", "digits_tree"),
        ("digits_tree", "DigitsTree", "digits_tree"),
        ("HTTPModel2", "HTTPModel2", "http_model_2"),
        ("svm", "Svm", "svm"),
        ("X", "X", "x"),
    ],
)
def test_class_and_file_follow_from_one_name(name: str, model_class: str, module: str) -> None:
    assert parse_model_name(name) == (model_class, module)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("class", "a word of Python itself"), ("None", "a word of Python itself"), ("match", "a word of Python itself"),
        ("1st", "no name of a Python class"), ("my-model", "Write 'MyModel'"), ("a b", "Write 'AB'"),
        ("", "no name of a Python class"), ("../evil", "no name of a Python class"), ("Größe", "Write 'Grosse'"),
        ("blå bær", "Write 'BlaBaer'"), ("1st", "Write 'St'"), ("葡萄酒", "Write 'PuTaoJiu'"),
        ("…", "Write a name such as 'DigitsTree'"),
        ("_", "a word of Python itself"), ("__", "holds no letter"), ("test_tree", "meaning of its own"),
        ("conftest", "meaning of its own"), ("Lambda", "meaning of its own"), ("X" * 81, "80 are the most"),
    ],
)  # fmt: skip
def test_a_bad_name_is_refused_before_anything_is_written(cli, folder: Path, name: str, message: str) -> None:
    result = cli("model", "new", name)
    assert result.code == ExitCode.USAGE
    assert message in result.err
    assert list(folder.iterdir()) == []
    if meant := re.search(r"Write '(\w+)'", result.err):
        assert parse_model_name(meant[1])


def test_a_model_comes_with_its_test_and_its_data(cli, folder: Path) -> None:
    result = cli("model", "new", "PriceModel", "--template", "tabular_regression/linear")
    assert result.code == 0
    written = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert written == [
        "data/concrete_query.json", "data/concrete_train.csv", "data/concrete_val.csv", "models/price_model.py",
        "tests/test_price_model.py",
    ]  # fmt: skip
    assert "- file: models/price_model.py" in result.err
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "tests"], cwd=folder,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    # The command that it says comes next works as it is.
    command = next(line for line in result.err.splitlines() if "rafiki model test" in line).split()
    assert cli(*command[1:]).code == 0


def test_only_the_model_of_the_task_is_in_the_file() -> None:
    source = make_model_source(get_template("tabular_regression/linear"), "Prices")
    assert model_classes(source) == ["Prices"]
    assert "LogisticClassifier" not in source
    docstring = ast.get_docstring(ast.parse(source)) or ""
    assert docstring.startswith("Prices, a model for TABULAR_REGRESSION.\n")
    assert docstring.endswith("Made from the template tabular_regression/linear of Rafiki.")


def test_a_rename_touches_names_and_no_texts(tmp_path: Path) -> None:
    template = get_template("pos_tagging/bigram_hmm")
    source = make_model_source(template, "POS")
    # `POS_TAGGING` in its docstring is a text; the class is a name.
    assert '"""POS_TAGGING."""' in source
    (tmp_path / "m.py").write_text(source)
    assert load_model_class_from_path(tmp_path / "m.py", "POS").__name__ == "POS"


@pytest.mark.parametrize("name", ["BaseModel", "MODE", "SVC"])
def test_a_name_that_the_template_uses_is_refused(cli, folder: Path, name: str) -> None:
    result = cli("model", "new", name, "--template", "svm")
    assert result.code == ExitCode.USAGE
    assert "for something else" in result.err
    assert list(folder.iterdir()) == []


def test_files_that_are_there_stay_without_force(cli, folder: Path) -> None:
    assert cli("model", "new", "Tree").code == 0
    (folder / "models" / "tree.py").write_text("mine")
    (folder / "tests" / "test_tree.py").write_text("mine")
    (folder / "data" / "digits_train.zip").write_text("my own digits")
    result = cli("model", "new", "Tree")
    assert result.code == ExitCode.USAGE
    assert "models/tree.py, tests/test_tree.py" in result.err
    assert cli("model", "new", "Tree", "--force").code == 0
    assert (folder / "models" / "tree.py").read_text() != "mine"
    # Data is not what was asked for; it stays even so.
    assert (folder / "data" / "digits_train.zip").read_text() == "my own digits"


def test_a_model_goes_into_the_project_around_it(cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("init", "demo").code == 0
    monkeypatch.chdir(folder / "demo" / "models")
    assert cli("model", "new", "Other", "--template", "svm").code == 0
    assert (folder / "demo" / "models" / "other.py").is_file()
    monkeypatch.chdir(folder)
    assert cli("model", "new", "Third", "--dir", "demo").code == 0
    assert (folder / "demo" / "tests" / "test_third.py").is_file()


def test_an_unknown_template_is_answered_with_the_nearest(cli, folder: Path) -> None:
    result = cli("model", "new", "Tree", "--template", "desicion_tree")
    assert result.code == ExitCode.NOT_FOUND
    assert "Did you mean 'image_classification/decision_tree'?" in result.err
