"""Stores that are folders: ``folder:///data/params``."""

from __future__ import annotations

from pathlib import Path

from rafiki.data_store.base import DataStore
from rafiki.errors import ConfigError
from rafiki.param_store.base import ParamStore
from rafiki.store_location import StoreLocation, find_folder
from rafiki.stores.kind import StoreKind


def _folder(location: StoreLocation) -> Path:
    folder = find_folder(location)
    if folder is None:
        raise ConfigError(f"{location}: this is no folder.")
    return folder


def _open_data_store(location: StoreLocation, max_bytes: int | None) -> DataStore:
    from rafiki.data_store.folder import FolderDataStore

    return FolderDataStore(_folder(location), max_bytes=max_bytes)


def _open_param_store(location: StoreLocation) -> ParamStore:
    from rafiki.param_store.folder import FolderParamStore

    return FolderParamStore(_folder(location))


FOLDER = StoreKind(
    about="a folder of this machine, or of a file system that hosts share",
    open_data_store=_open_data_store,
    open_param_store=_open_param_store,
)
