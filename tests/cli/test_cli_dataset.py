from __future__ import annotations

from pathlib import Path

import pytest

from rafiki.constants import ExitCode


def test_a_good_dataset_is_found_valid_without_a_stack(cli, folder: Path) -> None:
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    result = cli("dataset", "validate", "rows.csv", "--task", "TABULAR_REGRESSION")
    assert (result.code, result.out) == (ExitCode.OK, "")
    assert "rows.csv is a valid dataset of TABULAR_REGRESSION" in result.err


@pytest.mark.parametrize(
    ("data", "task", "words"),
    [
        (b"a,b\n1,2\n3\n", "TABULAR_CLASSIFICATION", "rows.csv: csv file, row 3 has 1 values"),
        (b"a,b\n1,2\n3,4\n5,x\n", "TABULAR_REGRESSION", "rows.csv: csv file, row 4, column 'b': 'x' is not a number"),
        (b"a,b\n1,2\n", "POS_TAGGING", "rows.csv: The dataset is no zip file"),
        (b"", "MY_TASK", "rows.csv: the dataset is empty"),
    ],
)
def test_a_wrong_dataset_is_refused_with_its_file_row_and_column(
    cli, folder: Path, data: bytes, task: str, words: str
) -> None:
    (folder / "rows.csv").write_bytes(data)
    result = cli("dataset", "validate", "rows.csv", "--task", task)
    assert (result.code, result.out) == (ExitCode.REFUSED, "")
    assert words in result.err


def test_a_custom_task_is_said_to_be_unchecked(cli, folder: Path) -> None:
    (folder / "rows.csv").write_bytes(b"anything")
    result = cli("dataset", "validate", "rows.csv", "--task", "TABULAR_CLASIFICATION")
    assert result.code == ExitCode.OK
    assert "custom task" in result.err


def test_a_file_that_is_not_there_is_a_usage_error(cli) -> None:
    assert cli("dataset", "validate", "nowhere.zip", "--task", "POS_TAGGING").code == ExitCode.USAGE
