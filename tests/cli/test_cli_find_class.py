from __future__ import annotations

from pathlib import Path

import pytest

from rafiki_cli.scaffold.find_class import find_model_class, model_classes
from rafiki_cli.terminal import UsageError


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from rafiki.model import BaseModel\nclass A(BaseModel): ...\nclass Helper: ...\n", ["A"]),
        ("import rafiki.model as m\nclass A(m.BaseModel): ...\n", ["A"]),
        ("class Base(BaseModel): ...\nclass A(Base): ...\n", ["A"]),
        ("class A(BaseModel): ...\nclass B(BaseModel): ...\n", ["A", "B"]),
        ("class A(B): ...\nclass B(A): ...\n", []),
        ("import no_such_module\nraise SystemExit\nclass A(BaseModel): ...\n", ["A"]),
    ],
)
def test_model_classes_are_found_without_running_the_file(source: str, found: list[str]) -> None:
    assert model_classes(source) == found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", "no class in it derives from BaseModel"),
        ("class A(BaseModel): ...\nclass B(BaseModel): ...\n", r"several classes .*A, B.*--class"),
        ("x = 1\nclass A(\n", "line 2: this is not valid Python"),
    ],
)
def test_a_file_without_one_model_class_is_a_clear_error(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "m.py").write_text(source)
    with pytest.raises(UsageError, match=message):
        find_model_class(tmp_path / "m.py")
