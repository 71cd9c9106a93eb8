"""What a job's credential can reach: the keys and channels of its own job, with the commands that we use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import redis
from support.stacks.running_stack import eventually
from support.stores.own_cache import PASSWORD, OwnCache, each_server

from rafiki.cache.connection import cache_errors, connect, parse_cache_url
from rafiki.cache.credentials import Credentials
from rafiki.cache.train import RedisTrainCache
from rafiki.errors import CacheUnavailableError, ConfigError
from rafiki.messages import CacheAddress, Hello
from rafiki.utils.ids import new_id


@pytest.fixture(scope="module", params=each_server())
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack", request.param)
    yield server
    server.close()


@pytest.fixture
def job(shared: OwnCache) -> CacheAddress:
    return shared.new_job()


@pytest.mark.parametrize(
    "command",
    [
        "GET {other}x",
        "SET {other}x 1",
        "DEL {other}x",
        "MGET {own}x {other}x",
        "HGETALL {other}serving:t",
        "RPUSH {other}queries:t 1",
        "BLPOP {other}queries:t 0.01",
        "LPOP {other}queries:t 3",
        "XADD {other}sub:events * e 1",
        "XREADGROUP GROUP advisor advisor STREAMS {other}sub:events >",
        "PUBLISH {other}reports x",
        "SUBSCRIBE {other}reports",
        "GET somebody-elses-key",
        "SET rafiki: 1",
        "PUBLISH reports x",
    ],
)
def test_a_job_reaches_no_keys_and_channels_but_its_own(shared: OwnCache, job: CacheAddress, command: str) -> None:
    other = shared.new_job()
    own = command.replace("{other}", "{own}").format(own=job.prefix).split()
    with connect(job) as client:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command.format(own=job.prefix, other=other.prefix).split())
        # It is the key that is refused, not the command.
        if command.count("{other}") and not command.startswith("SUBSCRIBE"):
            try:
                client.execute_command(*own)
            except redis.ResponseError as e:
                assert not isinstance(e, redis.exceptions.NoPermissionError)


@pytest.mark.parametrize(
    "command",
    [
        "KEYS *",
        "SCAN 0",
        "DBSIZE",
        "RANDOMKEY",
        "FLUSHALL",
        "FLUSHDB",
        "SWAPDB 0 1",
        "CONFIG GET requirepass",
        "CONFIG SET requirepass x",
        "EVAL return(1) 0",
        "SCRIPT LOAD return(1)",
        "PSUBSCRIBE rafiki:*",
        "PUBSUB CHANNELS",
        "MONITOR",
        "INFO",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "ACL LIST",
        "ACL SETUSER default nopass",
        "SAVE",
        "REPLICAOF 127.0.0.1 1",
        "SHUTDOWN NOSAVE",
        "MODULE LIST",
        "RENAME {own}a {own}b",
        "MIGRATE 127.0.0.1 1 {own}a 0 1",
    ],
)
def test_a_job_cannot_ask_about_others_or_rule_the_server(job: CacheAddress, command: str) -> None:
    with connect(job) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.format(own=job.prefix).split())


def test_what_a_job_may_not_do_is_refused_within_a_transaction_too(shared: OwnCache, job: CacheAddress) -> None:
    other = shared.new_job()
    with connect(job) as client, client.pipeline(transaction=True) as pipe, pytest.raises(redis.RedisError):
        pipe.set(f"{job.prefix}x", 1)
        pipe.set(f"{other.prefix}x", 1)
        pipe.execute()
    assert shared.admin().exists(f"{job.prefix}x", f"{other.prefix}x") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "wrong"},
        {"password": None, "username": None},
        {"username": None},
        {"username": "nobody"},
        {"username": "default", "password": "wrong"},
    ],
)
def test_a_wrong_credential_is_a_clear_error(job: CacheAddress, wrong: dict[str, Any]) -> None:
    address = msgspec.structs.replace(job, **wrong)
    with pytest.raises(CacheUnavailableError, match=f"{job.port} failed") as e:
        RedisTrainCache(address, "sub").send_event(Hello("w"))
    assert str(job.password) not in e.value.message


def test_one_job_cannot_log_in_as_another(shared: OwnCache, job: CacheAddress) -> None:
    other = shared.new_job()
    assert job.password != other.password
    with pytest.raises(CacheUnavailableError), cache_errors(job):
        connect(msgspec.structs.replace(other, password=job.password)).ping()


def test_a_restarted_admin_gives_a_job_the_same_credential_and_another_stack_does_not(shared: OwnCache) -> None:
    same = [Credentials(shared.address, "key one").address_of("job") for _ in range(2)]
    assert same[0] == same[1]
    assert Credentials(shared.address, "key two").address_of("job").password != same[0].password
    assert PASSWORD not in repr(same[0])


def test_granting_again_changes_nothing_for_who_is_connected(shared: OwnCache, job: CacheAddress) -> None:
    cache = RedisTrainCache(job, "sub")
    cache.send_event(Hello("a"))
    shared.grant_again(job)
    cache.send_event(Hello("b"))
    assert [r.event for r in cache.take_events(0.01)] == [Hello("a"), Hello("b")]


def test_revoking_takes_the_user_away_and_all_its_keys_and_nobody_elses(shared: OwnCache, job: CacheAddress) -> None:
    other = shared.new_job()
    with connect(job) as client, connect(other) as neighbour:
        for i in range(1200):
            client.set(f"{job.prefix}{i}", i)
        neighbour.set(f"{other.prefix}x", 1)
        shared.credentials.revoke(job.prefix.split(":")[1])
        with pytest.raises(redis.RedisError):
            client.get(f"{job.prefix}1")
        assert neighbour.get(f"{other.prefix}x") == b"1"
    assert list(shared.admin().scan_iter(match=f"{job.prefix}*")) == []
    with pytest.raises(CacheUnavailableError), cache_errors(job):
        connect(job).ping()
    # Once more is no error: the server may have been restarted in between.
    shared.credentials.revoke(job.prefix.split(":")[1])


def test_several_jobs_are_granted_at_once_and_revoked_at_once(shared: OwnCache) -> None:
    job_ids = [new_id() for _ in range(3)]
    shared.credentials.grant_all(job_ids)
    jobs = [shared.credentials.address_of(job_id) for job_id in job_ids]
    for job in jobs:
        with connect(job) as client:
            client.set(f"{job.prefix}x", 1)
    shared.credentials.revoke_all(job_ids[:2])
    for job in jobs[:2]:
        with pytest.raises(CacheUnavailableError), cache_errors(job):
            connect(job).ping()
        assert list(shared.admin().scan_iter(match=f"{job.prefix}*")) == []
    with connect(jobs[2]) as client:
        assert client.get(f"{jobs[2].prefix}x") == b"1"
    shared.credentials.revoke_all([])


def test_a_restarted_server_knows_a_job_again_once_it_was_granted(shared: OwnCache, job: CacheAddress) -> None:
    shared.restart()
    cache = RedisTrainCache(job, "sub")
    with pytest.raises(CacheUnavailableError):
        cache.send_event(Hello("a"))
    shared.grant_again(job)
    cache.send_event(Hello("a"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", ("h", 6379, 0, None, None, False)),
        ("redis://:p%40ss@h:1/2", ("h", 1, 2, None, "p@ss", False)),
        ("rediss://u:p@h:7/", ("h", 7, 0, "u", "p", True)),
    ],
)
def test_a_cache_url_is_read(url: str, expected: tuple[Any, ...]) -> None:
    a = parse_cache_url(url)
    assert (a.host, a.port, a.db, a.username, a.password, a.use_tls) == expected


@pytest.mark.parametrize("url", ["", "h:1", "http://h", "redis://", "redis://:secret@h:port/0", "redis://:secret@h/x"])
def test_a_bad_cache_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"cache\.url") as e:
        parse_cache_url(url)
    assert "secret" not in e.value.message


@pytest.mark.parametrize("program", each_server())
def test_a_job_that_fills_a_private_cache_is_refused_and_its_end_makes_space(program: str, tmp_path: Path) -> None:
    cache = OwnCache(tmp_path / "stack", program, max_memory_bytes=16 << 20)
    try:
        greedy, other = cache.new_job(), cache.new_job()
        with connect(greedy) as client, pytest.raises(CacheUnavailableError, match=r"full \(maxmemory\)"):
            for no in range(32):
                with cache_errors(greedy):
                    client.set(f"{greedy.prefix}{no}", bytes(1 << 20))
        # It goes on answering, and the machine has its memory.
        assert cache.admin().ping()
        cache.credentials.revoke(greedy.prefix.split(":")[1])

        def has_space() -> bool:
            try:
                with cache_errors(other), connect(other) as client:
                    return bool(client.set(f"{other.prefix}x", b"1"))
            except CacheUnavailableError:
                return False

        # What is unlinked is freed in a thread of the server.
        eventually(has_space, "space in the cache")
    finally:
        cache.close()


def test_a_private_cache_may_use_half_of_the_machine(shared: OwnCache) -> None:
    found = shared.admin().config_get("maxmemory")
    assert int(found["maxmemory"]) == psutil.virtual_memory().total // 2
