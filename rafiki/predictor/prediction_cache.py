"""Predictions that one version of an app has given, by the content of their queries.

The least recently used ones make room, by their number and by their bytes. A prediction is kept with the members that
gave it: it answers as long as nobody is there who would say more. Queries that are being answered are known, too, so
that the same query is asked once, whoever asks it meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from hashlib import sha256
from typing import NamedTuple

MOST_BYTES = 32 << 20
"""Of the predictions of one version, with what keeping each takes."""
_ENTRY_BYTES = 256
"""What an entry takes beside its prediction."""
_SHORT_BYTES = 1024
_IS_DIGEST = b"\xff"
"""No query begins with it: JSON is UTF-8, and an array begins with another byte."""


class Kept(NamedTuple):
    """A prediction."""

    prediction: bytes
    """As JSON."""
    members: int
    """Who gave it, as a mask of the columns."""


def key_of(query: bytes) -> bytes:
    """What stands for a query: a short one itself, a digest of a longer one. Two ways to write the same JSON value have
    two."""
    if len(query) <= _SHORT_BYTES:
        return bytes(query)
    return _IS_DIGEST + sha256(query).digest()


class PredictionCache:
    """For the predictor's event loop: no locks."""

    def __init__(self, most: int, most_bytes: int = MOST_BYTES) -> None:
        """
        Args:
            most: so many predictions are kept.
        """
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._n_bytes = 0
        self.hits = 0
        """Queries that reached no worker."""
        self.misses = 0
        self.under_way: dict[bytes, asyncio.Future[Kept | None] | None] = {}
        """Queries that are being asked, each with what others wait for; None where nobody does."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def n_bytes(self) -> int:
        return self._n_bytes

    def find(self, key: bytes, present: int) -> Kept | None:
        """The prediction for a query.

        Args:
            present: the members that have a worker now, as a mask.
        """
        kept = self._kept.get(key)
        # A member that was away then may be back.
        if kept is None or present & ~kept.members:
            return None
        self._kept.move_to_end(key)
        return kept

    def join(self, key: bytes) -> asyncio.Future[Kept | None]:
        """What comes of a query that is under way; None where that is not complete."""
        future = self.under_way[key]
        if future is None:
            future = self.under_way[key] = asyncio.get_running_loop().create_future()
        return future

    def tell(self, key: bytes, kept: Kept | None) -> None:
        """A query that was under way is so no more."""
        if (future := self.under_way.pop(key)) is not None:
            future.set_result(kept)

    def keep(self, key: bytes, kept: Kept) -> None:
        """Keep a prediction, unless it is larger than all may be."""
        self._forget(key)
        n_bytes = _bytes_of(key, kept)
        if n_bytes > self._most_bytes or not self._most:
            return
        self._kept[key] = kept
        self._n_bytes += n_bytes
        while len(self._kept) > self._most or self._n_bytes > self._most_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        if (gone := self._kept.pop(key, None)) is not None:
            self._n_bytes -= _bytes_of(key, gone)


def _bytes_of(key: bytes, kept: Kept) -> int:
    return len(key) + len(kept.prediction) + _ENTRY_BYTES
