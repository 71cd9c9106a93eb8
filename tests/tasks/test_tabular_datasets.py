from pathlib import Path

import pytest
from support.data.task_files import real_data

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.registry import get_task
from rafiki.tasks.table_files import open_table

BOTH = ["TABULAR_CLASSIFICATION", "TABULAR_REGRESSION"]


def validate(folder: Path, task: str, data: str | bytes) -> None:
    path = folder / "data.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    get_task(task).validate_dataset(path)


@pytest.mark.parametrize("task", BOTH)
@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n",
        "\ufeffa,b\r\n,2\r\n\r\nx,3.5\r\n",
        '"a, or so", b \n"1, 2", -1e3 \n"he said ""no""",NA\n',
        "car,mpg,name\n1,2,a\n3,4,b\n",
        "a,b,number of house\n1,2,7\n1,3,12 A\n1,4,9 B\n",
    ],
    ids=["plain", "BOM, CRLF, missing, blank line", "quotes", "target elsewhere", "target elsewhere, mixed"],
)
def test_a_good_table_is_taken(tmp_path: Path, task: str, text: str) -> None:
    validate(tmp_path, task, text)


@pytest.mark.parametrize("task", BOTH)
@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "row 1 must name at least two columns"),
        ("a\n1\n", "row 1 must name at least two columns"),
        ("a;b\n1;2\n", "with commas, not with ';'"),
        ("a,b,a\n1,2,3\n", "row 1 names 'a' more than once"),
        ("a, ,b\n1,2,3\n", "row 1: column 2 has no name"),
        ("a,b\n", "no row below the header"),
        ("a,b\n\n\n", "no row below the header"),
        ("a,b\n1,2\n\n1\n", "row 4 has 1 values where row 1 names 2"),
        ("a,b\n1,2,3\n", "row 2 has 3 values where row 1 names 2"),
        ('a,b\n"1\n2",3\n4,5,6\n', "row 3 has 3 values"),
        ('a,b\n1,2\n"3,4\n', "row 3 cannot be read: a quoted value has no end. Check its quotes"),
        ('a,b\n1,"2" or so\n', "row 2 cannot be read: something stands between the end of a quoted value and the next"),
        (b"a,b\r1,2\r1\r", "row 3 has 1 values where row 1 names 2"),
        (b"a,b\r\xff,1\r", "line 2 is no UTF-8 text"),
        (b"a,b\r" + b"x" * 5_000_000, "line 2 is longer than"),
        (b"a,b\n\xff,1\n", "line 2 is no UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16-le"), "zero byte"),
        (b"a,b\n" + b"x" * 5_000_000, "line 2 is longer than"),
        (b"a,b\n" + b"x" * 200_000 + b",1\n", "row 2 cannot be read: a value is longer than 131,072 characters"),
    ],
)
def test_what_is_no_table_is_refused_with_its_row(tmp_path: Path, task: str, data: str | bytes, why: str) -> None:
    with pytest.raises(InvalidDatasetError, match=why):
        validate(tmp_path, task, data)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n1,2\n1,3\n1,three\n", "row 4, column 'b': 'three' is not a number"),
        ("a,b\n1,1_000\n1,2\n", "row 2, column 'b': '1_000' is not a number"),
        ("a,b\n1,inf\n1,2\n", "row 2, column 'b': 'inf' is not a number"),
        ("a,b\nx,y\n", "row 2, column 'b': 'y' is not a number, and no other column can be the target"),
        ("a,b\nx,\ny,NA\n", "column 'b': the whole column is empty, and no other"),
    ],
)
def test_a_regression_without_a_target_of_numbers_is_refused(tmp_path: Path, text: str, why: str) -> None:
    validate(tmp_path, "TABULAR_CLASSIFICATION", text)
    with pytest.raises(InvalidDatasetError, match=why):
        validate(tmp_path, "TABULAR_REGRESSION", text)


def test_real_tables_are_valid() -> None:
    get_task("TABULAR_CLASSIFICATION").validate_dataset(real_data("titanic.csv"))
    get_task("TABULAR_REGRESSION").validate_dataset(real_data("concrete.csv"))


def test_a_file_that_is_not_there_is_an_invalid_dataset(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatasetError, match="No such file"):
        get_task("TABULAR_REGRESSION").validate_dataset(tmp_path / "gone.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_any_program_writes_them(tmp_path: Path, end: str) -> None:
    (tmp_path / "t.csv").write_bytes(f'a,b{end}1,"x{end}y"{end}2,z'.encode())
    with open_table(tmp_path / "t.csv") as table:
        assert table.columns == ["a", "b"]
        assert [row for _, row in table.rows] == [["1", f"x{end}y"], ["2", "z"]]


def test_a_long_file_without_line_feeds_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\r" + b"1,2\r" * 1_500_000)
    with open_table(tmp_path / "t.csv") as table:
        assert sum(row == ["1", "2"] for _, row in table.rows) == 1_500_000
