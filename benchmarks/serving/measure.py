"""Rounds: each server in turn, so that the machine's drift meets all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.bench_stack import BenchError
from benchmarks.datasets import train_images, train_numbers
from benchmarks.load import LoadError
from benchmarks.serving.generator import load_server
from benchmarks.serving.kill import kill_model
from benchmarks.serving.peer import Peer, Running, Setting, memory_mb
from benchmarks.serving.report import OURS, Observation
from benchmarks.serving.rows import ENSEMBLE, MODELS, loads_of, queries_of
from rafiki.errors import RafikiError


class Sizes(NamedTuple):
    """How long, and how often."""

    n_rounds: int
    warm_up_s: float
    load_s: float
    is_common_only: bool = False
    """Whether each peer is measured at its one setting for all rows only."""


FULL = Sizes(n_rounds=3, warm_up_s=1.0, load_s=3.0)
QUICK = Sizes(n_rounds=1, warm_up_s=1.0, load_s=1.0, is_common_only=True)


class Rounds:
    """Measures peers; a server that fails is told, and the others go on."""

    def __init__(self, peers: Sequence[Peer], sizes: Sizes) -> None:
        self._peers = peers
        self._sizes = sizes
        self._expected: dict[str, list[list[float]]] = {}
        self.problems: dict[str, str] = {}
        """Peer -> what went wrong last."""

    def run(self) -> Iterator[Observation]:
        for no in range(1, self._sizes.n_rounds + 1):
            for peer in self._peers:
                for setting in (peer.common,) if self._sizes.is_common_only else peer.settings:
                    for model in (*MODELS, ENSEMBLE) if peer.name == OURS else MODELS:
                        try:
                            for name, value in self._measure(peer, setting, model):
                                yield Observation(name, peer.name, setting.name, no, value)
                        except (BenchError, LoadError, RafikiError, OSError) as e:
                            self.problems[peer.name] = f"{setting.name}, {model}: {str(e)[:300]}".replace("\n", " ")
                            print(f"{peer.name}: {setting.name}, {model}: {e}", file=sys.stderr, flush=True)

    def expected(self, model: str) -> list[list[float]]:
        """The right answers: what the estimator says in this process."""
        if model not in self._expected:
            self._expected[model] = _right_answers(model)
        return self._expected[model]

    def _measure(self, peer: Peer, setting: Setting, model: str) -> Iterator[tuple[str, float | None]]:
        queries = queries_of(model)
        with peer.serve(model, setting) as server:
            server.check(queries.queries, self.expected(model))
            bodies = [server.body_of(query) for query in queries.queries]
            for row in loads_of(model):
                load = load_server(
                    server.host, server.port, server.path, bodies, n_clients=row.n_clients,
                    warm_up_s=self._sizes.warm_up_s, duration_s=self._sizes.load_s,
                )  # fmt: skip
                if load.n_failed:
                    raise BenchError(f"{load.n_failed} requests failed in {row.title}")
                yield row.name, round(load.requests_per_s if row.is_more_better else load.p50_ms, 3)
            if model == "tree":
                yield from _memory(server)
                if setting == peer.common:
                    killed = kill_model(server, bodies)
                    yield "kill_failed", float(killed.n_failed)
                    yield "kill_s", None if killed.gap_s is None else round(killed.gap_s, 2)


def _memory(server: Running) -> Iterator[tuple[str, float]]:
    front = server.front()
    yield "memory_front", memory_mb(front)
    yield "memory_all", memory_mb([*front, *server.models(), *server.others()])


def _right_answers(model: str) -> list[list[float]]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    features, classes = train_images() if model == "images" else train_numbers()
    estimator = (
        RandomForestClassifier(n_estimators=100, random_state=0)
        if model == "forest"
        else DecisionTreeClassifier(max_depth=16, random_state=0)
    )
    estimator.fit(features, classes)
    queries = np.array(queries_of(model).queries, dtype=np.float32)
    answers: list[list[float]] = estimator.predict_proba(queries.reshape(len(queries), -1)).tolist()
    return answers
