"""Who answers: all members while there is room, fewer as queries come faster, never worse than the best single one."""

from __future__ import annotations

import itertools
import random

import pytest

from rafiki.scheduling.actor_critic import ActorCritic
from rafiki.scheduling.arrivals import burst, sine, step
from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.member_planner import MemberLoad, MemberPlanner, Plan
from rafiki.scheduling.policies import AllMembers, BestSingle, MemberPolicy, Planned, RoundRobin
from rafiki.scheduling.simulator import Member, Outcome, rate_of_clients, simulate
from rafiki.scheduling.subset_scores import SubsetScores, useful_subsets

SLOW, QUICK = 0b01, 0b10
MEMBERS = [
    Member(0.020, 0.0020, most=32),
    Member(0.010, 0.0010, most=32),
    Member(0.004, 0.0005, most=32),
    Member(0.001, 0.0003, most=32),
]
SINGLE = [0.92, 0.90, 0.88, 0.85]
SCORES = {
    mask: max(SINGLE[m] for m in range(4) if mask >> m & 1) + 0.011 * (mask.bit_count() - 1) for mask in range(1, 16)
}
BEST_PER_S = 32 / (0.020 + 0.064)
"""What the best single member answers in its largest batches."""


def costs() -> list[MemberLoad]:
    found = []
    for member in MEMBERS:
        load = MemberLoad()
        load.fixed_s, load.each_s, load.most = member.fixed_s, member.each_s, member.most
        load.assume_slack(0.25)
        found.append(load)
    return found


def planned() -> Planned:
    return Planned(MemberPlanner(SubsetScores(4, SCORES)), [member.most for member in MEMBERS])


def run(policy: MemberPolicy, arrivals: list[float], seed: int = 0) -> Outcome:
    return simulate(policy, arrivals, MEMBERS, SCORES, budget_s=0.3, seed=seed)


# ---- scores of subsets


def test_the_best_subset_of_those_that_are_there_is_found_for_each_set() -> None:
    scores = SubsetScores(4, SCORES)
    for available in range(16):
        within = [mask for mask in SCORES if mask & available == mask and SCORES[mask] >= 0.92]
        best = max(within, key=lambda mask: SCORES[mask], default=0)
        assert scores.best_within(available) == (available if available == 15 else best)


def test_while_all_can_answer_all_are_asked_and_else_the_best_of_those_that_can() -> None:
    a, b, c = 0b001, 0b010, 0b100
    scores = SubsetScores(3, {a: 0.9, b: 0.5, c: 0.4, a | b: 0.8, a | c: 0.95, b | c: 0.6, a | b | c: 0.7})
    assert scores.best_within(a | b | c) == a | b | c  # the ensemble that was deployed
    assert scores.best_within(a | b) == a
    assert scores.best_within(a | c) == a | c
    assert scores.best_within(a | b, present=a | b) == a | b
    assert scores.best_within(b | c) == 0


def test_where_nothing_was_measured_all_that_can_are_asked() -> None:
    for n in (1, 3, 12):
        scores = SubsetScores.unknown(n)
        assert scores.best_within(scores.everyone) == scores.everyone
        assert scores.best_within(1) == 1
        for m in range(1, n):
            assert scores.best_within(scores.everyone ^ 1) == 0  # the best trial has no time
            assert scores.best_within(1 << m, present=1 << m) == 1 << m  # it has no worker


def test_a_member_that_is_gone_sets_no_measure() -> None:
    scores = SubsetScores(2, {SLOW: 0.9, QUICK: 0.5, SLOW | QUICK: 0.95})
    assert scores.best_within(QUICK) == 0
    assert scores.best_within(QUICK, present=QUICK) == QUICK
    assert scores.best_within(SLOW | QUICK, present=SLOW) == SLOW


def test_useful_subsets_are_all_of_few_and_a_bounded_number_of_many() -> None:
    assert useful_subsets(3) == [1, 2, 3, 4, 5, 6, 7]
    assert len(useful_subsets(100)) == 199


def test_a_member_without_a_score_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no score of members \[1\]"):
        SubsetScores(2, {SLOW: 0.5})


# ---- the load of a member


def test_the_end_counts_the_rest_of_the_batch_at_hand_and_the_batches_that_follow() -> None:
    member = MemberLoad()
    member.fixed_s, member.each_s, member.most = 0.01, 0.001, 4
    assert member.end_s(1, 100.0) == pytest.approx(0.011)
    member.add(2, 100.0)
    member.rate_per_s = 0.0
    assert member.end_s(1, 100.0) == pytest.approx(0.012 + 0.011)
    assert member.end_s(1, 100.005) == pytest.approx(0.007 + 0.011)
    assert member.end_s(1, 107.0) == pytest.approx(0.011)  # it should have ended
    member.add(9, 100.005)
    member.rate_per_s = 0.0
    assert member.end_s(1, 100.005) == pytest.approx(0.007 + 3 * 0.01 + 10 * 0.001)
    member.remove(2, 100.012)  # it takes four of the nine
    assert member.end_s(1, 100.012) == pytest.approx(0.014 + 2 * 0.01 + 6 * 0.001)
    member.rate_per_s = 1000.0  # the last batch will be full
    assert member.end_s(1, 100.012) == pytest.approx(0.014 + 2 * 0.01 + 8 * 0.001)
    member.assume_slack(2.0)
    assert member.end_s(1, 100.012) == pytest.approx(0.014 + 2 * 0.01 + 8 * 0.001 + 2 * 3**0.5 * 0.014)
    member.n_workers, member.rate_per_s = 2, 0.0
    member.assume_slack(0.0)
    assert member.end_s(1, 100.012) == pytest.approx(0.012 + 0.01 + 3 * 0.001)
    member.remove(20, 101.0)
    assert (member.outstanding, member.taken) == (0, 0)


def test_what_is_not_waited_for_any_more_counts_until_the_batch_at_hand_has_ended() -> None:
    member = MemberLoad()
    member.fixed_s, member.most = 0.1, 4
    member.add(4, 0.0)
    member.add(10, 0.0)
    member.forget(3)
    assert (member.outstanding, member.taken) == (4, 4)
    assert not member.is_idle(0.1)
    assert member.is_idle(0.25)
    member.remove(4, 0.3)
    assert member.outstanding == 0


def test_a_member_is_planned_by_its_costs_once_a_few_batches_tell_them() -> None:
    member, cost = MemberLoad(), BatchCost()
    for _ in range(3):
        cost.add(1, 0.1)
        member.learn(cost)
    assert (member.fixed_s, member.slack) == (0, 0)
    cost.add(1, 0.1)
    member.learn(cost)
    assert member.fixed_s == pytest.approx(0.1)


def test_what_is_not_known_yet_is_asked() -> None:
    planner = MemberPlanner(SubsetScores.unknown(2))
    assert planner.choose(1, 0.0, 0.001) == SLOW | QUICK
    assert planner.choose(1, 0.0, 0.001, present=QUICK) == QUICK
    assert planner.choose(1, 0.0, -0.001) == 0


def test_a_slow_member_is_given_what_it_can_do_in_time() -> None:
    planner = MemberPlanner(SubsetScores(2, {SLOW: 0.8, QUICK: 0.9, SLOW | QUICK: 0.95}))
    slow, quick = planner.members
    slow.fixed_s, quick.fixed_s = 0.1, 0.001
    slow.most = 1
    chosen = []
    for _ in range(5):
        mask = planner.choose(1, 0.0, 0.35)
        planner.send(mask, 1, 0.0)
        chosen.append(mask)
    assert chosen == [SLOW | QUICK] * 3 + [QUICK] * 2


def test_a_query_is_refused_only_when_no_subset_as_good_as_the_best_member_is_in_time() -> None:
    planner = MemberPlanner(SubsetScores(2, {SLOW: 0.9, QUICK: 0.8, SLOW | QUICK: 0.95}))
    planner.members[0].fixed_s = 0.5
    assert planner.choose(1, 0.0, 0.4) == SLOW | QUICK  # idle: what it costs is learned from what it does
    planner.send(SLOW | QUICK, 1, 0.0)
    assert planner.choose(1, 0.0, 1.1) == SLOW | QUICK
    assert planner.choose(1, 0.0, 0.9) == 0


def test_the_slack_follows_what_plans_miss_and_so_few_answers_come_later_than_planned() -> None:
    member, rng = MemberLoad(0.05), random.Random(3)
    member.fixed_s = 0.1
    member.assume_slack(0.1)
    n_late = 0
    for no in range(4000):
        at_s = float(no)
        planned_s = at_s + member.end_s(1, at_s)
        answered_s = at_s + 0.1 * (1 + rng.expovariate(4 if no < 2000 else 2))  # it becomes slower
        if no >= 500:
            n_late += answered_s > planned_s
        member.follow(Plan(at_s + member.plan_s, member.scale_s), answered_s)
    assert n_late / 3500 == pytest.approx(0.05, abs=0.02)
    assert member.slack == pytest.approx(3 / 2, rel=0.3)  # 19 of 20 are below
    member.assume_slack(0.1)
    assert member.slack > 1  # what was seen counts for more


def test_a_target_for_late_answers_sets_what_is_kept_in_reserve() -> None:
    slack = []
    for target in (0.2, 0.02):
        planner, rng = MemberPlanner(SubsetScores.unknown(2), late_target=target), random.Random(5)
        member = planner.members[1]
        for _ in range(4000):
            member.follow(Plan(0.0, 0.1), 0.1 * rng.random())
        slack.append(member.slack)
    assert slack == pytest.approx([0.8, 0.98], abs=0.1)


def test_a_worker_that_was_gone_leaves_a_bounded_slack() -> None:
    member = MemberLoad()
    member.fixed_s = 0.01
    for _ in range(1000):
        member.follow(Plan(1.0, 0.01), 60.0)
    assert member.slack <= 4


def test_a_single_member_is_planned_only_where_the_answer_is_open() -> None:
    planner = MemberPlanner(SubsetScores.unknown(1))
    member, cost = planner.members[0], BatchCost()
    for _ in range(20):
        cost.add(4, 0.1)
    member.learn(cost)
    member.most = 4
    assert planner.choose(1, 0.0, 0.3) == 1
    assert planner.send(1, 1, 0.0) == (None,)
    assert (member.outstanding, member.taken) == (1, 1)
    assert planner.choose(1, 0.0, 0.15) == 0  # the batch at hand and the next take 0.2 s
    for _ in range(3):
        planner.choose(1, 0.0, 0.3)
        planner.send(1, 1, 0.0)
    assert planner.choose(1, 0.0, 0.3) == 1
    assert planner.send(1, 1, 0.0)[0] == Plan(pytest.approx(0.2), pytest.approx(0.1 * 2**0.5))
    for _ in range(3):
        planner.send(planner.choose(1, 0.0, 0.3), 1, 0.0)
    assert planner.choose(1, 0.0, 0.25) == 0


# ---- under load


def test_under_a_swinging_load_the_planner_is_in_time_and_better_than_the_best_member() -> None:
    arrivals = sine(0.5 * BEST_PER_S, 1.2 * BEST_PER_S, 30, period_s=15, seed=3)
    scores = SubsetScores(4, SCORES)
    everyone, best, turns = (run(policy(scores), arrivals) for policy in (AllMembers, BestSingle, RoundRobin))
    plan = run(planned(), arrivals)
    assert plan.late_share < 0.01
    assert plan.refused_share < 0.01
    assert everyone.late_share > 0.2
    assert best.late_share > 0.2
    assert plan.score > SINGLE[0] + 0.01 > turns.score


def test_with_room_everybody_is_asked() -> None:
    plan = run(planned(), sine(10, 30, 20, period_s=10, seed=1))
    assert plan.mean_members == 4
    assert plan.score == pytest.approx(SCORES[15])


@pytest.mark.parametrize(
    "arrivals",
    [
        step(50, 1.1 * BEST_PER_S, 20, from_s=5, seed=2),
        burst(50, 5 * BEST_PER_S, 20, from_s=5, until_s=6, seed=2),
    ],
    ids=["step", "burst"],
)
def test_a_step_and_a_burst_make_no_answer_late(arrivals: list[float]) -> None:
    plan = run(planned(), arrivals)
    assert plan.late_share < 0.01
    assert plan.score >= SINGLE[0]


def test_overload_refuses_what_nobody_can_answer_and_answers_the_rest_in_time() -> None:
    plan = run(planned(), sine(3 * BEST_PER_S, 3 * BEST_PER_S, 10, period_s=5, seed=5))
    assert plan.late_share < 0.01
    assert 0.1 < plan.refused_share < 0.9
    assert plan.score >= SINGLE[0]


def test_a_run_is_the_same_each_time() -> None:
    arrivals = sine(100, 400, 5, period_s=5, seed=9)
    assert arrivals == sine(100, 400, 5, period_s=5, seed=9)
    assert run(planned(), arrivals, seed=4) == run(planned(), arrivals, seed=4)


def test_every_query_is_answered_late_or_refused_once() -> None:
    arrivals = sine(BEST_PER_S, 2 * BEST_PER_S, 5, period_s=5, seed=11)
    for policy in (planned(), AllMembers(SubsetScores(4, SCORES)), BestSingle(SubsetScores(4, SCORES))):
        outcome = run(policy, arrivals)
        assert outcome.n_queries == len(arrivals)
        assert 0 <= outcome.late_share + outcome.refused_share <= 1
        assert outcome.p99_s <= 0.3015  # at the deadline, and the way back


def test_busy_workers_share_the_cores() -> None:
    arrivals = list(itertools.accumulate([0.1] * 50))
    members = [Member(0.05, 0.0, spread=0.0)] * 2
    scores = {SLOW: 0.5, QUICK: 0.5, SLOW | QUICK: 0.6}
    policy = AllMembers(SubsetScores(2, scores))
    apart = simulate(policy, arrivals, members, scores, budget_s=1, trip_s=0)
    shared = simulate(policy, arrivals, members, scores, budget_s=1, trip_s=0, n_cores=1)
    assert apart.p50_s == pytest.approx(0.05)
    assert shared.p50_s == pytest.approx(0.1)


def test_the_actor_critic_learns_to_ask_both_where_there_is_room_and_the_quick_one_where_not() -> None:
    members = [Member(0.02, 0.01, most=8), Member(0.001, 0.0002, most=8)]
    scores = {SLOW: 0.8, QUICK: 0.9, SLOW | QUICK: 1.0}
    loads = []
    for member in members:
        load = MemberLoad()
        load.fixed_s, load.each_s, load.most = member.fixed_s, member.each_s, member.most
        loads.append(load)

    def serve(policy: MemberPolicy, seed: int, rate: float = 160.0) -> Outcome:
        arrivals = sine(rate / 4, rate, 4, period_s=4, seed=seed)
        return simulate(policy, arrivals, members, scores, budget_s=0.2, seed=seed)

    policy = ActorCritic(SubsetScores(2, scores), loads, seed=1)
    policy.learn(serve, 25, rate=0.01)
    outcome = serve(policy, 999)
    assert outcome.late_share < 0.02
    assert outcome.score > 0.91
    policy.begin()
    assert serve(policy, 999, rate=20.0).mean_members > 1.9


def test_clients_that_wait_for_their_answers_get_what_the_slowest_member_does() -> None:
    scores = {SLOW: 0.5, QUICK: 0.5, SLOW | QUICK: 0.6}
    members = [Member(0.05, 0.0, spread=0.0, most=8), Member(0.01, 0.0, spread=0.0, most=8)]

    def rate(n_clients: int, **of_cores: float) -> float:
        policy = AllMembers(SubsetScores(2, scores))
        return rate_of_clients(policy, n_clients, members, scores, seconds=20, trip_s=0, **of_cores)

    assert rate(1) == pytest.approx(20, rel=0.01)
    assert rate(64) == pytest.approx(8 / 0.05, rel=0.01)
    # The quick one takes the first of eight that come at once, and then the others: two batches.
    assert rate(64, n_cores=1) == pytest.approx(8 / 0.07, rel=0.02)
    # The way takes half of a core from two: while the quick one works, each has three quarters of one.
    assert rate(64, n_cores=2, front_s=0.5 / 150) == pytest.approx(8 / (0.05 + 0.02 / 3), rel=0.03)
