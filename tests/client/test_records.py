"""The typed client: the contract's types from end to end."""

from __future__ import annotations

import inspect
import select
import socket
import subprocess
import sys
import threading
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from support.http.contract_server import ContractServer

from rafiki.client import records
from rafiki.client.records import AdminClient, Away
from rafiki.constants import UserType
from rafiki.contract import (
    api_tokens,
    datasets,
    environments,
    exports,
    garbage,
    inference_jobs,
    models,
    stack,
    train_jobs,
    users,
)
from rafiki.contract.all import ENDPOINTS
from rafiki.contract.environments import EnvironmentEnded, EnvironmentLines, EnvironmentSnapshot
from rafiki.contract.users import UserView
from rafiki.errors import InvalidTrialError, UnreachableError

GROUPS = [
    api_tokens, datasets, environments, exports, garbage, inference_jobs, models, stack, train_jobs, users,
]  # fmt: skip
USER = {"id": "u1", "email": "a@b.c", "user_type": "ADMIN", "banned_date": "2026-01-02T03:04:05.000006Z"}
SNAPSHOT = {"type": "snapshot", "key": "k", "status": "BUILDING", "requirements": [], "lines": ["one"]}
END = {"type": "end", "key": "k", "status": "READY", "reason": None}


@pytest.fixture
def client(server: ContractServer) -> Iterator[AdminClient]:
    with AdminClient("127.0.0.1", server.port) as connected:
        connected.token = "a token"
        yield connected


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.__name__.rpartition(".")[2])
def test_an_endpoint_is_annotated_with_the_types_that_it_names(group: Any) -> None:
    hints = typing.get_type_hints(group)
    for endpoint in group.ENDPOINTS:
        annotated = hints[endpoint.name.upper()]
        assert typing.get_args(annotated) == (endpoint.request, endpoint.response), endpoint.name


@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_call_of_the_contract_has_a_method_that_answers_with_its_type(name: str) -> None:
    method = getattr(AdminClient, name)
    module = inspect.getmodule(method)
    assert module is not None
    assert module.__name__.startswith(records.__name__)
    answer = typing.get_type_hints(method)["return"]
    endpoint = ENDPOINTS[name]
    if endpoint.is_stream:
        assert answer == Iterator[endpoint.response | Away]
    else:
        assert answer == endpoint.response


def test_an_answer_is_a_record_of_the_contract(client: AdminClient, server: ContractServer) -> None:
    server.answers["get_users"] = [USER]
    banned = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert client.get_users() == [UserView(id="u1", email="a@b.c", user_type=UserType.ADMIN, banned_date=banned)]


def test_a_record_has_the_plain_values_that_the_admin_sent(client: AdminClient, server: ContractServer) -> None:
    server.answers["get_users"] = [USER]
    assert msgspec.to_builtins(client.get_users()) == [USER]


def test_a_field_that_a_newer_admin_adds_is_left_out(client: AdminClient, server: ContractServer) -> None:
    server.answers["get_current_user"] = {**USER, "team": "blue"}
    assert msgspec.to_builtins(client.get_current_user()) == USER


def test_an_admin_whose_answer_lacks_a_field_is_of_another_version(client: AdminClient, server: ContractServer) -> None:
    server.answers["get_current_user"] = {"id": "u1"}
    with pytest.raises(UnreachableError, match=r"another version of Rafiki.* get_current_user .*`email`"):
        client.get_current_user()


def test_a_refusal_is_the_error_that_was_raised(client: AdminClient, server: ContractServer) -> None:
    server.answers["get_trial"] = InvalidTrialError("There is no trial 't9'.")
    with pytest.raises(InvalidTrialError, match="'t9'"):
        client.get_trial("t9")


def test_a_login_is_kept_for_later_calls(client: AdminClient, server: ContractServer) -> None:
    server.answers |= {"login": {"user_id": "u1", "user_type": "ADMIN", "token": "another"}, "get_users": []}
    assert client.login("a@b.c", "p").user_type is UserType.ADMIN
    client.get_users()
    assert server.calls[-1].token == "another"


def test_a_stream_yields_records_and_leaves_out_kinds_it_does_not_know(
    client: AdminClient, server: ContractServer
) -> None:
    lines = {"type": "lines", "lines": ["two"]}
    server.answers["watch_environment"] = [SNAPSHOT, {"type": "weather", "is_fine": True}, lines, END]
    assert list(client.watch_environment("k")) == [
        EnvironmentSnapshot(key="k", status="BUILDING", requirements=[], lines=["one"]),
        EnvironmentLines(lines=["two"]),
        EnvironmentEnded(key="k", status="READY", reason=None),
    ]


def test_who_watches_is_told_while_the_admin_is_away(client: AdminClient, server: ContractServer) -> None:
    begun: list[int] = []

    def answer(_: Any) -> Iterator[dict[str, Any]]:
        begun.append(1)
        yield SNAPSHOT
        if len(begun) == 2:
            yield END

    server.answers["watch_environment"] = answer
    _, away, *rest = client.watch_environment("k")
    assert isinstance(away, Away)
    assert "ended the stream" in away.reason
    assert 0 < away.left_s <= 60
    assert [type(e) for e in rest] == [EnvironmentSnapshot, EnvironmentEnded]


def test_connections_are_kept_and_one_that_ended_meanwhile_is_made_anew(server: ContractServer) -> None:
    server.answers |= {"get_users": [USER], "create_user": USER}
    with AdminClient("127.0.0.1", server.port) as client:
        client.token = "a token"
        client.get_users()
        [kept] = client._caller._plain._idle
        client.get_users()
        assert client._caller._plain._idle == [kept]
        kept.shutdown(socket.SHUT_WR)
        # The server has ended it by now: not even a call that changes something may fail for that.
        assert select.select([kept], [], [], 5)[0]
        assert client.create_user("a@b.c", "p", UserType.ADMIN).id == "u1"


def test_without_any_admin_the_address_is_told() -> None:
    client = AdminClient("127.0.0.1", 1)
    with pytest.raises(UnreachableError, match=r"No admin answers at 127.0.0.1:1. Start the stack"):
        client.get_health()


def test_a_silent_admin_is_not_waited_for_for_ever(server: ContractServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    server.answers |= {
        "get_users": lambda _: asked.wait(20),
        "get_health": {"name": "rafiki", "version": "1", "status": "ok"},
    }
    client = AdminClient("127.0.0.1", server.port)
    with pytest.raises(UnreachableError, match=r"did not answer within 0.1 s"):
        client._caller.send("GET", "/users", headers={}, timeout_s=0.1)
    asked.set()


def test_plain_calls_load_no_httpx(server: ContractServer) -> None:
    server.answers["get_health"] = {"name": "rafiki", "version": "1", "status": "ok"}
    code = f"""
import sys
from rafiki.client.records import AdminClient
assert AdminClient("127.0.0.1", {server.port}).get_health().status == "ok"
print(sorted({{"httpx", "rich", "pydantic", "numpy"}} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
