"""Which pages a predictor has, and what they tell of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rafiki.contract.metrics import METRICS_PAGE
from rafiki.contract.metrics_access import MetricsToken
from rafiki.contract.probes import HEALTH_PAGE, READY_PAGE
from rafiki.messages import PredictorSpec
from rafiki.predictor.metrics import MetricsPage, PredictorMetrics
from rafiki.predictor.pages import PageMaker
from rafiki.predictor.readiness import Readiness
from rafiki.predictor.versions import Versions


def make_pages(spec: PredictorSpec, versions: Versions, is_ending: Callable[[], bool]) -> Mapping[str, PageMaker]:
    """The pages by path.

    Args:
        is_ending: whether the predictor takes no new connections any more.
    """
    readiness = Readiness(versions, is_ending)
    access, token = spec.metrics, None
    if access.token_file is not None and not access.is_public:
        token = MetricsToken(Path(access.token_file))
    exported = PredictorMetrics(spec, versions, readiness)
    return {
        HEALTH_PAGE: readiness.healthz,
        READY_PAGE: readiness.readyz,
        METRICS_PAGE: MetricsPage(exported, token, None if access.is_public else lambda: versions.keys),
    }
