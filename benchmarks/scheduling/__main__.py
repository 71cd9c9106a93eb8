"""``python -m benchmarks.scheduling``: who should answer a query under load, in simulation.

Four scikit-learn models of very different cost and errors are fitted to handwritten digits with noise. What their
batches cost is measured, and what each subset of them scores on rows that none of them has seen; both drive the
simulator (`rafiki.scheduling`). The load is that of Rafiki's paper (Wang et al., PVLDB 12(2), 2018, section 7): a
sine between the rate that all members sustain and 1.2 times the rate of the best single one; beside it a step and a
burst. Each policy gets the same queries, for several seeds.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rafiki.scheduling import arrivals
from rafiki.scheduling.actor_critic import ActorCritic
from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.member_planner import MemberLoad, MemberPlanner
from rafiki.scheduling.policies import AllMembers, BestSingle, MemberPolicy, Planned, RoundRobin
from rafiki.scheduling.simulator import Member, Outcome, simulate
from rafiki.scheduling.subset_scores import SubsetScores, useful_subsets

RESULTS = Path(__file__).resolve().parents[1] / "results" / "scheduling.json"
MOST = 32
_SIZES = (1, 2, 4, 8, 16, 32)
_NOISE = 5.0
_Array = NDArray[np.float64]


class Measured:
    """The four members: names, costs of their batches, scores of their subsets."""

    def __init__(self, n_repeats: int) -> None:
        from sklearn.datasets import load_digits
        from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
        from sklearn.model_selection import train_test_split
        from sklearn.naive_bayes import GaussianNB
        from sklearn.neighbors import KNeighborsClassifier

        x, y = load_digits(return_X_y=True)
        x = x + np.random.default_rng(0).normal(0, _NOISE, x.shape)
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, random_state=0, stratify=y)
        models = {
            "extra trees, 600": ExtraTreesClassifier(600, random_state=0),
            "forest, 200": RandomForestClassifier(200, random_state=0),
            "9 neighbours": KNeighborsClassifier(9, algorithm="brute"),
            "naive Bayes": GaussianNB(),
        }
        chances: dict[str, _Array] = {}
        costs: dict[str, BatchCost] = {}
        for name, model in models.items():
            model.fit(x_train, y_train)
            chances[name] = model.predict_proba(x_test)
            costs[name] = _cost(model.predict_proba, x_test, n_repeats)
        accuracy = {name: float((chances[name].argmax(1) == y_test).mean()) for name in models}
        self.names = sorted(models, key=lambda name: -accuracy[name])
        self.costs = [costs[name] for name in self.names]
        joined = [chances[name] for name in self.names]
        self.scores = {
            mask: float((np.sum([p for m, p in enumerate(joined) if mask >> m & 1], 0).argmax(1) == y_test).mean())
            for mask in useful_subsets(len(joined))
        }
        self.members = [Member(c.fixed_s, c.each_s, most=MOST) for c in self.costs]

    def loads(self) -> list[MemberLoad]:
        """What a predictor knows of the members."""
        found = []
        for cost in self.costs:
            load = MemberLoad()
            load.fixed_s, load.each_s, load.most = cost.fixed_s, cost.each_s, MOST
            load.tail_ratio = max(cost.tail_s(MOST) / cost.median_s(MOST), 1.25)
            found.append(load)
        return found

    def rate(self, m: int) -> float:
        """Queries a second that a member answers in its largest batches."""
        return MOST / self.costs[m].median_s(MOST)


def _cost(predict: Callable[[_Array], object], rows: _Array, n_repeats: int) -> BatchCost:
    cost = BatchCost()
    sizes = [size for size in _SIZES for _ in range(n_repeats)]
    random.Random(0).shuffle(sizes)
    for size in sizes:
        began = time.perf_counter()
        predict(rows[:size])
        cost.add(size, time.perf_counter() - began)
    return cost


def _policies(found: Measured, scores: SubsetScores, learned: ActorCritic) -> dict[str, Callable[[], MemberPolicy]]:
    def again() -> MemberPolicy:
        learned.begin()
        return learned

    return {
        "all members": lambda: AllMembers(scores),
        "best single": lambda: BestSingle(scores),
        "round robin": lambda: RoundRobin(scores),
        "planner": lambda: Planned(MemberPlanner(scores), found.loads()),
        "actor-critic": again,
    }


def _interval(values: list[float]) -> tuple[float, float]:
    """The mean, and half of its 95% interval by Student's t for 5 or more runs."""
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return statistics.mean(values), 2.78 * spread


def _row(policy: str, outcomes: list[Outcome]) -> dict[str, object]:
    row: dict[str, object] = {"policy": policy}
    for name in ("score", "late_share", "refused_share", "mean_members", "p50_s", "p99_s"):
        mean, half = _interval([getattr(o, name) for o in outcomes])
        row[name] = [round(mean, 5), round(half, 5)]
    return row


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="seeds of each load (5)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a run (60)")
    parser.add_argument("--budget-ms", type=float, default=500.0, help="the latency objective (500)")
    parser.add_argument("--learn", type=int, default=60, help="runs that the actor-critic learns from (60)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file")
    options = parser.parse_args(arguments)
    budget_s, seconds = options.budget_ms / 1000, options.seconds
    found = Measured(15)
    scores = SubsetScores(len(found.names), found.scores)
    low = min(found.rate(m) for m in range(len(found.names)))
    high = 1.2 * found.rate(0)
    for name, cost, m in zip(found.names, found.costs, range(9), strict=False):
        told = f"{cost.fixed_s * 1e3:.2f} ms + {cost.each_s * 1e3:.3f} ms a query, {found.rate(m):.0f}/s"
        print(f"{name:18} accuracy {found.scores[1 << m]:.3f}; {told}")
    print(f"all four together  accuracy {found.scores[scores.everyone]:.3f}; from {low:.0f} to {high:.0f} queries/s")

    def sine(length_s: float, seed: int) -> list[float]:
        return arrivals.sine(low, high, length_s, period_s=seconds / 2, seed=seed)

    learned = ActorCritic(scores, found.loads())
    learned.learn(
        lambda policy, seed: simulate(
            policy, sine(seconds / 2, 1000 + seed), found.members, found.scores, budget_s=budget_s, seed=seed
        ),
        options.learn,
    )
    loads = {
        "sine": lambda seed: sine(seconds, seed),
        "step": lambda seed: arrivals.step(low / 2, high, seconds, from_s=seconds / 2, seed=seed),
        "burst": lambda seed: arrivals.burst(
            low / 2, 3 * high, seconds, from_s=seconds / 2, until_s=seconds / 2 + 1, seed=seed
        ),
    }
    report: dict[str, object] = {"members": found.names, "scores": found.scores, "budget_ms": options.budget_ms}
    for load, make in loads.items():
        print(f"\n{load:14}  accuracy          late %         refused %  members  p50 ms  p99 ms")
        rows = []
        for name, policy in _policies(found, scores, learned).items():
            outcomes = [
                simulate(policy(), make(seed), found.members, found.scores, budget_s=budget_s, seed=seed)
                for seed in range(options.runs)
            ]
            rows.append(_row(name, outcomes))
            (score, s), (late, t), (refused, _) = (
                _interval([getattr(o, key) for o in outcomes]) for key in ("score", "late_share", "refused_share")
            )
            p50, p99, members = (
                statistics.mean(getattr(o, key) for o in outcomes) for key in ("p50_s", "p99_s", "mean_members")
            )
            print(
                f"{name:14}  {score:.4f} +- {s:.4f}  {late * 100:5.2f} +- {t * 100:4.2f}  {refused * 100:8.2f}"
                f"  {members:7.2f}  {p50 * 1e3:6.0f}  {p99 * 1e3:6.0f}"
            )
        report[load] = rows
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
