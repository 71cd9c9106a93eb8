"""Who answers a query, by different rules: what the simulator compares."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.member_planner import MemberPlanner, Plan
from rafiki.scheduling.subset_scores import SubsetScores


class MemberPolicy:
    """A rule. It is asked for each query, and told what becomes of those before."""

    early_s: float = 0.0
    """How long before its deadline a query is answered with the replies that are there; 0 = then it is late."""

    def choose(self, now_s: float, deadline_s: float) -> int:
        """The members that the query goes to, as a mask; 0 = it is refused."""
        raise NotImplementedError

    def send(self, mask: int, now_s: float) -> None:
        """A query goes to these members."""

    def remove(self, member: int, n: int, now_s: float) -> None:
        """A member has answered ``n`` queries, or dropped them at their deadline."""

    def end_batch(self, member: int, size: int, took_s: float) -> None:
        """A member has predicted a batch."""

    def end(self, query: int, value: float) -> None:
        """A query, by its number in the order of ``choose``, is over: its score if it was answered in time, else 0."""


class AllMembers(MemberPolicy):
    """Every member, whatever the load."""

    def __init__(self, scores: SubsetScores) -> None:
        self._mask = scores.everyone

    def choose(self, now_s: float, deadline_s: float) -> int:
        return self._mask


class BestSingle(MemberPolicy):
    """The best member alone."""

    def __init__(self, scores: SubsetScores) -> None:
        self._mask = max((1 << m for m in range(scores.n_members)), key=scores.score)

    def choose(self, now_s: float, deadline_s: float) -> int:
        return self._mask


class RoundRobin(MemberPolicy):
    """One member a query, in turn."""

    def __init__(self, scores: SubsetScores) -> None:
        self._n_members, self._next = scores.n_members, 0

    def choose(self, now_s: float, deadline_s: float) -> int:
        mask = 1 << self._next
        self._next = (self._next + 1) % self._n_members
        return mask


class Planned(MemberPolicy):
    """The planner that predictors use, which learns from what members do as it does there."""

    def __init__(self, planner: MemberPlanner, most: Sequence[int], *, early_s: float = 0.002) -> None:
        """
        Args:
            most: the largest batch of each member.
        """
        self._planner = planner
        self.early_s = early_s
        self._costs = [BatchCost() for _ in most]
        self._queues = [deque[Plan | None]() for _ in most]
        """Of the queries that each member has, in the order in which it takes them."""
        for member, largest in zip(planner.members, most, strict=True):
            member.most = largest

    def choose(self, now_s: float, deadline_s: float) -> int:
        return self._planner.choose(1, now_s, deadline_s - self.early_s)

    def send(self, mask: int, now_s: float) -> None:
        for m, plan in enumerate(self._planner.send(mask, 1, now_s)):
            if mask >> m & 1:
                self._queues[m].append(plan)

    def remove(self, member: int, n: int, now_s: float) -> None:
        for _ in range(n):
            if (plan := self._queues[member].popleft()) is not None:
                self._planner.members[member].follow(plan, now_s)
        self._planner.members[member].remove(n, now_s)

    def end_batch(self, member: int, size: int, took_s: float) -> None:
        self._costs[member].add(size, took_s)
        self._planner.members[member].learn(self._costs[member])
