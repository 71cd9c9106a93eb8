"""Text files are read as editors of any system write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rafiki.exported import predict as exported
from rafiki_cli.commands.predict import read_queries, read_query

QUERY = '{"name": "Zoë"}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark", "utf-16-be-mark"])
def test_a_query_file_may_begin_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "q.json"
    name = encoding.removesuffix("-mark")
    mark = "\ufeff".encode(name) if encoding.endswith("-mark") else b""
    file.write_bytes(mark + QUERY.encode(name))
    assert read_query(file) == {"name": "Zoë"}
    file.write_bytes(mark + f"[{QUERY},\r\n{QUERY}]".encode(name))
    assert len(read_queries(file)) == 2


def test_an_exported_app_takes_the_mark_too(tmp_path: Path) -> None:
    file = tmp_path / "q.json"
    file.write_bytes(QUERY.encode("utf-8-sig"))
    assert exported._read(file) == QUERY.encode()
