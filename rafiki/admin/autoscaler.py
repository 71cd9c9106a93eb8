"""How many inference workers a member of an ensemble should have, by the load. Pure: no I/O and no clock.

One :class:`Autoscaler` a member; :class:`LoadMeter` makes its figures out of what predictors count. Times are seconds,
by one clock of the caller's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from statistics import median

import msgspec

from rafiki.deployment import LATE_TARGET, Replicas
from rafiki.messages import MemberReport

_SPARE = 0.5
"""Of square-root staffing: how many standard deviations of the load are kept free."""
_DOWN_MARGIN = 1.15
"""By so much the load must be below what fewer workers carry, before there are fewer."""
_SHORT_S, _MOST_SHORT_S = 3.0, 10.0
"""The time over which the load is taken that asks for more: at least, and where starts take long."""
_HOLD_S, _MOST_HOLD_S = 60.0, 480.0
"""For so long fewer must have been enough. It doubles while more are wanted again soon after."""
_STARTS_HELD = 20.0
"""Workers stay at least for so many times what their start takes."""
_SETTLE_S = 5.0
"""After the workers that were wanted are there, before what waits or is late asks for another."""
_QUEUE_SHARE = 0.75
"""Of the latency budget: what waits may take so much of it."""
_FEW_LATE = 3
_LEAST_BUSY = 0.5
"""Of the capacity: below that, lateness is not a matter of load."""
_RETRY_S, _MOST_RETRY_S = 60.0, 900.0
"""After a worker could not be had, before it is asked for again: at first, and at most."""
_STARTS_KEPT = 5


class BatchLine(msgspec.Struct, frozen=True):
    """What a batch of ``b`` queries costs a worker: ``fixed_s + each_s * b``, as a median; both 0 = not known yet."""

    fixed_s: float = 0.0
    each_s: float = 0.0
    tail_ratio: float = 1.0
    """How many times longer 99 of 100 batches take at most."""
    most: int = 64
    """The largest batch."""

    @property
    def is_known(self) -> bool:
        return self.fixed_s + self.each_s > 0

    def batch_s(self, size: float) -> float:
        return self.fixed_s + self.each_s * size

    def capacity_per_s(self, budget_s: float) -> float:
        """The queries a second that one worker answers within the budget, in the largest batches that allow it.

        A query waits for the batch at hand at most, and then is in one itself, so a batch may take half of the
        budget (Nexus: Shen et al., SOSP 2019, section 4.1).
        """
        size = 1.0
        # Where that cannot be had in 99 of 100 cases, it is to hold in most; at last, for queries that need not wait.
        for slack in (2 * self.tail_ratio, 2.0, 1.0):
            if (room_s := budget_s / slack - self.fixed_s) >= max(self.each_s, 1e-9):
                size = min(self.most, room_s // self.each_s if self.each_s else self.most)
                break
        return size / max(self.batch_s(size), 1e-9)

    def is_hopeless(self, budget_s: float) -> bool:
        """Whether one query alone takes longer than it may: more workers would not help it."""
        return self.batch_s(1) > budget_s


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of one member, since the reading before."""

    passed_s: float
    asked: float
    """Queries that came, with those that were refused or of which it was left out for want of time."""
    missed: float
    """Those of them that it did not answer in time."""
    waiting: int
    """Those that it has not answered yet."""
    line: BatchLine = BatchLine()


class LoadMeter:
    """Makes the load of a member out of the counts of all predictors that ask it."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int, int]] = {}

    def read(self, reports: Iterable[tuple[str, float, MemberReport]]) -> Load | None:
        """The load since the last call; None when nothing new was told.

        Args:
            reports: id of a predictor, how long it has run, and what it counts.
        """
        passed_s, asked, missed, waiting, line = 0.0, 0, 0, 0, BatchLine()
        seen: dict[str, tuple[float, int, int]] = {}
        for predictor_id, uptime_s, report in reports:
            seen[predictor_id] = now = (uptime_s, report.asked, report.missed)
            # All that one has counted which has just begun is new.
            unseen = (0.0, 0, 0) if uptime_s < _MOST_SHORT_S else now
            before_s, asked_before, missed_before = self._seen.get(predictor_id, unseen)
            if uptime_s < before_s:
                before_s, asked_before, missed_before = unseen
            passed_s = max(passed_s, uptime_s - before_s)
            asked += max(0, report.asked - asked_before)
            missed += max(0, report.missed - missed_before)
            waiting += report.waiting
            if report.fixed_s + report.each_s > 0:
                line = BatchLine(report.fixed_s, report.each_s, max(1.0, report.tail_ratio), max(1, report.batch_size))
        self._seen = seen
        if passed_s <= 0:
            return None
        return Load(passed_s=passed_s, asked=asked, missed=missed, waiting=waiting, line=line)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Another number of workers is wanted."""

    before: int
    after: int
    reason: str
    """For people: ``queue of 160 ms at a budget of 200 ms``."""


class Autoscaler:
    """Decides how many workers one member should have.

    What its queries take is measured: they come at ``rate``, and a worker answers ``capacity`` of them a second within
    the budget (:meth:`BatchLine.capacity_per_s`), so ``load = rate / capacity`` workers would be busy all the time.
    ``ceil(load + 0.5 * sqrt(load))`` are wanted: square-root staffing (Halfin and Whitt, Operations Research 29(3),
    1981), which keeps a share free for what chance brings, the smaller the more there are. The costs may be off where
    workers share a machine: then a queue or late answers ask for one more at a time.

    More are wanted at once, by the load of the last seconds. Fewer are wanted once the most that was needed over a
    while is less: so noise changes nothing, and a load that comes and goes keeps its workers. The while doubles when
    fewer turned out to be too few.
    """

    def __init__(
        self, replicas: Replicas, budget_s: float, wanted: int, now_s: float, late_target: float = LATE_TARGET
    ) -> None:
        """
        Args:
            budget_s: the time in which a query is to be answered.
            wanted: how many there are.
            late_target: the share of the queries that may be late or refused.
        """
        self._late_target = late_target
        self.wanted = wanted
        self.reason = ""
        """Why as many are wanted as are."""
        self._replicas, self._budget_s = replicas, budget_s
        self._recent: deque[tuple[float, Load]] = deque()
        self._window: list[Load] = []
        self._rate = self._capacity = 0.0
        """Queries a second in the last seconds, and what one worker answers of them."""
        self._line = BatchLine()
        self._needed: deque[tuple[float, int]] = deque()
        self._asked_s = now_s
        self._changed_s = self._unsettled_s = now_s
        self._fewer_s = -math.inf
        self._hold_s = _HOLD_S
        self._starts_s: deque[float] = deque(maxlen=_STARTS_KEPT)
        self._ceiling: int | None = None
        self._obstacle = ""
        self._retry_at_s, self._retry_s = 0.0, _RETRY_S

    # ---- what it is told

    def set_limits(self, replicas: Replicas, now_s: float) -> Change | None:
        """Other limits hold from now on."""
        if replicas == self._replicas:
            return None
        self._replicas, self._ceiling, self._asked_s = replicas, None, now_s
        low = replicas.floor if self.wanted else replicas.min
        if (wanted := max(low, min(self.wanted, replicas.max))) == self.wanted:
            return None
        return self._change(now_s, wanted, f"set to {replicas}")

    def note_start(self, took_s: float) -> None:
        """A worker has begun to answer, so long after its start."""
        self._starts_s.append(took_s)

    def note_obstacle(self, there: int, reason: str, now_s: float) -> Change | None:
        """No more than ``there`` workers can be had, for a reason: they are not asked for again for a while."""
        possible = max(self._replicas.floor, there)
        if possible >= self.wanted:
            return None
        self._ceiling, self._obstacle = possible, reason
        self._retry_at_s = now_s + self._retry_s
        self._retry_s = min(2 * self._retry_s, _MOST_RETRY_S)
        return self._change(now_s, possible, f"{self.wanted} cannot be had: {reason}")

    @property
    def start_s(self) -> float | None:
        """How long a start takes, by the last ones; None = none was seen."""
        return median(self._starts_s) if self._starts_s else None

    # ---- what it decides

    def decide(self, now_s: float, load: Load | None, running: int, starting: int) -> Change | None:
        """Another number that is wanted from now on; None = as before.

        Args:
            load: since the last call; None = nothing is known, and nothing changes.
            running, starting: workers of the member that answer, and that are about to.
        """
        if load is None:
            return None
        if load.asked or load.waiting:
            self._asked_s = now_s
        self._recent.append((now_s, load))
        while now_s - self._recent[0][0] > _MOST_SHORT_S:
            self._recent.popleft()
        self._measure(now_s, load.line)
        limits = self._replicas
        if not self.wanted:
            if not (load.asked or load.waiting):
                return None
            return self._change(now_s, self._within(max(1, self._staff(1.0))), "a query came")
        if not limits.min and now_s - self._asked_s >= limits.idle_s:
            self._needed.clear()
            return self._change(now_s, 0, f"nobody asked for {limits.idle_s:g} s")
        if self._ceiling is not None and now_s >= self._retry_at_s:
            self._ceiling = None
        elif self._ceiling is None and running >= self.wanted:
            self._retry_s = _RETRY_S
        needed, reason = self._find_needed(now_s, running, starting)
        if (line := load.line).is_hopeless(self._budget_s):
            takes = f"one query takes {_ms(line.batch_s(1))} at a budget of {_ms(self._budget_s)}"
            self.reason = f"{takes}: more workers would not help"
        if needed > self.wanted:
            if self._ceiling is not None and needed > self._ceiling:
                self.reason = f"{reason}, but {self._ceiling + 1} cannot be had: {self._obstacle}"
            if (within := self._within(needed)) > self.wanted:
                is_soon = now_s - self._fewer_s < 2 * self._hold_s
                self._hold_s = min(max(self._hold_s * (2.0 if is_soon else 0.5), _HOLD_S), _MOST_HOLD_S)
                return self._change(now_s, within, reason)
            return None
        return self._find_fewer(now_s, running)

    def _find_needed(self, now_s: float, running: int, starting: int) -> tuple[int, str]:
        """How many the last seconds ask for; why, where these are more than there are."""
        staffed = self._staff(1.0)
        if starting or running != self.wanted:
            self._unsettled_s = now_s
        # What was late before the last worker came says nothing.
        has_settled = now_s - self._unsettled_s >= self._short_s() + _SETTLE_S
        if staffed > self.wanted:
            reason = f"{_number(self._rate)} queries/s, of which one worker answers {_number(self._capacity)}"
        elif has_settled and (reason := self._find_urgent()):
            staffed = self.wanted + 1
        else:
            reason = ""
        self._note_needed(now_s, max(staffed, self._staff(_DOWN_MARGIN)) if reason else self._staff(_DOWN_MARGIN))
        return staffed, reason

    def _note_needed(self, now_s: float, needed: int) -> None:
        """Of those before, the smaller ones decide nothing any more: the first is the most of all."""
        while self._needed and self._needed[-1][1] <= needed:
            self._needed.pop()
        self._needed.append((now_s, needed))

    def _find_urgent(self) -> str:
        """What shows that the workers are too few, whatever the load is by its costs; empty = nothing."""
        line, recent = self._line, self._window
        if line.is_hopeless(self._budget_s):
            return ""
        if line.is_known and self._rate < _LEAST_BUSY * self._capacity * self.wanted:
            return ""
        waits_s = [_queue_s(load, self.wanted) for load in recent]
        if line.is_known and len(waits_s) > 1 and (wait_s := min(waits_s)) > _QUEUE_SHARE * self._budget_s:
            return f"queue of {_ms(wait_s)} at a budget of {_ms(self._budget_s)}"
        asked, missed = sum(load.asked for load in recent), sum(load.missed for load in recent)
        if missed >= _FEW_LATE and missed > self._late_target * asked:
            return f"{missed / max(asked, missed):.0%} of the queries were late or refused"
        return ""

    def _find_fewer(self, now_s: float, running: int) -> Change | None:
        hold_s = max(self._hold_s, _STARTS_HELD * (self.start_s or 0.0))
        while self._needed and now_s - self._needed[0][0] > hold_s:
            self._needed.popleft()
        # Whatever was needed before the last change has had its answer.
        if now_s - self._changed_s < hold_s or running < self.wanted:
            return None
        most = max(self._replicas.floor, self._needed[0][1])
        if most >= self.wanted:
            return None
        self._fewer_s = now_s
        if not self._rate:
            return self._change(now_s, most, f"no query for {hold_s:.3g} s")
        return self._change(now_s, most, f"{_number(self._rate)} queries/s need no more, for {hold_s:.3g} s")

    def _measure(self, now_s: float, line: BatchLine) -> None:
        """The readings of the last seconds, and what they say: of more of them where a start takes long."""
        short_s = self._short_s()
        self._window = window = [load for at_s, load in self._recent if now_s - at_s < short_s]
        self._rate = sum(load.asked for load in window) / sum(load.passed_s for load in window)
        self._line = line
        self._capacity = line.capacity_per_s(self._budget_s) if line.is_known else 0.0

    def _short_s(self) -> float:
        return min(max(_SHORT_S, self.start_s or 0.0), _MOST_SHORT_S)

    def _staff(self, margin: float) -> int:
        """How many workers the load of the last seconds needs, by its costs; the present number while these are not
        known."""
        if not self._line.is_known:
            return self.wanted if self._rate else self._replicas.floor
        if self._line.is_hopeless(self._budget_s):
            return self._replicas.floor
        load = margin * self._rate / self._capacity
        return self._within(math.ceil(load + _SPARE * math.sqrt(load) - 1e-9), is_free=True)

    def _within(self, n: int, *, is_free: bool = False) -> int:
        """The nearest number that is allowed, and that can be had unless ``is_free``."""
        most = self._replicas.max if is_free or self._ceiling is None else min(self._replicas.max, self._ceiling)
        return max(self._replicas.floor, min(n, most))

    def _change(self, now_s: float, wanted: int, reason: str) -> Change | None:
        self._changed_s = now_s
        before, self.wanted = self.wanted, wanted
        self.reason = reason
        return None if before == wanted else Change(before=before, after=wanted, reason=reason)


def _queue_s(load: Load, n_workers: int) -> float:
    """How long what waits takes so many workers."""
    line, each = load.line, load.waiting / n_workers
    n_full = math.floor(each / line.most)
    rest = each - n_full * line.most
    return n_full * line.batch_s(line.most) + (line.batch_s(rest) if rest else 0.0)


def _number(value: float) -> str:
    """``1,234``, ``0.5``"""
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.2g}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 10 else f"{seconds:.3g} s"
