"""Which version of several answers a request. No random numbers, and the same caller gets the same version."""

from __future__ import annotations

from zlib import crc32

KEY_HEADER = b"x-rafiki-key"
"""Requests that carry the same value go to the same version."""
_SPAN = float(1 << 32)


class Split:
    """Gives a share of the requests to a candidate, spread evenly."""

    __slots__ = ("_due", "share")

    def __init__(self, share: float) -> None:
        """
        Args:
            share: 0 to 1.
        """
        self.share = share
        self._due = 0.0

    def is_for_candidate(self, key: bytes | None) -> bool:
        """Whether the candidate answers the next request.

        Args:
            key: what tells its caller apart; None = one of many, of which every so many-th goes to the candidate.
        """
        if key is not None:
            return crc32(key) / _SPAN < self.share
        self._due += self.share
        # A sum of shares such as 0.1 stays a little below the whole.
        if self._due < 1.0 - 1e-9:
            return False
        self._due -= 1.0
        return True
