# ruff: noqa: E501 - tables
"""What the two tables of a train job say before a trial is spent on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.registry import get_task


def table(header: str, rows: list[str]) -> str:
    return "\n".join([header, *rows]) + "\n"


TRAIN = [f"{i * 37 % 101}.5,{'red' if i % 3 else 'blue'},{i * 11 % 7}" for i in range(60)]
VAL = [f"{i * 41 % 97}.25,{'red' if i % 2 else 'blue'},{i * 5 % 7}" for i in range(30)]


def check(
    folder: Path,
    train: str,
    val: str,
    *,
    task: str = "TABULAR_CLASSIFICATION",
    are_same: bool = False,
    **arguments: Any,
) -> str:
    one, two = folder / "train.csv", folder / "val.csv"
    one.write_text(train)
    two.write_text(val)
    return "\n".join(get_task(task).check_pair(one, two, arguments, are_same=are_same))


def test_a_good_pair_says_nothing(tmp_path: Path) -> None:
    assert check(tmp_path, table("x,c,y", TRAIN), table("x,c,y", VAL)) == ""
    assert check(tmp_path, table("x,c,y", TRAIN), table("x,c,y", VAL), task="TABULAR_REGRESSION") == ""
    assert (
        check(tmp_path, table("x,c,y", TRAIN), table("y,c,x", [",".join(r.split(",")[::-1]) for r in VAL]), target="y")
        == ""
    )


REFUSED: dict[str, tuple[str, str, str, dict[str, Any], str]] = {
    "an empty target cell": (
        "TABULAR_REGRESSION", table("x,c,y", [*TRAIN[:4], "1,red,", *TRAIN[5:]]), table("x,c,y", VAL), {},
        "The train dataset, row 6, column 'y': the target is missing",
    ),
    "an empty target cell of the other": (
        "TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,c,y", [*VAL, "1,red,NA"]), {},
        "The validation dataset, row 32, column 'y': the target is missing",
    ),
    "a feature that the validation dataset lacks": (
        "TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,y", [f"{i}.5,{i % 7}" for i in range(9)]), {},
        "The validation dataset, row 1: there is no column 'c', a feature. There are x, y",
    ),
    "a feature that is nowhere": (
        "TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,c,y", VAL), {"features": ["x", "z"]},
        "The train dataset, row 1: there is no column 'z', a feature",
    ),
    "a target that is nowhere": (
        "TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,c,y", VAL), {"target": "z"},
        "The train dataset, row 1: there is no column 'z', the target",
    ),
    "a target that the validation dataset lacks": (
        "TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,c", [f"{i},red" for i in range(9)]), {},
        "The validation dataset, row 1: there is no column 'y', the target",
    ),
    "a constant target": (
        "TABULAR_CLASSIFICATION", table("x,y", [f"{i}.5,1" for i in range(9)]), table("x,y", ["1,1", "2,1"]), {},
        "every row has the same target, '1'",
    ),
    "a constant target of a regression": (
        "TABULAR_REGRESSION", table("x,y", [f"{i}.5,1" for i in range(9)]), table("x,y", ["1,1", "2,1"]), {},
        "every row has the same target, '1'",
    ),
    "texts as the target of a regression": (
        "TABULAR_REGRESSION", table("x,c,y", TRAIN), table("x,c,y", VAL), {"target": "c"},
        "column 'c': it holds no numbers, but 'blue'. The target of a regression holds numbers alone",
    ),
    "a stray text in the target of a regression": (
        "TABULAR_REGRESSION", table("x,c,y", [*TRAIN, "1,red,soon"]), table("x,c,y", VAL), {},
        "The train dataset, row 62, column 'y': 'soon' is no number",
    ),
    "a class of its own for each row": (
        "TABULAR_CLASSIFICATION", table("x,y", [f"{i % 3},k{i}" for i in range(9)]), table("x,y", ["1,k1"]), {},
        "every row is of a class of its own",
    ),
    "no class in common": (
        "TABULAR_CLASSIFICATION", table("x,y", [f"{i}.5,{i % 2}" for i in range(9)]), table("x,y", ["1,a", "2,b"]), {},
        "has no class of the train dataset in column 'y': 'a', 'b'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_trial_could_learn_from_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    task, train, val, arguments, told = REFUSED[name]
    with pytest.raises(InvalidDatasetError) as caught:
        check(tmp_path, train, val, task=task, **arguments)
    assert told in caught.value.message


WARNED: dict[str, tuple[str, str, str, bool, str]] = {
    "one file": ("TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,c,y", TRAIN), True, "are one file"),
    "the same rows": (
        "TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,c,y", [*VAL, TRAIN[5]]), False,
        "1 of 31 rows of the validation dataset are in the train dataset, too (row 32 is its row 7)",
    ),
    "a continuous target as classes": (
        "TABULAR_CLASSIFICATION", table("x,y", [f"{i % 5},{i / 7:.3f}" for i in range(100)]),
        table("x,y", [f"{i % 4},{i / 7:.3f}" for i in range(30)]), False, "Is it TABULAR_REGRESSION?",
    ),
    "a class of one row": (
        "TABULAR_CLASSIFICATION", table("x,c,y", [*TRAIN, "1,red,rare"]), table("x,c,y", VAL), False,
        "One row alone is of the class 'rare'",
    ),
    "a class that is new": (
        "TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,c,y", [*VAL, "1,red,new"]), False,
        "classes that the train dataset lacks: 'new'",
    ),
    "a column that is new": (
        "TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,c,y,more", [f"{r},1" for r in VAL]), False,
        "columns that the train dataset lacks: 'more'",
    ),
    "a column of another kind": (
        "TABULAR_CLASSIFICATION", table("x,c,y", TRAIN), table("x,c,y", [f"{'ab'[i % 2]},red,{i % 7}" for i in range(30)]), False,
        "Column 'x' holds numbers in the train dataset and categories in the validation dataset",
    ),
    "an identifier": (
        "TABULAR_CLASSIFICATION", table("id,x,c,y", [f"{i},{r}" for i, r in enumerate(TRAIN)]),
        table("id,x,c,y", [f"{i + 99},{r}" for i, r in enumerate(VAL)]), False, "column 'id': each value is there once",
    ),
    "a feature that gives the target away": (
        "TABULAR_CLASSIFICATION", table("x,code,y", [f"{i}.5,k{i % 4},{i % 4 // 2}" for i in range(80)]),
        table("x,code,y", [f"{i}.25,k{i % 4},{i % 4 // 2}" for i in range(30)]), False, "Column 'code' gives the target away",
    ),
    "a stray text": (
        "TABULAR_REGRESSION", table("x,c,y", ["inf,red,3", *TRAIN]), table("x,c,y", VAL), False,
        "column 'x', row 2: 'inf' is no number; it counts as missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNED)
def test_what_may_mislead_is_said(tmp_path: Path, name: str) -> None:
    task, train, val, are_same, told = WARNED[name]
    target = {"target": "y"} if "more" in val else {}
    assert told in check(tmp_path, train, val, task=task, are_same=are_same, **target)


def test_a_large_table_is_looked_at_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rafiki.tasks.table_pairs.MOST_CELLS", 30)
    told = check(tmp_path, table("x,c,y", TRAIN), table("x,c,y", VAL))
    assert "The first 10 rows of the train dataset were looked at" in told
