"""The stack's private cache server: started, found again, started anew after its death, ended."""

from __future__ import annotations

import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stores.own_cache import PASSWORD, OwnCache, each_server

from rafiki.cache.connection import cache_errors, connect
from rafiki.cache_program import ServerProgram
from rafiki.errors import CacheUnavailableError, StackError
from rafiki.messages import CacheAddress
from rafiki.utils.process import find_stack_processes
from rafiki.utils.sockets import any_free_port, is_free


@pytest.fixture(params=each_server())
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path / "stack", request.param)
    yield server
    server.close()


def can_log_in(address: CacheAddress) -> bool:
    try:
        with cache_errors(address), connect(address) as client:
            return bool(client.ping())
    except CacheUnavailableError:
        return False


def test_the_server_wants_the_password_and_listens_on_this_machine_alone(own: OwnCache) -> None:
    assert can_log_in(own.address)
    assert not can_log_in(
        CacheAddress(host="127.0.0.1", port=own.address.port, db=0, username=None, password=None, prefix="")
    )
    assert {c.laddr.ip for c in own.process.net_connections() if c.status == "LISTEN"} == {"127.0.0.1"}


def test_a_server_that_other_hosts_are_to_reach_is_started_anew_to_listen_there(own: OwnCache) -> None:
    beside = "127.0.0.2"
    pid = own.process.pid
    wider = own.adopt(other_hosts=[beside])
    address = wider.ensure()
    assert own.process.pid != pid
    assert {c.laddr.ip for c in own.process.net_connections() if c.status == "LISTEN"} == {"127.0.0.1", beside}
    there = CacheAddress(host=beside, port=address.port, db=0, username=None, password=PASSWORD, prefix="")
    assert can_log_in(there)
    assert not can_log_in(CacheAddress(host=beside, port=address.port, db=0, username=None, password=None, prefix=""))
    pid = own.process.pid
    assert own.adopt(other_hosts=[beside]).ensure() == address
    assert own.process.pid == pid


def test_the_server_takes_as_many_clients_as_its_process_may_open_files(own: OwnCache) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connect(own.address) as client:
        most = int(client.config_get("maxclients")["maxclients"])
    assert most >= min(50_000, hard) - 100


def test_the_password_stands_where_only_this_user_can_read_it(own: OwnCache) -> None:
    assert PASSWORD not in " ".join(own.process.cmdline())
    assert PASSWORD not in str(own.process.environ())
    holders = [f for f in own.folder.rglob("*") if f.is_file() and PASSWORD in f.read_text(errors="replace")]
    assert [f.name for f in holders] == ["cache.conf"]
    assert {stat.S_IMODE(f.stat().st_mode) for f in holders} == {0o600}


def test_a_new_admin_adopts_the_running_server_with_what_it_holds(own: OwnCache) -> None:
    pid = own.process.pid
    own.admin().set("kept", "yes")
    adopted = own.adopt()
    assert adopted.ensure() == own.address
    assert own.process.pid == pid
    assert own.admin().get("kept") == b"yes"
    assert adopted.is_alive()
    adopted.stop()
    assert not own.server.is_alive()


def test_asking_again_starts_no_second_server(own: OwnCache) -> None:
    assert own.server.ensure() == own.server.ensure() == own.address
    assert len(find_stack_processes(own.folder)) == 1


@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_killed_server_is_seen_and_started_again_on_its_port(own: OwnCache, is_adopted: bool) -> None:
    server = own.adopt() if is_adopted else own.server
    assert server.is_alive()
    own.kill()
    assert not server.is_alive()
    assert server.ensure() == own.address
    assert can_log_in(own.address)
    server.stop()


@pytest.mark.parametrize(
    "content", [None, "", "{", '{"process": {"pid": 1, "create_time": 0.0}, "host": "h", "port": 1}']
)
def test_without_a_pid_file_the_old_server_is_replaced_on_its_port(own: OwnCache, content: str | None) -> None:
    old = own.process
    pid_file = own.folder / "run" / "cache.json"
    if content is None:
        pid_file.unlink()
    else:
        pid_file.write_text(content)
    adopted = own.adopt()
    assert adopted.ensure() == own.address
    assert not old.is_running() or old.status() == "zombie"
    assert len(find_stack_processes(own.folder)) == 1
    adopted.stop()


def test_stopping_leaves_no_process_and_no_pid_file_and_keeps_the_port_for_the_next_start(own: OwnCache) -> None:
    own.server.stop()
    assert find_stack_processes(own.folder) == []
    assert not (own.folder / "run" / "cache.json").exists()
    assert is_free(own.address.port)
    own.server.stop()
    assert own.adopt().ensure() == own.address


def test_a_kept_port_that_is_taken_is_given_up_for_another(own: OwnCache, monkeypatch: pytest.MonkeyPatch) -> None:
    own.server.stop()
    monkeypatch.setattr("rafiki.cache.server._PORT_LINGERS_S", 0.1)
    with socket.create_server(("127.0.0.1", own.address.port)):
        server = own.adopt()
        assert server.ensure().port != own.address.port
        server.stop()


def test_a_configured_port_that_is_taken_is_a_clear_error(own: OwnCache) -> None:
    own.server.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"Port {port} of the cache is in use.*cache\.port"):
            own.adopt(port=port).ensure()
    assert find_stack_processes(own.folder) == []


def test_a_configured_port_is_used(own: OwnCache) -> None:
    own.server.stop()
    port = any_free_port()
    server = own.adopt(port=port)
    assert server.ensure().port == port
    server.stop()


def test_a_server_that_does_not_start_is_a_clear_error_and_leaves_nothing(own: OwnCache, tmp_path: Path) -> None:
    own.server.stop()
    broken = tmp_path / "broken-server"
    broken.write_text(f"#!/bin/sh\necho 'no such engine' >> {own.folder}/cache.log\nexit 1\n")
    broken.chmod(0o755)

    def program(path: Path) -> ServerProgram:
        return ServerProgram(path=str(path), name="Redis", version="7.0.15", reason="")

    with pytest.raises(StackError, match="no such engine") as e:
        own.adopt(find_program=lambda: program(broken)).ensure()
    assert PASSWORD not in e.value.message
    assert find_stack_processes(own.folder) == []
    with pytest.raises(StackError, match="does not start"):
        own.adopt(find_program=lambda: program(tmp_path / "absent")).ensure()
