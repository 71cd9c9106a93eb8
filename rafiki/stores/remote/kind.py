"""The entries of remote stores in the table of stores: ``http://`` and ``https://``."""

from __future__ import annotations

from rafiki.data_store.base import DataStore
from rafiki.param_store.base import ParamStore
from rafiki.store_location import StoreLocation
from rafiki.stores.kind import StoreKind


def _open_data_store(location: StoreLocation, max_bytes: int | None) -> DataStore:
    from rafiki.stores.remote.data_store import RemoteDataStore

    return RemoteDataStore(location, max_bytes)


def _open_param_store(location: StoreLocation) -> ParamStore:
    from rafiki.stores.remote.param_store import RemoteParamStore

    return RemoteParamStore(location)


HTTP = StoreKind(
    about="the stores of an admin on another host",
    open_data_store=_open_data_store,
    open_param_store=_open_param_store,
)
