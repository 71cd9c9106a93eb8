"""Who answers a query: as many members of an ensemble as the load leaves time for."""

from __future__ import annotations

import math

from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.subset_scores import SubsetScores

_RATE_OVER_S = 0.25
"""The seconds that a rate is of."""


class MemberLoad:
    """One member, as the predictor sees it: what it has to do, and what its batches cost. Times are in seconds, by
    one clock."""

    __slots__ = (
        "asked_s", "began_s", "each_s", "fixed_s", "most", "n_workers", "outstanding", "rate_per_s", "tail_ratio",
        "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.fixed_s = self.each_s = 0.0
        """What a batch costs: ``fixed_s + each_s * size``. 0 = nothing is known yet, and it is asked."""
        self.tail_ratio = 1.0
        """How many times longer 99 of 100 batches take at most."""
        self.most = 64
        """The largest batch."""
        self.n_workers = 1
        self.outstanding = 0
        """Queries that it has not answered."""
        self.taken = 0
        """Those of them that are in the batches that it predicts now."""
        self.began_s = 0.0
        """When it took these."""
        self.rate_per_s = 0.0
        """How fast queries are sent to it."""
        self.asked_s = 0.0
        """When the last one was."""

    def add(self, n: int, now_s: float) -> None:
        """``n`` queries are sent to it."""
        passed_s = now_s - self.asked_s
        self.asked_s = now_s
        # Of a Poisson process, weighted by their age.
        self.rate_per_s = self.rate_per_s * math.exp(-max(passed_s, 0.0) / _RATE_OVER_S) + n / _RATE_OVER_S
        if not self.outstanding:
            self.taken, self.began_s = min(n, self.most * self.n_workers), now_s
        self.outstanding += n

    def remove(self, n: int, now_s: float) -> None:
        """It has answered ``n`` queries, or nobody waits for them any more: its workers took what waited."""
        self.end_batch(max(0, self.outstanding - n), now_s)

    def end_batch(self, waiting: int, now_s: float) -> None:
        """Its workers have ended what was at hand, and take of the queries that are waited for still."""
        self.outstanding = waiting
        self.taken, self.began_s = min(waiting, self.most * self.n_workers), now_s

    def forget(self, waiting: int) -> None:
        """Of the queries sent to it, so many are still waited for: its workers skip the others, but not those at
        hand."""
        self.outstanding = max(waiting, min(self.taken, self.outstanding))

    def learn(self, cost: BatchCost) -> None:
        """What its batches cost, as they went; nothing, while too few of them are known."""
        if not cost.is_known:
            return
        self.fixed_s, self.each_s = cost.fixed_s, cost.each_s
        median_s = cost.median_s(1)
        self.tail_ratio = cost.tail_s(1) / median_s if median_s > 0 else 1.0

    def is_idle(self, now_s: float) -> bool:
        """Whether nothing waits, and what it had at hand must have ended."""
        if not self.outstanding:
            return True
        batch_s = self.fixed_s + self.each_s * self.taken
        return self.outstanding <= self.taken and now_s - self.began_s > 2 * self.tail_ratio * batch_s

    def end_s(self, n: int, now_s: float) -> float:
        """How long ``n`` more queries take, 99 times in 100: the rest of the batches at hand and those that follow.

        The last batch will hold those that come until it begins, too. What slow batches take beyond their median adds
        up as deviations of independent times do, by the root of their number.
        """
        workers, most, fixed_s, each_s = self.n_workers, self.most, self.fixed_s, self.each_s
        waiting = (self.outstanding - self.taken + n + workers - 1) // workers
        n_full = (waiting - 1) // most
        left_s = n_full * (fixed_s + each_s * most)
        if self.taken:
            left_s += max(fixed_s + each_s * ((self.taken + workers - 1) // workers) + self.began_s - now_s, 0.0)
        last = min(most, waiting - n_full * most + self.rate_per_s * left_s / workers)
        n_batches = n_full + 1 + (self.taken > 0)
        slow_s = (self.tail_ratio - 1) * math.sqrt(n_batches) * (fixed_s + each_s * (most if n_full else last))
        return left_s + fixed_s + each_s * last + slow_s


class MemberPlanner:
    """Chooses for each group of queries that come together who answers them.

    Every member whose end can be expected before the deadline could take part. While all could, all are asked: they
    are the ensemble that was deployed. Else the subset of them with the best measured score is asked. So a slow
    member is given what it can do in time and no more, and its share shrinks as queries come faster; the best single
    member is given all. A subset that is worse than the best single member never answers in place of all: the query
    is refused at once when no other is in time.

    The greedy of Rafiki (Wang et al., PVLDB 12(2), 2018, section 5.2) with its objective, accuracy times queries in
    time, taken apart by member: there one batch goes to one subset at a time, and a fast member waits for a slow one;
    here each has a queue of its own, whose length is the decision.
    """

    __slots__ = ("_margin_s", "_scores", "members")

    def __init__(self, scores: SubsetScores, *, margin_s: float = 0.0) -> None:
        """
        Args:
            margin_s: what the way to a member and back takes.
        """
        self._scores = scores
        self._margin_s = margin_s
        self.members = [MemberLoad() for _ in range(scores.n_members)]

    def choose(self, n: int, now_s: float, deadline_s: float, present: int | None = None) -> int:
        """The subset that answers ``n`` queries by the deadline; 0 = not even the best member can.

        Args:
            present: the members that could be asked; None = all.
        """
        left_s = deadline_s - now_s - self._margin_s
        available = 0
        for m, member in enumerate(self.members):
            # One that is idle is asked whatever it costs: that is learned from what it does.
            if member.end_s(n, now_s) <= left_s or (left_s > 0 and member.is_idle(now_s)):
                available |= 1 << m
        return self._scores.best_within(available, present)

    def send(self, mask: int, n: int, now_s: float) -> None:
        """``n`` queries go to each member of a subset."""
        for m, member in enumerate(self.members):
            if mask >> m & 1:
                member.add(n, now_s)
