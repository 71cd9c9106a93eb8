"""Whether a predictor lives, and whether it can do its work: ``/healthz`` and ``/readyz``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from rafiki.contract.probes import HEALTHY, ReadyView
from rafiki.predictor.pages import Page
from rafiki.predictor.versions import Versions

if TYPE_CHECKING:
    from starlette.types import Scope


class Readiness:
    """Of one predictor.

    Args:
        versions: what answers its queries.
        is_ending: whether it takes no new connections any more.
    """

    def __init__(self, versions: Versions, is_ending: Callable[[], bool]) -> None:
        self._versions = versions
        self._is_ending = is_ending

    def find_problem(self) -> str | None:
        """Why a query that comes now would not be answered by the first version; None when it would.

        One member with a worker is enough: members without one are left out of answers, and named in them.
        """
        gather = self._versions.primary.gather
        if self._is_ending() or gather.is_ending:
            return "It is ending: it answers what it has in hand, and takes nothing new."
        if gather.cache_error is not None and not gather.has_direct_way:
            return f"The cache, through which queries reach the members, does not work: {gather.cache_error}"
        # A version that may sleep has its workers started by the query.
        if not self._versions.may_sleep and not gather.present:
            return "No member of the ensemble has a worker: they may be starting, or gone."
        return None

    async def healthz(self, scope: Scope) -> Page:
        return Page(HEALTHY)

    async def readyz(self, scope: Scope) -> Page:
        problem = self.find_problem()
        members = {m.trial_id: m.workers for m in self._versions.primary.gather.members()}
        view = ReadyView(status="ready" if problem is None else "not ready", reason=problem, members=members)
        return Page(msgspec.json.encode(view), 200 if problem is None else 503)
