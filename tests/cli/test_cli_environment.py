from __future__ import annotations

import json
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode


def environment(key: str, **fields: Any) -> dict[str, Any]:
    return {
        "key": key, "requirements": ["glimmer==1.0", "numpy<2"], "status": "READY", "reason": None,
        "size_bytes": 3_000_000, "datetime_built": "2025-01-01T10:00:00Z", "n_models": 1, "is_in_use": False, **fields,
    }  # fmt: skip


USED = environment("aaaa000000000000", is_in_use=True)
FREE = environment("aaab000000000000", n_models=0)
FAILED = environment("bbbb000000000000", n_models=0, status="FAILED", reason="No such package.", size_bytes=None)
BUILDING = environment("cccc000000000000", n_models=0, status="BUILDING", size_bytes=None, datetime_built=None)


@pytest.fixture
def server(server: ContractServer) -> ContractServer:
    every = {e["key"]: e for e in (USED, FREE, FAILED, BUILDING)}
    server.answers |= {
        "get_environments": list(every.values()),
        "get_environment_log": lambda request: {"key": request.key, "lines": ["Looking in links", "ERROR: no"]},
        "remove_environment": lambda request: every[request.key],
    }
    return server


def removed(server: ContractServer) -> list[str]:
    return [c.request.key for c in server.calls if c.name == "remove_environment"]


def test_environments_are_listed_with_their_packages_and_reasons(logged_in) -> None:
    result = logged_in("environment", "list")
    assert result.code == ExitCode.OK
    for text in ("aaaa000000000000", "glimmer==1.0, numpy<2", "3.0 MB", "READY", "FAILED", "No such package."):
        assert text in result.out
    assert [e["key"] for e in json.loads(logged_in("environment", "list", "-o", "json").out)] == [
        e["key"] for e in (USED, FREE, FAILED, BUILDING)
    ]


def test_a_log_is_shown_by_the_beginning_of_a_key(logged_in) -> None:
    result = logged_in("environment", "log", "bb")
    assert (result.code, result.out) == (ExitCode.OK, "Looking in links\nERROR: no\n")
    assert json.loads(logged_in("environment", "log", "bb", "-o", "json").out)["key"] == FAILED["key"]


def test_unused_ones_are_removed_together(logged_in, server: ContractServer) -> None:
    result = logged_in("environment", "remove", "--unused")
    assert result.code == ExitCode.OK
    assert "Removed 2 environments" in result.err
    assert removed(server) == [FREE["key"], FAILED["key"]]


def test_named_ones_are_removed(logged_in, server: ContractServer) -> None:
    assert logged_in("environment", "remove", "aaab", "bbbb", "-o", "json").code == ExitCode.OK
    assert removed(server) == [FREE["key"], FAILED["key"]]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["remove"], ExitCode.USAGE, "either KEYs or --unused"),
        (["remove", "aaaa", "--unused"], ExitCode.USAGE, "either KEYs or --unused"),
        (["remove", "aaa"], ExitCode.REFUSED, "begins the keys of 2 environments"),
        (["log", "dddd"], ExitCode.NOT_FOUND, "no environment 'dddd'"),
    ],
)
def test_what_names_none_or_several_is_refused(
    logged_in, server: ContractServer, arguments: list[str], code: int, says: str
) -> None:
    result = logged_in("environment", *arguments)
    assert (result.code, result.out) == (code, "")
    assert says in result.err
    assert removed(server) == []
