"""Every back end of each kind: the meta store on each of its databases, every store, every container back end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.machines.bubblewrap import needs_bubblewrap
from support.services.container_rooms import BACK_ENDS, TESTS, ContainerRoom, SwarmRoom
from support.stores.emptied_database import EmptiedDatabase
from support.stores.meta_store_records import Given
from support.stores.postgres_server import ExternalServer
from support.stores.store_rooms import KINDS, StoreRoom

from rafiki.meta_store import MetaStore, open_meta_store


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, which is not migrated."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("meta_store") / "migrated.db"
    with open_meta_store(f"sqlite:///{path}") as store:
        store.migrate()
    return path


@pytest.fixture(scope="session")
def emptied_postgres(postgres_server: ExternalServer) -> Iterator[EmptiedDatabase]:
    name = postgres_server.create_database()
    with open_meta_store(postgres_server.url_of(name)) as store:
        store.migrate()
    database = EmptiedDatabase(postgres_server, name)
    yield database
    database.close()
    postgres_server.drop_database(name)


@pytest.fixture
def new_sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    path = tmp_path / "meta.db"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture
def new_postgres_url(emptied_postgres: EmptiedDatabase, postgres_server: ExternalServer) -> Iterator[str]:
    yield postgres_server.url_of(emptied_postgres.lend())
    emptied_postgres.take_back()


@pytest.fixture(params=["sqlite", "postgres"])
def meta_store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database without records."""
    url: str = request.getfixturevalue(f"new_{request.param}_url")
    return url


@pytest.fixture
def store(meta_store_url: str) -> Iterator[MetaStore]:
    with open_meta_store(meta_store_url) as opened:
        yield opened


@pytest.fixture
def given(store: MetaStore) -> Given:
    """Makes records with defaults for what a test does not care about."""
    return Given(store)


@pytest.fixture
def execute(meta_store_url: str) -> Callable[..., list[Any]]:
    """Runs SQL past the store."""
    import sqlalchemy

    def run(statement: str, **parameters: Any) -> list[Any]:
        engine = sqlalchemy.create_engine(meta_store_url.replace("postgresql:", "postgresql+psycopg2:"))
        try:
            with engine.begin() as connection:
                result = connection.execute(sqlalchemy.text(statement), parameters)
                return list(result) if result.returns_rows else []
        finally:
            engine.dispose()

    return run


@pytest.fixture(params=list(KINDS))
def store_room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreRoom]:
    """A place for stores of each kind."""
    room = KINDS[request.param](tmp_path)
    yield room
    room.close()


_NEEDS = {"boxes": [needs_bubblewrap], SwarmRoom.backend: [pytest.mark.engines]}


@pytest.fixture(params=[pytest.param(name, marks=_NEEDS.get(name, [])) for name in BACK_ENDS])
def make_room(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], ContainerRoom]]:
    """Makes stacks over each container back end."""
    if request.param == SwarmRoom.backend:
        SwarmRoom.hosts = request.getfixturevalue("docker_hosts")
    # Where the program of the tests' services is.
    monkeypatch.setenv("PYTHONPATH", TESTS)
    rooms: list[ContainerRoom] = []

    def make() -> ContainerRoom:
        rooms.append(BACK_ENDS[request.param](tmp_path.resolve() / f"stack-{len(rooms)}"))
        return rooms[-1]

    yield make
    for made in rooms:
        made.close()


@pytest.fixture
def room(make_room: Callable[[], ContainerRoom]) -> ContainerRoom:
    """A stack over each container back end."""
    return make_room()
