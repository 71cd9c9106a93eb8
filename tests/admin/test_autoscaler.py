"""How many workers a member should have: a simulated member under loads, and what each rule is for."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable

import pytest

from rafiki.admin.autoscaler import Autoscaler, BatchLine, Change, Load, LoadMeter
from rafiki.deployment import Replicas
from rafiki.messages import MemberReport
from rafiki.scheduling.batch_cost import BatchCost

BUDGET_S = 0.2
STEP_S = 0.01


class Member:
    """A member whose workers take batches from one queue, in steps of 10 ms; its counts go to an autoscaler once a
    second, and what that wants is there after a start."""

    def __init__(
        self, replicas: Replicas, *, seed: int, fixed_s: float = 0.02, each_s: float = 0.005, start_s: float = 3.0,
        budget_s: float = BUDGET_S, room: int = 256,
    ) -> None:  # fmt: skip
        self.scaler = Autoscaler(replicas, budget_s, replicas.floor, 0.0)
        self.meter, self.cost = LoadMeter(), BatchCost()
        self.fixed_s, self.each_s, self.start_s, self.budget_s, self.room = fixed_s, each_s, start_s, budget_s, room
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.running, self.starting = replicas.floor, deque[float]()
        self.busy: list[float] = []
        self.queue: deque[float] = deque()
        self.asked = self.missed = 0
        self.changes: list[tuple[float, Change]] = []
        self.most_running = self.running

    def run(self, rate: Callable[[float], float], seconds: float) -> None:
        began_s = self.now_s
        next_report_s = math.floor(self.now_s) + 1.0
        while self.now_s < began_s + seconds:
            self.now_s += STEP_S
            while self.starting and self.starting[0] <= self.now_s:
                self.starting.popleft()
                self.running += 1
                self.scaler.note_start(self.start_s)
                self.most_running = max(self.most_running, self.running)
            self._arrive(rate(self.now_s - began_s))
            self._serve()
            if self.now_s >= next_report_s:
                next_report_s += 1.0
                self._report()

    def _arrive(self, rate: float) -> None:
        left = rate * STEP_S
        while (left := left - self.random.expovariate(1.0)) > 0:
            self.asked += 1
            self.queue.append(self.now_s)

    def _serve(self) -> None:
        while self.busy and self.busy[0] <= self.now_s:
            heapq.heappop(self.busy)
        while self.queue and self.now_s - self.queue[0] > self.budget_s:
            self.queue.popleft()
            self.missed += 1
        while self.queue and len(self.busy) < self.running:
            batch = [self.queue.popleft() for _ in range(min(64, len(self.queue)))]
            took_s = (self.fixed_s + self.each_s * len(batch)) * self.random.lognormvariate(0.0, 0.1)
            self.cost.add(len(batch), took_s)
            self.missed += sum(self.now_s + took_s - at_s > self.budget_s for at_s in batch)
            heapq.heappush(self.busy, self.now_s + took_s)

    def _report(self) -> None:
        line = self.cost
        report = MemberReport(
            "t", self.running, len(self.queue), 0, self.asked, self.missed,
            line.fixed_s if line.is_known else 0.0, line.each_s if line.is_known else 0.0,
        )  # fmt: skip
        load = self.meter.read([("p", self.now_s, report)])
        self._follow(self.scaler.decide(self.now_s, load, self.running, len(self.starting)))
        if (there := self.running + len(self.starting)) < self.scaler.wanted:
            self._follow(self.scaler.note_obstacle(there, "each core has a worker", self.now_s))

    def _follow(self, change: Change | None) -> None:
        if change is None:
            return
        self.changes.append((self.now_s, change))
        while self.running + len(self.starting) > self.scaler.wanted:
            if self.starting:
                self.starting.pop()
            else:
                self.running -= 1
        for _ in range(min(self.scaler.wanted, self.room) - self.running - len(self.starting)):
            self.starting.append(self.now_s + self.start_s)

    @property
    def numbers(self) -> list[int]:
        return [change.after for _, change in self.changes]


def steady(rate: float) -> Callable[[float], float]:
    return lambda _: rate


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rate", [30.0, 70.0, 100.0, 150.0, 230.0])
def test_a_steady_load_has_its_workers_within_seconds_and_keeps_them(rate: float, seed: int) -> None:
    member = Member(Replicas(min=1, max=8), seed=seed)
    member.run(steady(rate), 30)
    member.run(steady(rate), 570)
    # One more comes where the load is at the edge, and stays.
    assert len(member.changes) <= 3 and member.numbers == sorted(member.numbers)
    busy = rate * (member.fixed_s / 10 + member.each_s)
    assert busy < member.running <= math.ceil(2 * busy) + 1
    assert member.missed < 0.01 * member.asked


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_step_is_followed_within_seconds_and_what_it_needed_goes_after_a_while(seed: int) -> None:
    member = Member(Replicas(min=1, max=8), seed=seed)
    member.run(steady(40.0), 100)
    assert member.changes == []
    member.run(steady(400.0), 10)
    assert member.running + len(member.starting) >= 4
    member.run(steady(400.0), 10)
    asked, missed = member.asked, member.missed
    member.run(steady(400.0), 180)
    assert member.missed - missed < 0.01 * (member.asked - asked)
    assert member.running == member.numbers[-1] >= 4
    member.run(steady(40.0), 50)
    assert member.running >= 4, "a minute has not passed"
    member.run(steady(40.0), 250)
    assert member.running == 1
    assert len(member.changes) <= 8


@pytest.mark.parametrize("seed", [1])
def test_bursts_and_waves_are_followed_by_few_changes(seed: int) -> None:
    bursts = Member(Replicas(min=1, max=8), seed=seed)
    bursts.run(lambda s: 400.0 if s % 120 < 2 else 40.0, 1200)
    assert len(bursts.changes) <= 10, "no more than there were bursts"
    slow = Member(Replicas(min=1, max=8), seed=seed)
    slow.run(lambda s: 200 * (1 + math.sin(2 * math.pi * s / 600)), 1200)
    # Two periods, in each of which up to four workers come and go.
    assert len(slow.changes) <= 2 * 8
    assert slow.missed < 0.01 * slow.asked
    quick = Member(Replicas(min=1, max=8), seed=seed)
    quick.run(lambda s: 200 * (1 + math.sin(2 * math.pi * s / 60)), 60)
    asked, missed = quick.asked, quick.missed
    quick.run(lambda s: 200 * (1 + math.sin(2 * math.pi * s / 60)), 540)
    assert len(quick.changes) <= 6, "waves that are shorter than the time to wait keep their workers"
    assert quick.missed - missed < 0.01 * (quick.asked - asked)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_app_that_nobody_asks_sleeps_and_the_next_query_wakes_it(seed: int) -> None:
    member = Member(Replicas(min=0, max=8, idle_s=60), seed=seed)
    member.run(steady(50.0), 100)
    member.run(steady(0.0), 55)
    assert member.running == 1
    member.run(steady(0.0), 200)
    assert (member.running, member.numbers) == (0, [0])
    assert "nobody asked for 60 s" in member.changes[-1][1].reason
    member.run(steady(50.0), 10)
    assert (member.running, member.numbers) == (1, [0, 1])


def test_one_that_keeps_a_worker_never_sleeps() -> None:
    member = Member(Replicas(min=2, max=8, idle_s=1), seed=1)
    member.run(steady(0.0), 600)
    assert (member.running, member.changes) == (2, [])


def test_what_cannot_be_had_is_told_and_not_asked_for_again_at_once() -> None:
    member = Member(Replicas(min=1, max=8), seed=1, room=2)
    member.run(steady(400.0), 50)
    assert member.scaler.wanted == member.running == 2
    assert "cannot be had: each core has a worker" in member.scaler.reason
    n_changes = len(member.changes)
    member.run(steady(400.0), 600)
    # Asked again after 60, 120 and 240 s.
    assert len(member.changes) - n_changes <= 2 * 3
    member.room = 8
    member.run(steady(400.0), 900)
    assert member.running >= 4


def test_where_one_query_alone_takes_longer_than_it_may_more_workers_are_no_help() -> None:
    member = Member(Replicas(min=1, max=8), seed=1, fixed_s=0.3, each_s=0.001)
    member.run(steady(20.0), 120)
    assert member.running == 1
    assert "more workers would not help" in member.scaler.reason


def test_costs_that_are_off_are_mended_by_what_is_late() -> None:
    scaler = Autoscaler(Replicas(max=4), BUDGET_S, 1, 0.0)
    line, change, now_s = BatchLine(0.001, 0.0005), None, 0.0
    while change is None and now_s < 60:
        now_s += 1.0
        # It says that it could answer 2,000 a second.
        change = scaler.decide(now_s, Load(passed_s=1, asked=1100, missed=100, waiting=20, line=line), 1, 0)
    assert change == Change(before=1, after=2, reason="9% of the queries were late or refused")
    assert now_s < 15


def test_a_queue_that_stays_asks_for_a_worker_with_its_length_and_the_budget() -> None:
    scaler = Autoscaler(Replicas(max=4), BUDGET_S, 2, 0.0)
    line, change, now_s = BatchLine(0.1, 0.0001), None, 0.0
    while change is None and now_s < 60:
        now_s += 1.0
        change = scaler.decide(now_s, Load(passed_s=1, asked=650, missed=0, waiting=250, line=line), 2, 0)
    assert change == Change(before=2, after=3, reason="queue of 213 ms at a budget of 200 ms")


def test_workers_that_are_about_to_answer_count() -> None:
    scaler = Autoscaler(Replicas(max=8), BUDGET_S, 1, 0.0)
    load = Load(passed_s=1, asked=300, missed=150, waiting=50, line=BatchLine(0.02, 0.005))
    assert scaler.decide(1.0, load, 1, 0) is not None
    wanted = scaler.wanted
    assert [scaler.decide(1.0 + s, load, 1, wanted - 1) for s in range(1, 60)] == [None] * 59


def test_without_figures_nothing_changes() -> None:
    scaler = Autoscaler(Replicas(min=0, max=8, idle_s=10), BUDGET_S, 3, 0.0)
    assert [scaler.decide(float(s), None, 3, 0) for s in range(600)] == [None] * 600


def test_other_limits_hold_at_once() -> None:
    scaler = Autoscaler(Replicas(max=8), BUDGET_S, 5, 0.0)
    assert scaler.set_limits(Replicas(max=8), 1.0) is None
    changed = scaler.set_limits(Replicas(min=1, max=2), 2.0)
    assert changed == Change(before=5, after=2, reason="set to 1 to 2")
    assert scaler.set_limits(Replicas(min=3, max=3), 3.0) == Change(before=2, after=3, reason="set to 3")
    asleep = Autoscaler(Replicas(min=0, max=8), BUDGET_S, 0, 0.0)
    assert asleep.set_limits(Replicas(min=0, max=4), 1.0) is None
    woken = asleep.set_limits(Replicas(min=2, max=4), 1.0)
    assert woken is not None and woken.after == 2


def test_a_worker_answers_so_many_a_second_that_a_batch_takes_half_of_the_budget() -> None:
    # 0.02 + 16 * 0.005 = 0.1
    assert BatchLine(0.02, 0.005).capacity_per_s(0.2001) == pytest.approx(16 / 0.1)
    assert BatchLine(0.02, 0.005, most=4).capacity_per_s(0.2) == pytest.approx(4 / 0.04)
    assert BatchLine(0.02, 0.0).capacity_per_s(0.2) == pytest.approx(64 / 0.02)
    # A batch that fits as a rule, and not in 99 of 100 cases.
    assert BatchLine(0.05, 0.005, 5.0).capacity_per_s(0.2001) == pytest.approx(10 / 0.1)
    assert BatchLine(0.15, 0.005).capacity_per_s(0.2001) == pytest.approx(10 / 0.2)


def report(asked: int, missed: int = 0, waiting: int = 0) -> MemberReport:
    return MemberReport("t", 1, waiting, 0, asked, missed, 0.02, 0.005)


def test_the_load_is_what_all_predictors_count_since_the_reading_before() -> None:
    meter = LoadMeter()
    first = meter.read([("p", 100.0, report(5000)), ("q", 2.0, report(10))])
    assert first is not None and (first.asked, first.passed_s) == (10, 2.0), "one that has just begun counts whole"
    assert meter.read([("p", 100.0, report(5000)), ("q", 2.0, report(10))]) is None, "nothing new was told"
    load = meter.read([("p", 102.0, report(5100, 7, 3)), ("q", 3.0, report(20, 0, 1))])
    assert load is not None
    assert (load.asked, load.missed, load.waiting, load.passed_s) == (110, 7, 4, 2.0)
    assert load.line == BatchLine(0.02, 0.005)
    assert meter.read([]) is None
    again = meter.read([("p", 1.0, report(8))])
    assert again is not None and again.asked == 8, "a predictor that began anew counts from 0"
