"""The entry of S3 in the table of stores: ``s3://``."""

from __future__ import annotations

from rafiki.data_store.base import DataStore
from rafiki.param_store.base import ParamStore
from rafiki.store_location import StoreLocation
from rafiki.stores.kind import StoreKind


def _open_data_store(location: StoreLocation, max_bytes: int | None) -> DataStore:
    from rafiki.stores.s3.data_store import S3DataStore

    return S3DataStore(location, max_bytes)


def _open_param_store(location: StoreLocation) -> ParamStore:
    from rafiki.stores.s3.param_store import S3ParamStore

    return S3ParamStore(location)


S3 = StoreKind(
    about="a bucket of S3, or of a server that speaks like it",
    open_data_store=_open_data_store,
    open_param_store=_open_param_store,
    is_for_admin_alone=True,
)
