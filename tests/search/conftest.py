"""A meta store of one's own, and a cache server that the tests of one file share."""

from __future__ import annotations

from support.stores.store_and_cache import cache, given, migrated_file, own_cache, store, store_url

__all__ = ["cache", "given", "migrated_file", "own_cache", "store", "store_url"]
