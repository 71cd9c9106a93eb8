# ruff: noqa: E501 - tables
"""Tables as programs and people of any country write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rafiki.data.dialect import read_table
from rafiki.errors import InvalidDatasetError

ROWS = [["town", "size", "note"], ["Oslo", "1", "a, b"], ["Århus", "2", "c;d"], ["Łódź", "3", 'say "e"']]


def written(delimiter: str, rows: list[list[str]] = ROWS) -> str:
    return "".join(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiter_encoding_and_ends_of_lines_are_found(
    tmp_path: Path, delimiter: str, encoding: str, end: str
) -> None:
    file = tmp_path / "t.txt"
    file.write_bytes(written(delimiter).replace("\n", end).encode(encoding))
    table = read_table(file)
    assert [table.columns, *(row for _, row in table.rows)] == ROWS
    assert (table.delimiter, table.has_header) == (delimiter, True)


def test_an_old_code_page_is_found_and_said(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes("town,size\nMünchen,1\nKöln,2\n".encode("cp1252"))
    table = read_table(file)
    assert table.rows[0][1] == ["München", "1"]
    assert "the text is Windows-1252" in table.notes


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("1,2\n3,4\n5,6\n", ["column1", "column2"]),
        ("a,1\nb,2\na,3\n", ["column1", "column2"]),
        ("red,big\nblue,big\nred,small\nblue,small\n", ["column1", "column2"]),
        ("x,y\n1,2\n3,4\n", ["x", "y"]),
        ("color,size\nred,big\nblue,small\n", ["color", "size"]),
        (",x,y\n0,1,2\n1,3,4\n", ["index", "x", "y"]),
        ("x;y\n1,5;2,5\n3,5;4,5\n", ["x", "y"]),
    ],
)
def test_a_header_is_found_or_made(tmp_path: Path, text: str, columns: list[str]) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text)
    assert read_table(file).columns == columns


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"), (b"a\nb\nc\n", "there is one column alone"), (b"x,y\n1,2\n3\n", "row 3 has 1 values"),
        (b"x,y\n", "no row below the header"), (b"PK\x03\x04\0\0", "this is no text"), (b'x,y\n1,"2\n', "its quotes do not match"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_with_its_place(tmp_path: Path, data: bytes, told: str) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(data)
    with pytest.raises(InvalidDatasetError, match=told):
        read_table(file)
