"""What the last plan could not start, for whoever asks from another thread."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rafiki.admin.actions import Wait

_logger = logging.getLogger(__name__)


class Waits:
    """Written by the supervisor's thread alone; each look puts a new table in the place of the old one."""

    def __init__(self) -> None:
        self._by_unit: dict[tuple[str, str], Wait] = {}

    def update(self, waits: Sequence[Wait]) -> set[str]:
        """Take those of a look; the jobs of which something has changed."""
        before, now = self._by_unit, {(w.job_id, w.unit_id): w for w in waits}
        self._by_unit = now
        changed = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
        for key in changed:
            if (wait := now.get(key)) is not None:
                _logger.info("workers wait: %s", wait, extra={"job": wait.job_id})
        return {job_id for job_id, _ in changed}

    def find(self, job_id: str, unit_id: str) -> str | None:
        """Why workers of a sub train job, or of a served trial, have not begun; None when none waits."""
        wait = self._by_unit.get((job_id, unit_id))
        return None if wait is None else str(wait)

    def list_waits(self) -> list[Wait]:
        return list(self._by_unit.values())
