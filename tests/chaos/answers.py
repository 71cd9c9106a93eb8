"""What clients of a deployment saw, and whose fault a late answer is."""

from __future__ import annotations

from collections import Counter

import msgspec

GRACE_S = 0.2
"""How much later than its deadline an answer may come."""


class Target(msgspec.Struct, frozen=True):
    """Where the clients of one deployment send their queries; None = they wait."""

    name: str
    address: str | None


class Answer(msgspec.Struct, frozen=True, tag=True):
    """To one request. Times are in seconds, of this machine's clock."""

    target: str
    sent_at: float
    deadline_s: float
    took_s: float
    """From the return of the call that sent it until the kernel had the last byte: the server's time alone."""
    seen_s: float
    """From before the call until the client had it, its own delays included."""
    outcome: str
    """``answered``, ``partial`` (members were left out), ``refused``, ``lost`` (the connection broke), ``absent``
    (nobody listens), ``none`` (nothing came), or ``wrong: ...``."""


class Lag(msgspec.Struct, frozen=True, tag=True):
    """How late the clients' own process was woken by its clock."""

    at: float
    lag_s: float


class Freeze(msgspec.Struct, frozen=True):
    """A predictor was stopped by the suite: it can answer nobody meanwhile."""

    target: str
    began: float
    ended: float


class Tally:
    """Counts answers; keeps those that may have been late until it is known when their predictor was stopped."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._late: list[Answer] = []
        self._lags: list[Lag] = []
        self.last_complete: dict[str, float] = {}
        """By deployment: when the last query was sent that all members answered."""
        self.freezes: list[Freeze] = []

    def add(self, answer: Answer) -> None:
        self.outcomes[answer.outcome.partition(":")[0]] += 1
        if answer.outcome.startswith("wrong"):
            self.wrong.append(f"{answer.target}: {answer.outcome}")
        if answer.outcome == "answered":
            self.last_complete[answer.target] = max(self.last_complete.get(answer.target, 0.0), answer.sent_at)
        if max(answer.took_s, answer.seen_s) > answer.deadline_s + GRACE_S:
            self._late.append(answer)

    def add_lag(self, lag: Lag) -> None:
        self._lags.append(lag)

    @property
    def worst_lag_s(self) -> float:
        return max((lag.lag_s for lag in self._lags), default=0.0)

    @property
    def n_requests(self) -> int:
        return self.outcomes.total()

    def late_by_s(self, answer: Answer, took_s: float) -> float:
        """How much later than its deadline, without the time for which the predictor was stopped."""
        end = answer.sent_at + took_s
        frozen_s = sum(
            max(0.0, min(end, f.ended) - max(answer.sent_at, f.began))
            for f in self.freezes
            if f.target == answer.target
        )
        return took_s - answer.deadline_s - frozen_s

    def late(self) -> list[tuple[Answer, float]]:
        """Answers that the server gave too late, with by how much. While the machine let the clients' process wait,
        which had but to wake up, the server may not have run either."""
        found = [(a, self.late_by_s(a, a.took_s) - self._stalled_s(a)) for a in self._late]
        return [(a, s) for a, s in found if s > GRACE_S]

    def _stalled_s(self, answer: Answer) -> float:
        end = answer.sent_at + answer.took_s
        return sum(
            max(0.0, min(end, lag.at) - max(answer.sent_at, lag.at - lag.lag_s))
            for lag in self._lags
            if lag.at > answer.sent_at
        )

    def late_for_client(self) -> int:
        """Answers that the client had too late, be it by its own delay."""
        return sum(self.late_by_s(a, a.seen_s) > GRACE_S for a in self._late)

    def held_by_stopped(self) -> int:
        """Answers that were late by no more than the time for which their predictor was stopped."""
        return len(self._late) - self.late_for_client()
