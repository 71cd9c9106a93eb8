"""Members of ensembles that do not serve any more, for whoever asks from another thread."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rafiki.admin.actions import LostMember

_logger = logging.getLogger(__name__)


class Losses:
    """Written by the supervisor's thread alone; each look puts a new table in the place of the old one."""

    def __init__(self) -> None:
        self._by_member: dict[tuple[str, str], LostMember] = {}

    def update(self, lost: Sequence[LostMember]) -> set[str]:
        """Take those of a look; the jobs of which something has changed."""
        before, now = self._by_member, {(m.job_id, m.trial_id): m for m in lost}
        self._by_member = now
        changed = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
        for key in changed:
            if (member := now.get(key)) is not None:
                _logger.error("a member cannot serve: %s", member, extra={"job": member.job_id})
        return {job_id for job_id, _ in changed}

    def of_job(self, job_id: str) -> list[LostMember]:
        """The lost members of an inference job."""
        return [m for m in self.list_lost() if m.job_id == job_id]

    def list_lost(self) -> list[LostMember]:
        return list(self._by_member.values())
