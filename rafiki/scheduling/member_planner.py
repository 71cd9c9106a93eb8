"""Who answers a query: as many members of an ensemble as the load leaves time for."""

from __future__ import annotations

from rafiki.scheduling.subset_scores import SubsetScores


class MemberLoad:
    """One member, as the predictor sees it: what it has to do, and what its batches cost. Times are in seconds, by
    one clock."""

    __slots__ = ("began_s", "each_s", "fixed_s", "most", "n_workers", "outstanding", "tail_ratio", "taken")

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

    def add(self, n: int, now_s: float) -> None:
        """``n`` queries are sent to it."""
        if not self.outstanding:
            self.taken, self.began_s = min(n, self.most * self.n_workers), now_s
        self.outstanding += n

    def remove(self, n: int, now_s: float) -> None:
        """It has answered ``n`` queries, or nobody waits for them any more: its workers took what waited."""
        self.outstanding = max(0, self.outstanding - n)
        self.taken, self.began_s = min(self.outstanding, self.most * self.n_workers), now_s

    def end_s(self, n: int, now_s: float) -> float:
        """How long ``n`` more queries take, 99 times in 100: the rest of the batch it is at, and those that follow."""
        workers, most, fixed_s, each_s = self.n_workers, self.most, self.fixed_s, self.each_s
        waiting = (self.outstanding - self.taken + n + workers - 1) // workers
        left_s = 0.0
        if self.taken:
            batch_s = self.tail_ratio * (fixed_s + each_s * ((self.taken + workers - 1) // workers))
            left_s = max(batch_s + self.began_s - now_s, 0.0)
        return left_s + self.tail_ratio * (fixed_s * ((waiting + most - 1) // most) + each_s * waiting)


class MemberPlanner:
    """Chooses for each group of queries that come together who answers them.

    Every member whose end can be expected before the deadline could take part; of these the subset with the best
    measured score is asked. So all are asked while there is room; a slow member is given what it can do in time and
    no more, and its share shrinks as queries come faster; the best single member is given all. A subset that is worse
    than the best single member never answers: the query is refused at once when no other is in time.

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
            if member.end_s(n, now_s) <= left_s:
                available |= 1 << m
        if present is not None:
            available &= present
        return self._scores.best_within(available)

    def send(self, mask: int, n: int, now_s: float) -> None:
        """``n`` queries go to each member of a subset."""
        for m, member in enumerate(self.members):
            if mask >> m & 1:
                member.add(n, now_s)
