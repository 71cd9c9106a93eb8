"""A meta store of one's own, and a cache server that the tests of one file share."""

from __future__ import annotations

from store_and_cache import migrated_file, store_url, store, given, cache, own_cache

__all__ = ["migrated_file", "store_url", "store", "given", "cache", "own_cache"]
