"""What a kind of store is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rafiki.data_store.base import DataStore
from rafiki.param_store.base import ParamStore
from rafiki.store_location import StoreLocation


class StoreKind(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of :data:`rafiki.stores.STORES`.

    Both functions raise ConfigError for a location that is not theirs, and import what they need when they are called:
    a train worker that opens parameters loads nothing of a store of datasets.
    """

    about: str
    """For people: ``a folder of this machine``."""
    open_data_store: Callable[[StoreLocation, int | None], DataStore] | None = None
    """Opens the datasets at a location, with the largest size that is taken; None = it keeps none."""
    open_param_store: Callable[[StoreLocation], ParamStore] | None = None
    """Opens the parameters at a location; None = it keeps none."""
    is_for_admin_alone: bool = False
    """Whether only the admin has what lets one in: services then reach the store through the admin."""
