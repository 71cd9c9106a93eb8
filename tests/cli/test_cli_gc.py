from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.utils.clock import Deadline

ROOT = Path(__file__).parents[2]
ITEMS = [
    {"id": "params:t1", "kind": "params", "name": "digits v1 SkSvm#3", "size_bytes": 2_000_000, "reason": "number 12"},
    {"id": "logs:a.log", "kind": "logs", "name": "train abcd", "size_bytes": 500, "reason": "it ended 2025-01-01"},
]


@pytest.fixture
def stuck(server: ContractServer) -> list[str]:
    """Ids of what cannot be freed."""
    stuck: list[str] = []

    def collect(request: Any) -> dict[str, Any]:
        chosen = [i for i in ITEMS if request.only is None or i["id"] in request.only]
        items = [
            {**i, "is_freed": request.apply and i["id"] not in stuck, "error": "In use." if i["id"] in stuck else None}
            for i in chosen
        ]
        size = sum(i["size_bytes"] for i in items if i["is_freed"] or not request.apply)
        return {"is_applied": request.apply, "items": items, "size_bytes": size}

    server.answers["collect_garbage"] = collect
    return stuck


def asked(server: ContractServer) -> list[Any]:
    return [c.request for c in server.calls if c.name == "collect_garbage"]


def test_without_a_terminal_it_shows_and_frees_nothing(logged_in, server: ContractServer, stuck) -> None:
    result = logged_in("gc")
    assert result.code == ExitCode.OK
    assert "digits v1 SkSvm#3" in result.out
    assert "2.0 MB" in result.out
    assert "params: 1 thing, 2.0 MB; logs: 1 thing, 500 B; in all 2.0 MB" in result.err
    assert "Nothing was freed" in result.err
    assert [r.apply for r in asked(server)] == [False]


def test_yes_frees_what_was_told_and_nothing_else(logged_in, server: ContractServer, stuck) -> None:
    result = logged_in("gc", "--yes", "--older-than", "2d", "--keep", "3", "--what", "logs, params")
    assert result.code == ExitCode.OK
    assert "Freed 2 things, 2.0 MB." in result.err
    first, second = asked(server)
    assert (first.apply, first.keep, first.older_than_s, first.what) == (False, 3, 172_800.0, ["logs", "params"])
    assert (second.apply, second.only) == (True, ["params:t1", "logs:a.log"])


def test_json_holds_the_items_and_stdout_nothing_else(logged_in, server: ContractServer, stuck) -> None:
    assert json.loads(logged_in("gc", "-o", "json").out)["is_applied"] is False
    assert [i["is_freed"] for i in json.loads(logged_in("gc", "-o", "json", "-y").out)["items"]] == [True, True]


def test_what_could_not_be_freed_is_told_and_fails(logged_in, server: ContractServer, stuck: list[str]) -> None:
    stuck.append("params:t1")
    result = logged_in("gc", "--apply")
    assert result.code == ExitCode.FAILURE
    assert "In use." in result.out
    assert "Freed 1 thing, 500 B." in result.err
    assert "1 thing could not be freed" in result.err


def test_nothing_to_free_is_said(logged_in, server: ContractServer) -> None:
    server.answers["collect_garbage"] = {"is_applied": False, "items": [], "size_bytes": 0}
    result = logged_in("gc", "--yes")
    assert (result.code, result.out, result.err) == (0, "", "There is nothing to free.\n")
    assert len(asked(server)) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--what", "everything"], "'everything' is none of them"),
        (["--what", ","], "with commas"),
        (["--older-than", "soon"], "7d"),
        (["--keep", "0"], "--keep"),
    ],
)
def test_wrong_options_are_usage_errors(logged_in, server: ContractServer, arguments: list[str], says: str) -> None:
    result = logged_in("gc", *arguments)
    assert result.code == ExitCode.USAGE
    assert says in result.err
    assert asked(server) == []


def in_a_terminal(folder: Path, answer: bytes) -> tuple[int, str]:
    """`rafiki gc` in a pseudo-terminal where somebody answers its question."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "rafiki_cli", "gc"],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen, deadline = b"", Deadline(60)
    try:
        while b"[y/N]" not in screen and not deadline.is_over():
            screen += os.read(ours, 4096)
        os.write(ours, answer)
        while not deadline.is_over():
            screen += os.read(ours, 4096)
    except OSError:
        pass  # The other side was closed.
    finally:
        os.close(ours)
    return process.wait(60), screen.decode()


@pytest.mark.parametrize(
    ("answer", "says", "is_freed"), [(b"y\n", "Freed 2 things", True), (b"\n", "Nothing was freed", False)]
)
def test_on_a_terminal_it_asks_first(
    logged_in, server: ContractServer, stuck, folder: Path, answer: bytes, says: str, is_freed: bool
) -> None:
    code, screen = in_a_terminal(folder, answer)
    assert code == ExitCode.OK, screen
    assert screen.index("SkSvm#3") < screen.index("Free all of this?") < screen.index(says)
    # No column of errors where there are none.
    assert "NOT FREED" not in screen
    assert [r.apply for r in asked(server)] == ([False, True] if is_freed else [False])
