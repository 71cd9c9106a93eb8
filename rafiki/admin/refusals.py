"""Which hosts could not start a service lately."""

from __future__ import annotations

import threading
import time

_KEPT_S = 60.0


class Refusals:
    """A host that refused is tried again after a minute. Safe to use from several threads."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def add(self, unit_id: str, host: str, reason: str) -> None:
        """Note that a host could not start a service.

        Args:
            unit_id: what the service was to work on: another model may have another image.
        """
        with self._lock:
            self._found[unit_id, host] = (reason, time.monotonic())

    def recent(self) -> dict[tuple[str, str], str]:
        """The reasons, by what was to be worked on and the host."""
        now = time.monotonic()
        with self._lock:
            self._found = {key: found for key, found in self._found.items() if now - found[1] < _KEPT_S}
            return {key: reason for key, (reason, _) in self._found.items()}
