"""A meta store of one's own, and a cache server that the tests of one file share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stores.meta_store_records import Given
from support.stores.own_cache import OwnCache

from rafiki.meta_store import MetaStore, open_meta_store


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("meta_store") / "migrated.db"
    with open_meta_store(f"sqlite:///{path}") as store:
        store.migrate()
    return path


@pytest.fixture
def store_url(migrated_file: Path, tmp_path: Path) -> str:
    shutil.copy(migrated_file, tmp_path / "meta.db")
    return f"sqlite:///{tmp_path}/meta.db"


@pytest.fixture
def store(store_url: str) -> Iterator[MetaStore]:
    with open_meta_store(store_url) as opened:
        yield opened


@pytest.fixture
def given(store: MetaStore) -> Given:
    return Given(store)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack")
    yield server
    server.close()


@pytest.fixture
def own_cache(tmp_path: Path) -> Iterator[OwnCache]:
    """A cache that the test may hurt."""
    server = OwnCache(tmp_path / "stack")
    yield server
    server.close()
