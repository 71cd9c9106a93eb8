"""A policy that learns who answers a query by trying: for comparison with the planner, in the simulator only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rafiki.scheduling.member_planner import MemberLoad
from rafiki.scheduling.policies import MemberPolicy
from rafiki.scheduling.simulator import Outcome
from rafiki.scheduling.subset_scores import SubsetScores, useful_subsets

_Array = NDArray[np.float64]
_RATE_OVER_S = 0.5


class _Network:
    """Two layers with an output each for the actor (logits) and the critic (a value); Adam (Kingma and Ba, ICLR
    2015)."""

    def __init__(self, n_inputs: int, n_hidden: int, n_actions: int, rng: np.random.Generator) -> None:
        self.parts: list[_Array] = [
            rng.normal(0, n_inputs**-0.5, (n_inputs, n_hidden)), np.zeros(n_hidden),
            rng.normal(0, 0.01, (n_hidden, n_actions)), np.zeros(n_actions),
            rng.normal(0, 0.01, (n_hidden, 1)), np.zeros(1),
        ]  # fmt: skip
        self._m = [np.zeros_like(p) for p in self.parts]
        self._v = [np.zeros_like(p) for p in self.parts]
        self._steps = 0

    def forward(self, x: _Array) -> tuple[_Array, _Array, _Array]:
        """Hidden layer, probabilities of the actions, values, of a batch of inputs (a row each)."""
        w1, b1, wa, ba, wv, bv = self.parts
        hidden = np.tanh(x @ w1 + b1)
        logits = hidden @ wa + ba
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return hidden, odds / odds.sum(axis=1, keepdims=True), (hidden @ wv + bv)[:, 0]

    def learn(self, x: _Array, actions: NDArray[np.int64], returns: _Array, *, rate: float, entropy: float) -> None:
        """One step along the gradient of the advantage actor-critic (Mnih et al., ICML 2016, section 4)."""
        hidden, chances, values = self.forward(x)
        n, wa, wv = len(x), self.parts[2], self.parts[4]
        advantage = returns - values
        scaled = advantage / (advantage.std() + 1e-6)
        logs = np.log(chances + 1e-12)
        d_logits = chances * scaled[:, None]
        d_logits[np.arange(n), actions] -= scaled
        d_logits += entropy * chances * (logs - (chances * logs).sum(axis=1, keepdims=True))
        d_values = -advantage[:, None]
        d_hidden = (d_logits @ wa.T + d_values @ wv.T) * (1 - hidden**2)
        gradients = [
            x.T @ d_hidden, d_hidden.sum(0), hidden.T @ d_logits, d_logits.sum(0), hidden.T @ d_values, d_values.sum(0),
        ]  # fmt: skip
        self._steps += 1
        for i, gradient in enumerate(gradients):
            gradient = gradient / n
            self._m[i] = 0.9 * self._m[i] + 0.1 * gradient
            self._v[i] = 0.999 * self._v[i] + 0.001 * gradient**2
            m, v = self._m[i] / (1 - 0.9**self._steps), self._v[i] / (1 - 0.999**self._steps)
            self.parts[i] -= rate * m / (np.sqrt(v) + 1e-8)


class ActorCritic(MemberPolicy):
    """Chooses a subset by a network that has learned in simulated load, as the paper's policy does (Wang et al.,
    PVLDB 12(2), 2018, section 5.2): an advantage actor-critic with the score of an answer in time as its reward, and
    nothing for a late one.

    It sees for each member what it has to do, as a share of the time until the deadline, and how fast queries come.
    It cannot refuse, as there.
    """

    def __init__(
        self,
        scores: SubsetScores,
        costs: Sequence[MemberLoad],
        *,
        early_s: float = 0.002,
        seed: int = 0,
        n_hidden: int = 48,
    ) -> None:
        """
        Args:
            costs: what the batches of each member cost.
        """
        self.early_s = early_s
        self._scores, self._costs = scores, costs
        self._actions = useful_subsets(scores.n_members)
        self._rng = np.random.default_rng(seed)
        self._network = _Network(2 * scores.n_members + 2, n_hidden, len(self._actions), self._rng)
        self._is_learning = False
        self.begin()

    def begin(self) -> None:
        """Begin a run: nobody waits."""
        self._members = [MemberLoad() for _ in self._costs]
        for member, cost in zip(self._members, self._costs, strict=True):
            member.fixed_s, member.each_s, member.most = cost.fixed_s, cost.each_s, cost.most
            member.n_workers = cost.n_workers
            member.assume_slack(cost.slack)
        self._rate, self._last_s = 0.0, 0.0
        self._seen: list[_Array] = []
        self._chosen: list[int] = []
        self._rewards: dict[int, float] = {}

    def _look(self, now_s: float, deadline_s: float) -> _Array:
        left_s = deadline_s - now_s
        passed_s = now_s - self._last_s
        self._rate = self._rate * float(np.exp(-passed_s / _RATE_OVER_S)) + 1 / _RATE_OVER_S
        self._last_s = now_s
        busy = [min(member.end_s(1, now_s) / left_s, 2.0) for member in self._members]
        fits = [1.0 if share <= 1 else 0.0 for share in busy]
        capacity = max(m.most / (m.fixed_s + m.each_s * m.most) for m in self._members)
        return np.array([*busy, *fits, self._rate / capacity, 1.0])

    def choose(self, now_s: float, deadline_s: float) -> int:
        seen = self._look(now_s, deadline_s - self.early_s)
        _, chances, _ = self._network.forward(seen[None])
        if self._is_learning:
            action = int(np.searchsorted(np.cumsum(chances[0]), self._rng.random()).clip(0, len(self._actions) - 1))
            self._seen.append(seen)
            self._chosen.append(action)
        else:
            action = int(chances[0].argmax())
        return self._actions[action]

    def send(self, mask: int, now_s: float) -> None:
        for m, member in enumerate(self._members):
            if mask >> m & 1:
                member.add(1, now_s)

    def remove(self, member: int, n: int, now_s: float) -> None:
        self._members[member].remove(n, now_s)

    def end(self, query: int, value: float) -> None:
        if self._is_learning:
            self._rewards[query] = value

    def learn(
        self, run: Callable[[MemberPolicy, int], Outcome], n_runs: int, *, discount: float = 0.97, rate: float = 3e-3
    ) -> list[Outcome]:
        """Learn from ``n_runs`` runs.

        Args:
            run: simulates a load with a policy and a seed.

        Returns:
            What became of the queries of each run.
        """
        outcomes = []
        for no in range(n_runs):
            self.begin()
            self._is_learning = True
            outcomes.append(run(self, no))
            self._is_learning = False
            # 1 for the best subset in time, 0 for the worst, -1 for none in time: differences of scores are small.
            values = [self._scores.score(mask) for mask in self._actions]
            low, span = min(values), max(max(values) - min(values), 1e-9)
            rewards = [(r - low) / span if (r := self._rewards.get(i, 0.0)) else -1.0 for i in range(len(self._chosen))]
            returns, following = np.empty(len(rewards)), 0.0
            for i in range(len(rewards) - 1, -1, -1):
                following = returns[i] = rewards[i] + discount * following
            returns *= 1 - discount
            seen, chosen = np.array(self._seen), np.array(self._chosen)
            for part in np.array_split(self._rng.permutation(len(chosen)), max(1, len(chosen) // 512)):
                share = 1 - no / n_runs
                self._network.learn(seen[part], chosen[part], returns[part], rate=rate * share, entropy=0.02 * share)
        self.begin()
        return outcomes
