"""How the two versions of an update do beside each other, from what predictors report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rafiki.messages import PredictorReport
from rafiki.rollouts import Comparison, SideFigures
from rafiki.utils.histogram import quantile_s


class RolloutFigures:
    """Of the updates that are under way. The supervisor's thread writes, others read."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[PredictorReport, PredictorReport]] = {}
        self._found: dict[str, Comparison] = {}

    def note(self, rollout_id: str, before: PredictorReport | None, after: PredictorReport | None) -> Comparison:
        """Count from the first reports on. A predictor that was started again counts anew."""
        if before is None or after is None:
            return self._found.get(rollout_id, Comparison())
        begun = self._begun.get(rollout_id)
        if begun is None or begun[0].requests > before.requests or begun[1].requests > after.requests:
            begun = self._begun[rollout_id] = (before, after)
        self._found[rollout_id] = found = Comparison(
            before=_since(begun[0], before), after=_since(begun[1], after),
            compared=after.compared - begun[1].compared, agreed=after.agreed - begun[1].agreed,
            skipped=after.skipped - begun[1].skipped,
        )  # fmt: skip
        return found

    def find(self, rollout_id: str) -> Comparison | None:
        """What was found last; None before the first reports."""
        return self._found.get(rollout_id)

    def forget_all_but(self, rollout_ids: Iterable[str]) -> None:
        """Forget those that have ended."""
        live = set(rollout_ids)
        self._begun = {i: begun for i, begun in self._begun.items() if i in live}
        self._found = {i: found for i, found in self._found.items() if i in live}


def _since(begun: PredictorReport, now: PredictorReport) -> SideFigures:
    latencies = Counter(now.all_latencies)
    latencies.subtract(begun.all_latencies)
    counts = {bucket: n for bucket, n in latencies.items() if n > 0}
    p50_s, p99_s = quantile_s(counts, 0.5), quantile_s(counts, 0.99)
    return SideFigures(
        requests=now.requests - begun.requests, errors=max(0, now.errors - begun.errors),
        p50_ms=None if p50_s is None else round(1000 * p50_s, 3),
        p99_ms=None if p99_s is None else round(1000 * p99_s, 3),
    )  # fmt: skip
