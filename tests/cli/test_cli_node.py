from __future__ import annotations

import json
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.errors import NodeInUseError

GPU = {"name": "0", "model": "NVIDIA H200", "memory_bytes": 150_000_000_000, "used_by": ["train demo/1 SkDt#1"]}
SERVICE = {"id": "s1", "name": "train demo/1 SkDt#1"}


def node(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name, "state": "READY", "role": "worker", "address": "10.0.0.2", "labels": {"rack": "7"},
        "gpus": [GPU], "cores": 8.0, "memory_bytes": 64_000_000_000, "free_memory_bytes": 48_000_000_000,
        "free_disk_bytes": 900_000_000_000, "has_image": True, "services": [SERVICE], "note": None, **fields,
    }  # fmt: skip


EMPTY = node("n2", state="DRAINED", services=[])


@pytest.fixture
def server(server: ContractServer) -> ContractServer:
    server.answers |= {
        "get_nodes": [node("n1", role="manager"), node("n2", has_image=False, note="mount failed")],
        "get_node": lambda request: node(request.name),
    }
    return server


def test_nodes_are_listed_with_what_they_have(logged_in) -> None:
    result = logged_in("node", "list")
    assert result.code == ExitCode.OK
    for text in (
        "n1", "READY", "manager", "48.0 GB of 64.0 GB free", "0 NVIDIA H200 150.0 GB (in use)", "900.0 GB", "rack=7",
        "there", "MISSING", "mount failed",
    ):  # fmt: skip
        assert text in result.out, text
    assert [n["name"] for n in json.loads(logged_in("node", "list", "-o", "json").out)] == ["n1", "n2"]


def test_a_node_is_shown_with_the_names_of_its_services(logged_in) -> None:
    assert SERVICE["name"] in logged_in("node", "show", "n1").out


def test_the_command_to_join_is_the_data_and_how_long_its_token_is_good_is_said(
    logged_in, server: ContractServer
) -> None:
    answer = {
        "command": "docker swarm join --token SWMTKN-1-x 10.0.0.1:2377", "token": "SWMTKN-1-x",
        "address": "10.0.0.1:2377", "role": "manager", "valid": "until it is made anew",
    }  # fmt: skip
    server.answers["add_node"] = answer
    result = logged_in("node", "add", "--role", "manager", "--rotate")
    assert (result.code, result.out) == (ExitCode.OK, answer["command"] + "\n")
    assert "good until it is made anew" in result.err
    assert answer["token"] not in result.err
    [call] = [c.request for c in server.calls if c.name == "add_node"]
    assert (call.role, call.rotate) == ("manager", True)
    assert json.loads(logged_in("node", "add", "-o", "json").out) == answer


def test_draining_waits_until_the_node_is_empty_and_tells_what_runs_still(logged_in, server: ContractServer) -> None:
    left = [node("n2", state="DRAINING"), EMPTY]
    server.answers |= {
        "drain_node": node("n2", state="DRAINING"),
        "get_node": lambda request: left.pop(0) if len(left) > 1 else left[0],
        "watch_services": lambda request: ({"type": "services", "services": []} for _ in range(5)),
    }
    result = logged_in("node", "drain", "n2")
    assert result.code == ExitCode.OK
    assert "1 service still runs: train demo/1 SkDt#1." in result.err
    assert "n2 is empty" in result.err


def test_draining_without_waiting_tells_what_runs_still(logged_in, server: ContractServer) -> None:
    server.answers["drain_node"] = node("n2", state="DRAINING")
    result = logged_in("node", "drain", "n2", "--no-wait")
    assert (result.code, result.err.count("still runs")) == (ExitCode.OK, 1)
    answer = json.loads(logged_in("node", "drain", "n2", "--no-wait", "-o", "json").out)
    assert answer["state"] == "DRAINING"


def test_a_wait_that_takes_too_long_ends_with_its_own_code(logged_in, server: ContractServer) -> None:
    server.answers |= {
        "drain_node": node("n2", state="DRAINING"),
        "get_node": node("n2", state="DRAINING"),
        "watch_services": lambda request: ({"type": "services", "services": []} for _ in range(3)),
    }
    result = logged_in("node", "drain", "n2", "--timeout", "0.3s")
    assert result.code == ExitCode.TIMED_OUT
    assert "not empty yet: 1 service still runs" in result.err


def test_a_node_is_used_again_and_removed(logged_in, server: ContractServer) -> None:
    server.answers |= {"activate_node": node("n2"), "remove_node": EMPTY}
    assert "given services again" in logged_in("node", "activate", "n2").err
    result = logged_in("node", "remove", "n2", "--force")
    assert result.code == ExitCode.OK
    assert "docker swarm leave" in result.err
    [call] = [c.request for c in server.calls if c.name == "remove_node"]
    assert (call.name, call.force) == ("n2", True)


def test_a_refusal_has_the_code_of_one(logged_in, server: ContractServer) -> None:
    server.answers["remove_node"] = NodeInUseError("Services run on node n2: train demo/1 SkDt#1.")
    result = logged_in("node", "remove", "n2")
    assert (result.code, "Services run on node n2" in result.err) == (ExitCode.REFUSED, True)
