"""Every store of a kind, one fixture parameter each: the suites below run over all of them."""

from pathlib import Path

import pytest

from rafiki.data_store.base import DataStore
from rafiki.data_store.folder import FolderDataStore
from rafiki.param_store.base import ParamStore
from rafiki.param_store.folder import FolderParamStore


@pytest.fixture(params=["folder"])
def data_store(request: pytest.FixtureRequest, tmp_path: Path) -> DataStore:
    return {"folder": lambda: FolderDataStore(tmp_path / "data", max_bytes=1000)}[request.param]()


@pytest.fixture(params=["folder"])
def param_store(request: pytest.FixtureRequest, tmp_path: Path) -> ParamStore:
    return {"folder": lambda: FolderParamStore(tmp_path / "params")}[request.param]()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write of this process fails as on a full disk, after the first bytes of the file are out."""
    import errno
    import os

    def fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
