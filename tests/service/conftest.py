"""A cache server that the tests of one file share, and the services of one job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.services.started_services import Services
from support.stores.own_cache import OwnCache
from support.stores.store_and_cache import cache, own_cache

__all__ = ["cache", "own_cache"]


@pytest.fixture
def services(cache: OwnCache, tmp_path: Path) -> Iterator[Services]:
    made = Services(cache, tmp_path)
    yield made
    for child in made.started:
        child.kill()
        child.wait()
