"""Stores of datasets and of parameters, opened by their location. Who uses one knows its interface alone.

A kind of store is one file with a :class:`~rafiki.stores.kind.StoreKind`, and one entry: a row of the table in
:mod:`rafiki.registries`, or an entry point of the group ``rafiki.stores`` in a package of somebody else's. Its name is
the scheme of its locations.
"""

from rafiki import registries
from rafiki.data_store.base import DataStore
from rafiki.errors import ConfigError
from rafiki.param_store.base import ParamStore
from rafiki.registry import Registry, UnknownNameError
from rafiki.store_location import StoreLocation
from rafiki.stores.kind import StoreKind

__all__ = ["STORES", "StoreKind", "is_for_admin_alone", "open_data_store", "open_param_store"]

STORES = Registry(registries.STORES, StoreKind)
"""By the scheme of their locations."""


def open_data_store(location: StoreLocation, *, max_bytes: int | None = None) -> DataStore:
    """The store of datasets at ``location``.

    Args:
        location: where it is.
        max_bytes: the largest dataset that it takes; None for no limit.

    Raises:
        ConfigError: no kind of store has this scheme, or it keeps no datasets, or the location is not one of its.
    """
    kind = _kind_of(location)
    if kind.open_data_store is None:
        raise ConfigError(f"{location}: a store of the kind {location.scheme!r} keeps no datasets.")
    return kind.open_data_store(location, max_bytes)


def open_param_store(location: StoreLocation) -> ParamStore:
    """The store of trained parameters at ``location``.

    Raises:
        ConfigError: no kind of store has this scheme, or it keeps no parameters, or the location is not one of its.
    """
    kind = _kind_of(location)
    if kind.open_param_store is None:
        raise ConfigError(f"{location}: a store of the kind {location.scheme!r} keeps no parameters.")
    return kind.open_param_store(location)


def is_for_admin_alone(location: StoreLocation) -> bool:
    """Whether services reach the store at ``location`` through the admin alone.

    Raises:
        ConfigError: no kind of store has this scheme.
    """
    return _kind_of(location).is_for_admin_alone


def _kind_of(location: StoreLocation) -> StoreKind:
    """The kind of store that a location names.

    Raises:
        ConfigError: there is none, with those that there are.
    """
    try:
        return STORES.get(location.scheme)
    except UnknownNameError as e:
        raise ConfigError(f"{location}: {e}") from e
