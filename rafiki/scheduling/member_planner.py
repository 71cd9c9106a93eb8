"""Who answers a query: as many members of an ensemble as the load leaves time for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from rafiki.deployment import LATE_TARGET
from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.quantile_tracker import QuantileTracker
from rafiki.scheduling.subset_scores import SubsetScores

_RATE_OVER_S = 0.25
"""The seconds that a rate is of."""
_MOST_SLACK = 4.0
"""A worker that was gone for a while tells nothing of how long its batches take."""


class Plan(NamedTuple):
    """When a member was expected to have answered."""

    end_s: float
    """As a rule."""
    scale_s: float
    """What one unit of slack is."""


_NO_PLAN = (None,)


class MemberLoad:
    """One member, as the predictor sees it: what it has to do, and what its batches cost. Times are in seconds, by
    one clock."""

    __slots__ = (
        "_is_followed", "_slack", "asked_s", "began_s", "each_s", "fixed_s", "most", "n_workers", "outstanding",
        "plan_s", "rate_per_s", "scale_s", "taken",
    )  # fmt: skip

    def __init__(self, late_target: float = LATE_TARGET) -> None:
        """
        Args:
            late_target: the share of its answers that may come after the deadline they were planned for.
        """
        self.fixed_s = self.each_s = 0.0
        """What a batch costs: ``fixed_s + each_s * size``. 0 = nothing is known yet, and it is asked."""
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
        self.plan_s = self.scale_s = 0.0
        """What :meth:`end_s` found last: the time as a rule, and a unit of slack."""
        self._slack = QuantileTracker(late_target, 0.0, least=0.0, most=_MOST_SLACK)
        self._is_followed = False
        """Whether the slack comes from its answers, rather than from what its batches vary."""

    @property
    def slack(self) -> float:
        """By how many units its answers come later than as a rule, at most."""
        return self._slack.value

    def assume_slack(self, slack: float) -> None:
        """The slack that holds until its answers have shown it."""
        if not self._is_followed:
            self._slack.value = min(slack, _MOST_SLACK)

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
        if not self._is_followed and (median_s := cost.median_s(1)) > 0:
            self.assume_slack(cost.tail_s(1) / median_s - 1)

    def follow(self, plan: Plan, at_s: float) -> None:
        """A planned query was answered, or given up, at ``at_s``: the slack follows what plans miss."""
        if plan.scale_s > 0:
            self._is_followed = True
            self._slack.add((at_s - plan.end_s) / plan.scale_s)

    def is_sure(self, n: int, left_s: float) -> bool:
        """Whether ``n`` more queries will be answered in time, whatever it has at hand: at the first look."""
        # The batch at hand and one more, each of the largest, and the slack of two.
        longest_s = (2 + 1.5 * self._slack.value) * (self.fixed_s + self.each_s * self.most)
        return longest_s <= left_s and self.outstanding + n <= self.most

    def is_idle(self, now_s: float) -> bool:
        """Whether nothing waits, and what it had at hand must have ended."""
        if not self.outstanding:
            return True
        batch_s = self.fixed_s + self.each_s * self.taken
        return self.outstanding <= self.taken and now_s - self.began_s > 2 * (1 + self._slack.value) * batch_s

    def end_s(self, n: int, now_s: float) -> float:
        """How long ``n`` more queries take, but for the share that may be late: the rest of the batches at hand and
        those that follow.

        The last batch will hold those that come until it begins, too. What batches take beyond their median adds up as
        deviations of independent times do, by the root of their number: the unit of slack. How many units are needed is
        learned (:class:`QuantileTracker`), so what the formula does not know - cores that are shared, a worker that
        waits for more - is in it.
        """
        workers, most, fixed_s, each_s, taken = self.n_workers, self.most, self.fixed_s, self.each_s, self.taken
        waiting = self.outstanding - taken + n
        if workers > 1:
            waiting = (waiting + workers - 1) // workers
        n_full = (waiting - 1) // most
        left_s = n_full * (fixed_s + each_s * most)
        n_batches = n_full + 1
        if taken:
            n_batches += 1
            rest_s = fixed_s + each_s * ((taken + workers - 1) // workers) + self.began_s - now_s
            if rest_s > 0:
                left_s += rest_s
        last = waiting - n_full * most + self.rate_per_s * left_s / workers
        if last > most:
            last = most
        last_s = fixed_s + each_s * last
        self.plan_s = left_s + last_s
        self.scale_s = math.sqrt(n_batches) * (fixed_s + each_s * most if n_full else last_s)
        return self.plan_s + self._slack.value * self.scale_s


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

    __slots__ = ("_margin_s", "_only", "_scores", "members")

    def __init__(self, scores: SubsetScores, *, margin_s: float = 0.0, late_target: float = LATE_TARGET) -> None:
        """
        Args:
            margin_s: what the way to a member and back takes.
            late_target: the share of a member's answers that may come after their deadline.
        """
        self._scores = scores
        self._margin_s = margin_s
        self.members = [MemberLoad(late_target) for _ in range(scores.n_members)]
        self._only = self.members[0] if scores.n_members == 1 else None

    def choose(self, n: int, now_s: float, deadline_s: float, present: int | None = None) -> int:
        """The subset that answers ``n`` queries by the deadline; 0 = not even the best member can.

        Args:
            present: the members that could be asked; None = all.
        """
        left_s = deadline_s - now_s - self._margin_s
        if left_s <= 0:
            return 0
        only = self._only
        if only is not None and only.is_sure(n, left_s):
            only.scale_s = 0.0
            return 1
        available, bit = 0, 1
        for member in self.members:
            # One that is idle is asked whatever it costs: that is learned from what it does.
            if member.end_s(n, now_s) <= left_s or member.is_idle(now_s):
                available |= bit
            bit += bit
        return self._scores.best_within(available, present)

    def send(self, mask: int, n: int, now_s: float) -> Sequence[Plan | None]:
        """``n`` queries go to each member of a subset, which was just chosen.

        Returns:
            What is expected of each member; None = it is not asked, or was asked without a plan.
        """
        only = self._only
        if only is not None and not only.scale_s:
            only.add(n, now_s)
            return _NO_PLAN
        plans = list[Plan | None]()
        bit = 1
        for member in self.members:
            if mask & bit:
                plans.append(Plan(now_s + member.plan_s, member.scale_s))
                member.add(n, now_s)
            else:
                plans.append(None)
            bit += bit
        return plans
