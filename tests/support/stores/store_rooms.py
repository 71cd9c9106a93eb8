"""Every kind of store, with the means to harm what it holds: the suites of stores run over all of them.

A new kind is one class here, and one entry in :data:`KINDS`.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from support.http.threaded_server import ThreadedServer
from support.stores.s3_server import S3Server

from rafiki.data_store.base import DataStore
from rafiki.errors import UnauthorizedError
from rafiki.param_store.base import ParamStore
from rafiki.store_location import StoreLocation, folder_location
from rafiki.stores import open_data_store, open_param_store
from rafiki.stores.remote.server import StoreRights, StoreServer
from rafiki.utils.process import COPIES_FOLDER_VARIABLE

MAX_BYTES = 1000
"""The largest dataset that the stores of the tests take."""


class StoreRoom(ABC):
    """A place with one store of datasets and one of parameters, empty at first."""

    @property
    @abstractmethod
    def datasets(self) -> StoreLocation:
        """Where the store of datasets is."""

    @property
    @abstractmethod
    def params(self) -> StoreLocation:
        """Where the store of parameters is."""

    @abstractmethod
    def damage(self, stored_id: str) -> None:
        """Change a byte of what is stored under the id of a dataset or of parameters, past the store."""

    @abstractmethod
    def fill_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on there is no space."""

    @property
    @abstractmethod
    def full_message(self) -> str:
        """A pattern of what a full store says."""

    def open_datasets(self) -> DataStore:
        return open_data_store(self.datasets, max_bytes=MAX_BYTES)

    def open_params(self) -> ParamStore:
        return open_param_store(self.params)

    def close(self) -> None:  # noqa: B027 - a folder needs nothing
        """Let go of what serves the stores."""


class FolderRoom(StoreRoom):
    """Two folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def datasets(self) -> StoreLocation:
        return folder_location(self._folder / "datasets of all")

    @property
    def params(self) -> StoreLocation:
        return folder_location(self._folder / "params")

    def damage(self, stored_id: str) -> None:
        [path] = self._folder.glob(f"*/{stored_id}*")
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    def fill_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fsync(fd: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", fsync)

    @property
    def full_message(self) -> str:
        return "No space is left in"


class AllRights:
    """Those of whoever has the token of the tests."""

    def read_dataset(self, store_id: str) -> None: ...
    def read_params(self, params_id: str) -> None: ...
    def write_params(self, params_id: str) -> None: ...
    def write_validation(self, params_id: str) -> None: ...
    def delete_params(self, params_id: str) -> None: ...
    def manage(self) -> None: ...
    def note_written(self, params_id: str) -> None: ...
    def confirm_params(self, params_id: str) -> None: ...


class HttpRoom(FolderRoom):
    """Two folders, served over HTTP."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        # The copies of this host are not those of other tests.
        self._copies = folder / "copies"
        os.environ[COPIES_FOLDER_VARIABLE] = str(self._copies)
        datasets, params = open_data_store(super().datasets, max_bytes=MAX_BYTES), open_param_store(super().params)
        app = Starlette(routes=StoreServer(datasets, params, self._rights_of, is_managed=True).routes())
        self._server = ThreadedServer(app)

    @staticmethod
    def _rights_of(token: str) -> StoreRights:
        if token != "let me in":
            raise UnauthorizedError("This token is not valid.")
        return AllRights()

    @property
    def datasets(self) -> StoreLocation:
        return StoreLocation(url=f"{self._server.url}/stores", credential="let me in")

    @property
    def params(self) -> StoreLocation:
        return self.datasets

    def close(self) -> None:
        self._server.close()
        del os.environ[COPIES_FOLDER_VARIABLE]


class S3Room(StoreRoom):
    """A bucket of a server that speaks like S3."""

    def __init__(self, folder: Path) -> None:
        self._variables = pytest.MonkeyPatch()
        self._variables.setenv(COPIES_FOLDER_VARIABLE, str(folder / "copies"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            self._variables.setenv(name, "for-tests")
        self._server = S3Server()

    @property
    def datasets(self) -> StoreLocation:
        return self._server.location("datasets of all")

    @property
    def params(self) -> StoreLocation:
        return self._server.location("params")

    def damage(self, stored_id: str) -> None:
        self._server.damage(stored_id)

    def fill_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._server.is_full = True

    @property
    def full_message(self) -> str:
        return "No space is left in"

    def close(self) -> None:
        self._server.close()
        self._variables.undo()


KINDS: dict[str, Callable[[Path], StoreRoom]] = {"folder": FolderRoom, "http": HttpRoom, "s3": S3Room}
"""By the scheme of its locations: a room in an empty folder."""
