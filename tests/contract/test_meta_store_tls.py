"""A PostgreSQL server of somebody else's, over TLS, with its name proven."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from support.tls.authority import Authority, Pair
from support.tls.postgres_server import TlsPostgres, open_tls_server

from rafiki.config import load_config
from rafiki.errors import MetaStoreError
from rafiki.meta_store import open_meta_store
from rafiki.stack_folder import StackFolder


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("server", "127.0.0.1")


@pytest.fixture(scope="module")
def server(authority: Authority, pair: Pair) -> Iterator[TlsPostgres]:
    made = open_tls_server(pair, clients=authority.file)
    yield made
    made.close()


@pytest.fixture(scope="module")
def database(server: TlsPostgres) -> str:
    return server.create_database()


def url_of(folder: Path, url: str, **files: Path) -> str:
    """The URL that a stack with these settings uses."""
    lines = [f"  {name}: {file}\n" for name, file in files.items()]
    (folder / "rafiki.yaml").write_text(f"meta_store:\n  url: {url}\n{''.join(lines)}")
    return StackFolder(load_config(folder / "rafiki.yaml")).meta_store_url


@pytest.fixture
def url(server: TlsPostgres, database: str, authority: Authority, tmp_path: Path) -> str:
    client = authority.issue("client")
    return url_of(tmp_path, server.tls_url(database), ca=authority.file, certificate=client[0], key=client[1])


def problem(url: str) -> str:
    with open_meta_store(url) as store, pytest.raises(MetaStoreError) as refused:
        store.ping()
    assert "pass:word" not in refused.value.message
    return refused.value.message


def test_it_is_used_over_tls_with_its_name_proven_and_a_restart_costs_no_call(url: str, server: TlsPostgres) -> None:
    assert "sslmode=verify-full" in url
    with open_meta_store(url) as store:
        store.migrate()
        user = store.users.create_user("ada@rafiki", "hash", "ADMIN")
        server.restart()
        assert store.users.get_user(user.id) == user
        server.restart()
        assert store.users.ban_user(user.id).banned_date is not None


def test_of_several_hosts_the_one_that_can_be_written_to_is_found(
    server: TlsPostgres, database: str, url: str, tmp_path: Path
) -> None:
    query = url.partition("?")[2]
    several = f"postgresql://rafiki:pass%3Aword%2F1@/{database}?host=127.0.0.1:1&host=127.0.0.1:{server.port}&{query}"
    with open_meta_store(f"{several}&target_session_attrs=read-write") as store:
        store.ping()
    named = several.partition("&sslrootcert")[0]
    stranger = Authority(tmp_path, "stranger")
    assert "Its certificate is not trusted" in problem(
        f"{named}&sslmode=verify-full&sslrootcert={stranger.file}".replace("host=127.0.0.1:1&", "")
    )


def test_what_is_wrong_with_certificates_is_said(
    server: TlsPostgres, database: str, authority: Authority, pair: Pair, url: str, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    plain = server.tls_url(database)
    assert "Its certificate is not trusted: " in problem(url_of(tmp_path, plain, ca=stranger.file))
    assert "meta_store.certificate" in problem(url_of(tmp_path, plain, ca=authority.file))
    assert "add sslmode=verify-full" in problem(f"{plain}?sslmode=disable")
    try:
        server.show(authority.issue("old", "127.0.0.1", days=-1))
        assert "Its certificate is not trusted: certificate has expired" in problem(url)
        server.show(authority.issue("other", "db.example.org"))
        assert "Name the server in meta_store.url as its certificate does" in problem(url)
        server.set("ssl", "off")
        assert "speaks no TLS" in problem(url)
    finally:
        server.set("ssl", "on")
        server.show(pair)


def test_a_server_whose_connections_are_all_taken_says_so(url: str, server: TlsPostgres) -> None:
    server.set("max_connections", "5")
    try:
        with open_meta_store(url) as store:
            with contextlib.ExitStack() as taken:
                with pytest.raises(psycopg2.OperationalError):
                    while True:
                        taken.enter_context(contextlib.closing(psycopg2.connect(server.own_url)))
                with pytest.raises(MetaStoreError, match=r"max_connections"):
                    store.ping()
            store.ping()
    finally:
        server.set("max_connections", "200")
