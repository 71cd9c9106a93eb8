"""The same policies and loads in simulated time, driven by what was measured of the members."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rafiki.scheduling import arrivals
from rafiki.scheduling.actor_critic import ActorCritic
from rafiki.scheduling.member_planner import MemberLoad, MemberPlanner
from rafiki.scheduling.policies import AllMembers, BestSingle, MemberPolicy, Planned, RoundRobin
from rafiki.scheduling.simulator import Member, Outcome, rate_of_clients, simulate
from rafiki.scheduling.subset_scores import SubsetScores

POLICIES = ("planner", "all members", "best single", "round robin")
LEARNED = "actor-critic"
N_CLIENTS = 64
"""Those that find out what members sustain."""
PATIENCE_S = 10.0
"""How long a deployment without an objective tries to answer: predictor.deadline_s."""
_TRIP_S = 0.003
_WARM_SIZES = (1, 2, 4, 8, 16, 32)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured before any load: it drives the simulation."""

    names: list[str]
    """The members, the best first."""
    weights: list[float]
    members: list[Member]
    front_s: float
    """What of a core one query takes outside the members."""
    scores: dict[int, float]
    """The accuracy of each subset on the queries."""
    validation_scores: dict[int, float]
    """What the planner knows of them."""
    together_per_s: float
    """What all members together sustain."""
    alone_per_s: float
    """What the best one sustains alone."""
    slow_down: float = 1.0
    """How much longer batches take when all members, the way of the queries and the clients work at once than they took
    when they were measured: what makes the simulated members sustain together what the real ones do."""
    slow_down_alone: float = 1.0
    """The same of the best member alone."""


class Loads:
    """When queries come: the paper's sine, a step and a burst, the same ones for each policy."""

    def __init__(self, found: Measured, seconds: float) -> None:
        self._low, self._high = found.together_per_s, 1.2 * found.alone_per_s
        self._seconds = seconds

    def times_s(self, load: str, seed: int) -> list[float]:
        low, high, seconds = self._low, self._high, self._seconds
        if load == "sine":
            # From low to high whatever is measured: one may come out above the other.
            return arrivals.sine(min(low, 0.9 * high), high, seconds, period_s=seconds / 2, seed=seed)
        # Shorter: nothing comes twice.
        seconds *= 0.6
        if load == "step":
            return arrivals.step(low / 2, high, seconds, from_s=seconds / 2, seed=seed)
        return arrivals.burst(low / 2, 3 * high, seconds, from_s=seconds / 2, until_s=seconds / 2 + 1, seed=seed)


LOADS = ("sine", "step", "burst")


def slowed(members: Sequence[Member], by: float) -> list[Member]:
    """Members whose batches take ``by`` times as long."""
    return [m._replace(fixed_s=m.fixed_s * by, each_s=m.each_s * by) for m in members]


def sustained_per_s(found: Measured, slow_down: float, *, alone: bool) -> float:
    """What simulated members answer as many clients as asked the real ones."""
    policy = (BestSingle if alone else AllMembers)(SubsetScores(len(found.names), found.validation_scores))
    return rate_of_clients(
        policy, N_CLIENTS, slowed(found.members, slow_down), found.scores, seconds=20.0, n_cores=os.cpu_count() or 1,
        front_s=found.front_s, trip_s=_TRIP_S,
    )  # fmt: skip


def _slow_down(found: Measured, per_s: float, *, alone: bool) -> float:
    """By bisection: the rate falls as batches take longer."""
    low, high = 0.25, 16.0
    for _ in range(12):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if sustained_per_s(found, middle, alone=alone) > per_s else (low, middle)
    return round((low * high) ** 0.5, 4)


def with_slow_down(found: Measured) -> Measured:
    """So slow that simulated clients are answered as fast as the real ones were."""
    return msgspec.structs.replace(
        found, slow_down=_slow_down(found, found.together_per_s, alone=False),
        slow_down_alone=_slow_down(found, found.alone_per_s, alone=True),
    )  # fmt: skip


class Simulation:
    """The members on cores that they share."""

    def __init__(self, found: Measured, budget_s: float) -> None:
        self._found, self._budget_s = found, budget_s
        self._members = slowed(found.members, found.slow_down)
        self._alone = slowed(found.members, found.slow_down_alone)
        self._known = SubsetScores(len(found.names), found.validation_scores)
        self._learned: ActorCritic | None = None

    def learn(self, loads: Loads, n_runs: int) -> None:
        """Let the actor-critic learn from simulated runs of the sine."""
        policy = ActorCritic(self._known, self._loads())
        policy.learn(
            lambda p, seed: self._simulate(p, loads.times_s("sine", 1000 + seed), seed, None, self._members), n_runs
        )
        self._learned = policy

    def run(self, policy: str, times_s: list[float], seed: int) -> Outcome:
        has_objective = policy in ("planner", LEARNED)
        members = self._alone if policy == "best single" else self._members
        return self._simulate(self._make(policy), times_s, seed, None if has_objective else PATIENCE_S, members)

    def _simulate(
        self, policy: MemberPolicy, times_s: list[float], seed: int, patience_s: float | None,
        members: Sequence[Member],
    ) -> Outcome:  # fmt: skip
        found = self._found
        return simulate(
            policy, times_s, members, found.scores, budget_s=self._budget_s, patience_s=patience_s,
            n_cores=os.cpu_count() or 1, front_s=found.front_s, trip_s=_TRIP_S, seed=seed,
        )  # fmt: skip

    def _make(self, policy: str) -> MemberPolicy:
        if policy == LEARNED:
            assert self._learned is not None
            self._learned.begin()
            return self._learned
        simple: dict[str, Callable[[SubsetScores], MemberPolicy]] = {
            "all members": AllMembers, "best single": BestSingle, "round robin": RoundRobin,
        }  # fmt: skip
        if make := simple.get(policy):
            return make(self._known)
        planned = Planned(MemberPlanner(self._known), [member.most for member in self._members])
        # A deployment has served before it comes under load.
        for m, member in enumerate(self._members):
            for size in _WARM_SIZES * 4:
                planned.end_batch(m, size, member.fixed_s + member.each_s * size)
        return planned

    def _loads(self) -> list[MemberLoad]:
        found = []
        for member in self._members:
            load = MemberLoad()
            load.fixed_s, load.each_s, load.most = member.fixed_s, member.each_s, member.most
            load.assume_slack(0.25)
            found.append(load)
        return found


def row_of(outcome: Outcome) -> dict[str, Any]:
    """As a run on the real stack is described."""
    return {"n": outcome.n_queries, **{k: v for k, v in outcome._asdict().items() if k != "n_queries"}}
