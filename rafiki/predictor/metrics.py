"""What a predictor exports for Prometheus, read when somebody asks: ``/metrics``."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import rafiki
from rafiki.contract import metrics
from rafiki.contract.metrics_access import MetricsToken
from rafiki.errors import UnauthorizedError
from rafiki.key_file import KeyReader
from rafiki.messages import PredictorSpec
from rafiki.predictor.keys import bearer_of, check_key
from rafiki.predictor.pages import Page
from rafiki.predictor.readiness import Readiness
from rafiki.predictor.version import Version
from rafiki.predictor.versions import Versions

if TYPE_CHECKING:
    from starlette.types import Scope

    from rafiki.contract.metrics_text import Family, Values


class PredictorMetrics:
    """Of one predictor, each version apart."""

    def __init__(self, spec: PredictorSpec, versions: Versions, readiness: Readiness) -> None:
        self._spec, self._versions, self._readiness = spec, versions, readiness

    def families(self) -> Iterator[Family]:
        from rafiki.contract.metrics_text import Family

        shares = [(self._labels_of(version), version, share) for version, share in self._versions.list_versions()]
        versions = [(labels, version) for labels, version, _ in shares]
        info = [((*labels, version.job_id, self._spec.task, rafiki.__version__), 1) for labels, version in versions]
        yield Family(metrics.PREDICTOR_INFO, info)
        yield Family(metrics.PREDICTOR_READY, [((self._spec.app,), self._readiness.find_problem() is None)])
        yield Family(metrics.VERSION_SHARE, [(labels, share) for labels, _, share in shares])
        yield Family(metrics.SHADOW_ANSWERS, list(self._shadow_answers()))
        yield Family(metrics.PREDICTOR_CACHE_UP, [(labels, v.gather.cache_error is None) for labels, v in versions])
        requests = [
            ((*labels, str(status)), n) for labels, v in versions for status, n in sorted(v.meter.by_status.items())
        ]
        yield Family(metrics.REQUESTS, requests)
        yield Family(metrics.REQUEST_DURATION, [(labels, v.meter.durations) for labels, v in versions])
        yield Family(metrics.IN_HAND, [(labels, v.in_hand) for labels, v in versions])
        cached = [
            ((*labels, result), n)
            for labels, v in versions
            if v.cache is not None
            for result, n in (("hit", v.cache.hits), ("miss", v.cache.misses))
        ]
        yield Family(metrics.CACHED, cached)
        yield Family(metrics.QUERIES, [(labels, v.gather.n_queries) for labels, v in versions])
        yield Family(metrics.WAITING_LIMIT, [(labels, v.gather.most_queries) for labels, v in versions])
        yield from self._of_members(versions)

    def _of_members(self, versions: list[tuple[Values, Version]]) -> Iterator[Family]:
        from rafiki.contract.metrics_text import Family

        members = [
            ((*labels, member.trial_id, member.model_name), version.gather, column, report)
            for labels, version in versions
            for column, (member, report) in enumerate(zip(version.members, version.gather.members(), strict=True))
        ]
        yield Family(metrics.WAITING, [(labels, report.waiting) for labels, _, _, report in members])
        yield Family(metrics.MEMBER_WORKERS, [(labels, report.workers) for labels, _, _, report in members])
        results = [
            ((*labels, result), n)
            for labels, gather, column, _ in members
            for result, n in (
                ("answered", gather.answered(column)),
                ("failed", gather.counts[column].failed),
                ("late", gather.counts[column].late),
                ("absent", gather.counts[column].absent),
                ("shed", gather.counts[column].shed),
            )
        ]
        yield Family(metrics.MEMBER_QUERIES, results)
        counts = [(labels, gather.counts[column]) for labels, gather, column, _ in members]
        yield Family(metrics.BATCH_QUERIES, [(labels, c.batch_sizes) for labels, c in counts])
        yield Family(metrics.BATCH_DURATION, [(labels, c.batch_durations) for labels, c in counts])

    def _shadow_answers(self) -> Iterator[tuple[Values, float]]:
        if (served := self._versions.find_shadow()) is not None:
            labels, shadow = self._labels_of(served.version), served.shadow
            yield (*labels, "agreed"), shadow.agreed
            yield (*labels, "differed"), shadow.compared - shadow.agreed
            yield (*labels, "skipped"), shadow.skipped

    def _labels_of(self, version: Version) -> Values:
        return self._spec.app, "" if version.app_version is None else str(version.app_version)


class MetricsPage:
    """``GET /metrics`` of a predictor.

    Args:
        token: what it asks for; None = what ``keys`` says.
        keys: those that open it, where there are any; None = it asks for nothing.
    """

    def __init__(
        self, exported: PredictorMetrics, token: MetricsToken | None, keys: Callable[[], KeyReader | None] | None
    ) -> None:
        self._exported, self._token, self._keys = exported, token, keys

    async def __call__(self, scope: Scope) -> Page:
        if self._token is not None:
            if not self._token.is_it(bearer_of(scope) or b""):
                raise UnauthorizedError(
                    "These metrics take the token that metrics.token_file holds: `Authorization: Bearer TOKEN`."
                )
        elif self._keys is not None and (keys := self._keys()) is not None:
            check_key(keys, scope)
        # Once: loading the library takes 20 ms.
        await asyncio.to_thread(importlib.import_module, "rafiki.contract.metrics_text")
        from rafiki.contract.metrics_text import write_metrics

        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        text, content_type = write_metrics(self._exported.families(), accept.decode("latin-1"))
        return Page(text, content_type=content_type)
