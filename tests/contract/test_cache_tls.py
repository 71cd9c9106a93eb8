"""A cache server of somebody else's, over TLS: with an authority, a user and a client's certificate of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.stores.own_cache import server_programs
from support.tls.authority import Authority, speaks_tls
from support.tls.redis_server import TlsRedis, find_tls_program

from rafiki.admin.authority import server_tls
from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.cache.connection import connect, connect_async
from rafiki.cache.credentials import Credentials
from rafiki.cache.rehearsal import rehearse
from rafiki.cache.server import CacheServer, CacheServerTls
from rafiki.cache.train import RedisTrainCache
from rafiki.cache_program import find_server_program
from rafiki.errors import CacheUnavailableError, CacheUnfitError, ConfigError
from rafiki.messages import CacheAddress, CacheTls, Hello
from rafiki.utils.ids import new_id

KEY = "the key from which the jobs' passwords are derived"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    pair = authority.issue("server", "127.0.0.1")
    made = TlsRedis(
        tmp_path_factory.mktemp("redis"), pair, authority=authority.file, asks_clients=True,
        settings={"maxmemory-policy": "allkeys-lru"},
    )  # fmt: skip
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(authority: Authority) -> CacheTls:
    pair = authority.issue("client")
    return CacheTls(
        authorities=authority.file.read_text(), certificate=pair.certificate.read_text(), key=pair.key.read_text()
    )


def problem(address: CacheAddress) -> str:
    with pytest.raises((CacheUnfitError, CacheUnavailableError)) as refused:
        rehearse(address, Credentials(address, KEY))
    assert "pass:word" not in refused.value.message
    return refused.value.message


def test_a_job_does_all_its_work_over_tls_with_what_its_spec_holds(server: TlsRedis, client: CacheTls) -> None:
    address = server.address(client)
    credentials = Credentials(address, KEY)
    rehearse(address, credentials)
    job = credentials.grant(new_id())
    assert job.tls == client
    assert job.password != address.password

    async def ask() -> bytes:
        async with connect_async(job) as connection:
            await connection.set(job.prefix + "x", b"1")
            return bytes(await connection.get(job.prefix + "x"))

    assert asyncio.run(ask()) == b"1"


def test_a_lost_connection_is_recovered_at_the_next_call(server: TlsRedis, client: CacheTls) -> None:
    credentials = Credentials(server.address(client), KEY)
    job_id = new_id()
    cache = RedisTrainCache(credentials.grant(job_id), "sub")
    cache.open_as_advisor()
    cache.send_event(Hello("worker"))
    server.kill()
    with pytest.raises(CacheUnavailableError, match="cannot be reached"):
        cache.send_event(Hello("worker"))
    server.start()
    credentials.grant(job_id)
    cache.open_as_advisor()
    cache.send_event(Hello("other"))
    assert [r.event for r in cache.take_events(1.0)] == [Hello("other")]
    cache.close()


def test_nothing_of_others_is_touched_and_nothing_of_ours_is_left(server: TlsRedis, client: CacheTls) -> None:
    with connect(server.address(client, "default")) as owner:
        owner.mset({"rafiki": 1, "rafikix:1": 1, "somebody:else": 1})
        before, users = server.keys(client), owner.execute_command("ACL USERS")
    keeper = CacheKeeper(server.address(client), None, KEY)
    keeper.rehearse()
    keeper.grant(new_id())
    keeper.check()
    assert server.keys(client) != before
    keeper.shut_down()
    assert server.keys(client) == before
    with connect(server.address(client, "default")) as owner:
        assert owner.execute_command("ACL USERS") == users


def test_a_policy_that_takes_keys_away_is_told(server: TlsRedis, client: CacheTls) -> None:
    warning = Credentials(server.address(client), KEY).ask_server().warning
    assert warning is not None
    assert "maxmemory-policy allkeys-lru" in warning


def test_what_is_wrong_with_certificates_is_said(
    server: TlsRedis, client: CacheTls, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    pair = stranger.issue("theirs")
    wrong = CacheTls(authorities=client.authorities, certificate=pair.certificate.read_text(), key=pair.key.read_text())
    assert "its certificate is not trusted: " in problem(server.address(CacheTls()))
    assert "its certificate is not trusted: " in problem(
        server.address(CacheTls(authorities=stranger.file.read_text()))
    )
    assert "cache.certificate" in problem(server.address(CacheTls(authorities=client.authorities)))
    assert "cache.certificate" in problem(server.address(wrong))


@pytest.mark.parametrize(
    ("host", "days", "reason"),
    [("127.0.0.1", -1, "certificate has expired"), ("redis.example.org", 30, "not valid for '127.0.0.1'")],
)
def test_a_certificate_that_has_expired_or_is_anothers_is_refused(
    authority: Authority, tmp_path: Path, host: str, days: int, reason: str
) -> None:
    server = TlsRedis(tmp_path / "redis", authority.issue("bad", host, days=days), authority=authority.file)
    try:
        assert reason in problem(server.address())
    finally:
        server.close()


def test_one_side_that_speaks_no_tls_is_told_from_a_server_that_is_away(
    server: TlsRedis, client: CacheTls, tmp_path: Path
) -> None:
    plain = TlsRedis(tmp_path / "redis", None)
    told = CacheAddress(
        host=plain.host, port=plain.port, db=0, username=None, password=None, prefix="", use_tls=True, tls=client
    )
    try:
        assert "does not speak TLS" in problem(told)
    finally:
        plain.close()
    assert "cannot be reached" in problem(told)
    spoken_plainly = CacheAddress(host=server.host, port=server.port, db=0, username=None, password=None, prefix="")
    assert "has to write rediss://" in problem(spoken_plainly)


def test_a_server_that_closes_each_connection_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()
        listener.settimeout(0.1)

        def close_all() -> None:
            while not ended.is_set():
                try:
                    listener.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=close_all)
        thread.start()
        address = CacheAddress(
            host="127.0.0.1", port=listener.getsockname()[1], db=0, username=None, password=None, prefix=""
        )
        try:
            assert "closes the connection" in problem(address)
            assert "closes the connection" in problem(
                CacheAddress(
                    host="127.0.0.1", port=address.port, db=0, username=None, password=None, prefix="", use_tls=True
                )
            )
        finally:
            ended.set()
            thread.join()


def test_a_server_that_knows_its_clients_by_nothing_but_tls(authority: Authority, tmp_path: Path) -> None:
    server = TlsRedis(tmp_path, authority.issue("open", "127.0.0.1"), authority=authority.file, has_password=False)
    address = msgspec.structs.replace(server.address(), username=None, password=None)
    try:
        for _ in range(20):
            with connect(address) as client:
                assert client.ping()
        rehearse(address, Credentials(address, KEY))
    finally:
        server.close()


def test_a_private_server_speaks_tls_to_everybody_once_other_hosts_need_it(tmp_path: Path) -> None:
    tls = server_tls(tmp_path / "tls", ["127.0.0.1"])
    program = find_tls_program()
    (tmp_path / "run").mkdir()

    def server(with_tls: bool) -> CacheServer:
        return CacheServer(
            stack_root=tmp_path, run_folder=tmp_path / "run", log_file=tmp_path / "cache.log", password="secret",
            port=0, start_timeout_s=10.0,
            find_program=lambda: find_server_program(program, tmp_path, needs_tls=with_tls),
            tls=CacheServerTls(tls.certificate, tls.key, tls.authorities) if with_tls else None,
        )  # fmt: skip

    plain = server(False).ensure()
    rehearse(plain, Credentials(plain, KEY))
    # One that was started without it is replaced, at the same port.
    address = server(True).ensure()
    assert (address.port, address.use_tls) == (plain.port, True)
    try:
        rehearse(address, Credentials(address, KEY))
        assert server(True).ensure() == address
        with pytest.raises(CacheUnavailableError, match="closes the connection"):
            Credentials(plain, KEY).ask_server()
    finally:
        server(True).stop()


def test_a_program_without_tls_is_told_with_what_to_do(tmp_path: Path) -> None:
    programs = [path for path in server_programs().values() if not speaks_tls(Path(path))]
    if not programs:
        pytest.skip("every server here speaks TLS")
    with pytest.raises(ConfigError, match=r"was built without TLS.*redis-server.*cache\.url.*private network"):
        find_server_program(programs[0], tmp_path, needs_tls=True)
