"""An ensemble under load in simulated time: which policy answers how well, and how late.

Driven by what was measured: the cost of each member's batches and the score of each subset. Seeded, no input or output.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rafiki.scheduling.policies import MemberPolicy

_RATE_OVER_S = 0.1
"""The seconds that a rate is of."""
_ROUNDED_S = 1e-9
_MOST_FRONT_SHARE = 0.9
"""Of the cores: the members get the rest."""


class Member(NamedTuple):
    """A member of the ensemble, served by one worker. Times are in seconds."""

    fixed_s: float
    each_s: float
    spread: float = 0.1
    """Standard deviation of the logarithm of a batch's time."""
    most: int = 64


class Outcome(NamedTuple):
    """What became of the queries. Shares are of all of them."""

    n_queries: int
    late_share: float
    """Answered after the deadline, or not at all."""
    refused_share: float
    """Refused at once."""
    score: float
    """Mean of the queries that were answered."""
    mean_members: float
    """How many took part in an answer."""
    p50_s: float
    p99_s: float


class _Query:
    __slots__ = ("arrived_s", "asked", "deadline_s", "got", "is_over", "no", "until_s")

    def __init__(self, no: int, arrived_s: float, deadline_s: float, until_s: float, asked: int) -> None:
        self.no, self.arrived_s, self.deadline_s, self.until_s, self.asked = no, arrived_s, deadline_s, until_s, asked
        self.got = 0
        self.is_over = False


class _Worker:
    __slots__ = ("batch", "began_s", "left_s", "queue")

    def __init__(self) -> None:
        self.queue: deque[_Query] = deque()
        self.batch: list[_Query] = []
        self.began_s = self.left_s = 0.0


class _Run:
    """One run. Busy workers share evenly what the way of the queries leaves of the cores."""

    def __init__(
        self, policy: MemberPolicy, members: Sequence[Member], scores: Mapping[int, float], *, budget_s: float,
        patience_s: float, n_cores: float, front_s: float, trip_s: float, seed: int,
    ) -> None:  # fmt: skip
        self.policy, self.members, self.scores = policy, members, scores
        self.budget_s, self.patience_s, self.trip_s = budget_s, patience_s, trip_s
        self.n_cores, self.front_s, self.rate_per_s, self.arrived_s = n_cores, front_s, 0.0, 0.0
        self.rng = random.Random(seed)
        self.workers = [_Worker() for _ in members]
        self.now_s = 0.0
        self.n = self.n_late = self.n_refused = self.n_asked = 0
        self.total_score, self.total_members = 0.0, 0
        self.latencies: list[float] = []
        self.answered_s: list[float] = []
        """When each query was answered."""

    def next_end_s(self) -> float:
        """When the next batch ends, unless more come meanwhile."""
        busy = [w.left_s for w in self.workers if w.batch]
        return self.now_s + min(busy) / min(1.0, self._free_cores() / len(busy)) if busy else math.inf

    def advance(self, until_s: float) -> None:
        """Let batches end until then."""
        while True:
            busy = [w for w in self.workers if w.batch]
            speed = min(1.0, self._free_cores() / len(busy)) if busy else 1.0
            first_s = min((w.left_s for w in busy), default=math.inf) / speed
            step_s = min(first_s, until_s - self.now_s)
            self.now_s += step_s
            for worker in busy:
                worker.left_s -= step_s * speed
            if first_s > step_s or not busy:
                return
            for m, worker in enumerate(self.workers):
                if worker.batch and worker.left_s <= 1e-12:
                    self._end_batch(m, worker)

    def _free_cores(self) -> float:
        if not self.front_s:
            return self.n_cores
        rate_per_s = self.rate_per_s * math.exp((self.arrived_s - self.now_s) / _RATE_OVER_S)
        return self.n_cores * (1 - min(_MOST_FRONT_SHARE, rate_per_s * self.front_s / self.n_cores))

    def _end_batch(self, m: int, worker: _Worker) -> None:
        batch, worker.batch = worker.batch, []
        self.policy.end_batch(m, len(batch), self.now_s - worker.began_s)
        self.policy.remove(m, len(batch), self.now_s)
        for query in batch:
            if not query.is_over:
                query.got |= 1 << m
                if query.got == query.asked:
                    self._answer(query, self.now_s + self.trip_s)
        self._begin_batch(m, worker)

    def _begin_batch(self, m: int, worker: _Worker) -> None:
        member = self.members[m]
        while worker.queue and len(worker.batch) < member.most:
            query = worker.queue.popleft()
            if query.until_s >= self.now_s:
                worker.batch.append(query)
            else:
                self.policy.remove(m, 1, self.now_s)
        if worker.batch:
            took_s = member.fixed_s + member.each_s * len(worker.batch)
            worker.began_s = self.now_s
            worker.left_s = took_s * self.rng.lognormvariate(0.0, member.spread)

    def arrive(self) -> _Query | None:
        """A query comes; None when it is refused."""
        self.n += 1
        passed_s, self.arrived_s = self.now_s - self.arrived_s, self.now_s
        self.rate_per_s = self.rate_per_s * math.exp(-passed_s / _RATE_OVER_S) + 1 / _RATE_OVER_S
        deadline_s = self.now_s + self.budget_s
        asked = self.policy.choose(self.now_s, deadline_s)
        query = _Query(self.n_asked, self.now_s, deadline_s, self.now_s + self.patience_s, asked)
        self.n_asked += 1
        if not asked:
            self.n_refused += 1
            self.policy.end(query.no, 0.0)
            return None
        self.policy.send(asked, self.now_s)
        for m, worker in enumerate(self.workers):
            if asked >> m & 1:
                worker.queue.append(query)
                if not worker.batch:
                    self._begin_batch(m, worker)
        return query

    def expire(self, query: _Query) -> None:
        """Nobody waits for the query any longer: it is answered with what there is."""
        if not query.is_over:
            self._answer(query, self.now_s + self.trip_s)

    def _answer(self, query: _Query, at_s: float) -> None:
        query.is_over = True
        is_late = not query.got or at_s > query.deadline_s
        self.n_late += is_late
        self.answered_s.append(at_s)
        score = self.scores[query.got] if query.got else 0.0
        if query.got:
            self.total_score += score
            self.total_members += query.got.bit_count()
            self.latencies.append(at_s - query.arrived_s)
        self.policy.end(query.no, 0.0 if is_late else score)

    def outcome(self) -> Outcome:
        ordered = sorted(self.latencies)
        n = len(ordered)
        return Outcome(
            self.n, self.n_late / max(self.n, 1), self.n_refused / max(self.n, 1),
            self.total_score / n if n else math.nan, self.total_members / n if n else 0.0,
            ordered[n // 2] if n else math.nan, ordered[min(n - 1, int(0.99 * n))] if n else math.nan,
        )  # fmt: skip


def simulate(
    policy: MemberPolicy, arrivals: Sequence[float], members: Sequence[Member], scores: Mapping[int, float], *,
    budget_s: float, patience_s: float | None = None, n_cores: float = math.inf, front_s: float = 0.0,
    trip_s: float = 0.001, seed: int = 0,
) -> Outcome:  # fmt: skip
    """Serve queries that come at ``arrivals``.

    Args:
        arrivals: seconds, ascending.
        scores: of every subset of the members that may answer.
        budget_s: the time after which an answer is late.
        patience_s: the time after which a query is answered with what there is, and workers skip it; None = the budget.
        n_cores: what the workers share.
        front_s: what of a core each query takes on its way, which the members lack then.
        trip_s: what a query spends on its way, beside the members.
    """
    run = _Run(
        policy, members, scores, budget_s=budget_s, patience_s=budget_s if patience_s is None else patience_s,
        n_cores=n_cores, front_s=front_s, trip_s=trip_s, seed=seed,
    )  # fmt: skip
    deadlines: list[tuple[float, int, _Query]] = []

    def expire_until(until_s: float) -> None:
        while deadlines and deadlines[0][0] <= until_s:
            at_s, _, query = heapq.heappop(deadlines)
            run.advance(at_s)
            run.expire(query)

    for no, at_s in enumerate(arrivals):
        expire_until(at_s)
        run.advance(at_s)
        if (query := run.arrive()) is not None:
            heapq.heappush(deadlines, (query.until_s - policy.early_s - trip_s * (policy.early_s > 0), no, query))
    expire_until(math.inf)
    return run.outcome()


def rate_of_clients(
    policy: MemberPolicy, n_clients: int, members: Sequence[Member], scores: Mapping[int, float], *, seconds: float,
    n_cores: float = math.inf, front_s: float = 0.0, trip_s: float = 0.001, seed: int = 0,
) -> float:  # fmt: skip
    """The queries a second that are answered when so many clients send the next one as soon as they have an answer: a
    closed loop. Nothing is late there. The other arguments are those of :func:`simulate`."""
    run = _Run(
        policy, members, scores, budget_s=math.inf, patience_s=math.inf, n_cores=n_cores, front_s=front_s,
        trip_s=trip_s, seed=seed,
    )  # fmt: skip
    coming = [0.0] * n_clients
    n_seen = 0
    while run.now_s < seconds:
        # A little beyond the end of a batch: times are rounded, and one that has all but ended would stop the clock.
        next_s = min(coming[0] if coming else math.inf, run.next_end_s() + _ROUNDED_S)
        run.advance(max(run.now_s, next_s))
        while coming and coming[0] <= run.now_s:
            heapq.heappop(coming)
            run.arrive()
        for at_s in run.answered_s[n_seen:]:
            heapq.heappush(coming, at_s)
        n_seen = len(run.answered_s)
    return n_seen / run.now_s
