"""An admin that does not answer: put down, restarted, crashed or hung, and how a client tells them apart."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.http.contract_server import ContractServer

from rafiki.client import contract_caller, plain_http
from rafiki.client.records import AdminClient, Away
from rafiki.config import load_config
from rafiki.constants import ExitCode
from rafiki.contract.endpoint import Empty
from rafiki.contract.environments import EnvironmentSnapshot
from rafiki.contract.users import GET_USERS
from rafiki.errors import AdminLostError, StackDownError, UnreachableError
from rafiki.stack_folder import StackFolder
from rafiki.utils.pid_file import PidFile, ProcessHandle
from rafiki.utils.sockets import any_free_port

USER = {"id": "u1", "email": "a@b.c", "user_type": "ADMIN", "banned_date": None}
SNAPSHOT = {"type": "snapshot", "key": "k", "status": "BUILDING", "requirements": [], "lines": ["one"]}


@pytest.fixture
def client(server: ContractServer) -> Iterator[AdminClient]:
    with AdminClient("127.0.0.1", server.port) as connected:
        connected.token = "a token"
        yield connected


def _ending_with(error: str | None) -> list[dict[str, Any]]:
    return [SNAPSHOT] if error is None else [SNAPSHOT, {"type": "error", "error": error, "message": "Its last word."}]


def test_a_stack_that_is_put_down_is_not_waited_for(client: AdminClient, server: ContractServer) -> None:
    server.answers["watch_environment"] = _ending_with("StackDownError")
    events = client.watch_environment("k")
    assert isinstance(next(events), EnvironmentSnapshot)
    with pytest.raises(StackDownError, match=r"Its last word\.") as raised:
        next(events)
    assert raised.value.exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize(("last_word", "patience_s"), [("AdminStoppedError", 60), (None, 4)])
def test_an_admin_that_is_restarted_is_waited_for_longer_than_one_that_crashed(
    client: AdminClient, server: ContractServer, last_word: str | None, patience_s: int
) -> None:
    server.answers["watch_environment"] = _ending_with(last_word)
    events = client.watch_environment("k")
    next(events)
    away = next(events)
    assert isinstance(away, Away)
    assert patience_s - 2 < away.left_s <= patience_s


def test_an_admin_that_went_without_a_word_is_lost(server: ContractServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["watch_environment"] = _ending_with(None)
    monkeypatch.setattr(AdminClient, "_crash_patience_s", 0.2)
    with AdminClient("127.0.0.1", server.port) as client:
        client.token = "a token"
        events = client.watch_environment("k")
        next(events)
        server.close()
        with pytest.raises(AdminLostError, match="went away without a word") as raised:
            list(events)
    assert raised.value.exit_code is ExitCode.UNHEALTHY


def _folder(tmp_path: Path) -> StackFolder:
    (tmp_path / "rafiki.yaml").write_text("")
    folder = StackFolder(load_config(tmp_path / "rafiki.yaml", environ={}))
    folder.create()
    return folder


def test_a_stack_that_was_put_down_is_said_to_be_when_its_last_word_did_not_get_through(
    client: AdminClient, server: ContractServer, tmp_path: Path
) -> None:
    server.answers["watch_environment"] = _ending_with(None)
    client.stack = _folder(tmp_path)
    events = client.watch_environment("k")
    next(events)
    server.close()
    with pytest.raises(StackDownError, match=r"was stopped with `rafiki down`\. Jobs go on"):
        list(events)


@pytest.mark.parametrize("is_light", [True, False])
def test_a_call_that_an_admin_which_hangs_does_not_answer_ends_soon(
    monkeypatch: pytest.MonkeyPatch, is_light: bool
) -> None:
    monkeypatch.setattr(contract_caller, "HANG_S", 0.1)
    monkeypatch.setattr(plain_http, "SILENCE_S", 0.05)
    monkeypatch.setattr(AdminClient, "_is_light", is_light)
    endpoint = msgspec.structs.replace(GET_USERS, timeout_s=3600.0 if is_light else 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = AdminClient("127.0.0.1", listening.getsockname()[1])
        client.token = "a token"
        with client, pytest.raises(AdminLostError, match="it hangs"):
            client._caller.call(endpoint, Empty())


def test_a_call_that_takes_its_time_at_an_admin_that_lives_is_waited_for(
    client: AdminClient, server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    def health(_: Any) -> dict[str, Any]:
        asked.set()
        return {"name": "rafiki", "version": "1", "status": "ok"}

    def users(_: Any) -> list[Any]:
        assert asked.wait(60)
        return [USER]

    monkeypatch.setattr(plain_http, "SILENCE_S", 0.05)
    server.answers |= {"get_users": users, "get_health": health}
    assert len(client.get_users()) == 1


@pytest.mark.parametrize("left", ["nothing", "a crash", "a crash of another folder's", "a start"])
def test_the_files_of_the_stack_tell_why_nobody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    folder = _folder(tmp_path)
    if left != "nothing":
        root = tmp_path if left == "a crash of another folder's" else folder.root
        gone = ProcessHandle(pid=2**22 + 1, create_time=1.0)
        PidFile(process=gone, host="127.0.0.1", port=1, stack_root=str(root)).save(folder.admin_pid_file)
    client = AdminClient("127.0.0.1", any_free_port())
    client.token, client.stack = "a token", folder
    with contextlib.ExitStack() as stack:
        if left == "a start":
            lock = stack.enter_context(folder.up_lock_file.open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UnreachableError) as raised:
            client.get_users()
    expected = {"a crash": AdminLostError, "a start": UnreachableError}
    assert type(raised.value) is expected.get(left, StackDownError)
