"""What became of queries at one member of an ensemble, and the batches that its workers told of."""

from __future__ import annotations

from rafiki.utils.bounded_histogram import SECONDS, SIZES, BoundedHistogram


class MemberCounts:
    """Since the predictor's start. For its event loop: no locks."""

    __slots__ = ("absent", "asked", "batch_durations", "batch_sizes", "failed", "late", "shed")

    def __init__(self) -> None:
        self.asked = 0
        """Queries that were for it, those that found it absent among them; none that were shed."""
        self.absent = 0
        self.late = 0
        self.failed = 0
        self.shed = 0
        self.batch_sizes = BoundedHistogram(SIZES)
        self.batch_durations = BoundedHistogram(SECONDS)

    @property
    def unanswered(self) -> int:
        """Those of the queries that were for it which it did not answer, and will not."""
        return self.absent + self.late + self.failed

    def add_batch(self, n_queries: int, took_s: float) -> None:
        self.batch_sizes.add(n_queries)
        self.batch_durations.add(took_s)
