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

from rafiki.data_store.base import DataStore
from rafiki.param_store.base import ParamStore
from rafiki.store_location import StoreLocation, folder_location
from rafiki.stores import open_data_store, open_param_store

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


KINDS: dict[str, Callable[[Path], StoreRoom]] = {"folder": FolderRoom}
"""By the scheme of its locations: a room in an empty folder."""
