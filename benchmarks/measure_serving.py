"""Deploying, and predicting under load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.bench_stack import BenchError, Memory
from benchmarks.datasets import Queries, image_queries, number_queries
from benchmarks.figures import Result
from benchmarks.load import LoadResult, run_load
from benchmarks.session import Session
from rafiki.client import PredictorClient

N_CLIENTS = 32
_LEAST_ACCURACY = 0.6


def measure_deploy(session: Session) -> Iterator[Result]:
    app, query = session.trained("SkDt"), image_queries().queries[0]
    yield session.result("deploy", [_deploy_s(session, app, query) for _ in range(session.sizes.n_starts)], 2)


def _deploy_s(session: Session, app: str, query: Any) -> float:
    client = session.stack.client
    started = time.perf_counter()
    job = client.create_inference_job(app)
    with PredictorClient(job["predictor_host"]) as predictor:
        predictor.predict(query)
        took_s = time.perf_counter() - started
    client.stop_inference_job(app)
    return took_s


def measure_predict(session: Session) -> Iterator[Result]:
    client = session.stack.client
    for name, model, queries in (
        ("predict_tree", "tree64", number_queries()),
        ("predict_images", "SkDt", image_queries()),
        ("predict_forest", "forest64", number_queries()),
    ):
        app = session.trained(model)
        address = client.create_inference_job(app)["predictor_host"]
        _check_answers(address, queries)
        if name == "predict_tree":
            yield from _measure_alone(session, address, queries)
        yield _measure_load(session, name, address, queries)
        if name == "predict_forest":
            yield _measure_load(session, "predict_forest_8", address, queries, 8)
        if name == "predict_tree":
            yield _memory_result(session, "memory_predictor", session.stack.memory("predictor"))
        client.stop_inference_job(app)
    yield _memory_result(session, "memory_admin", session.stack.memory("admin"))


def _memory_result(session: Session, name: str, memory: Memory) -> Result:
    return session.result(name, [memory.rss], 1, pss_mb=memory.pss, uss_mb=memory.uss)


def _check_answers(address: str, queries: Queries) -> None:
    """What is about to be measured answers, and answers sensibly."""
    with PredictorClient(address) as predictor:
        answers = predictor.predict_many(queries.queries)
    right = sum(max(range(len(p)), key=p.__getitem__) == c for p, c in zip(answers, queries.classes, strict=True))
    if right < _LEAST_ACCURACY * len(queries.classes):
        raise BenchError(f"only {right} of {len(queries.classes)} predictions are right")


def _load(session: Session, address: str, queries: Queries, n_connections: int) -> LoadResult:
    sizes = session.sizes
    return run_load(
        address, queries.bodies(), n_connections=n_connections, warm_up_s=sizes.warm_up_s, duration_s=sizes.load_s
    )


def _measure_alone(session: Session, address: str, queries: Queries) -> Iterator[Result]:
    loads = [_load(session, address, queries, 1) for _ in range(session.sizes.n_loads)]
    details = {"n_errors": sum(load.n_errors for load in loads), "n_requests": sum(load.n_requests for load in loads)}
    yield session.result("predict_p50", [load.p50_ms for load in loads], 3, **details)
    yield session.result("predict_p99", [load.p99_ms for load in loads], 3, **details)


def _measure_load(session: Session, name: str, address: str, queries: Queries, n_clients: int = N_CLIENTS) -> Result:
    before = session.stack.usage()
    loads = [_load(session, address, queries, n_clients) for _ in range(session.sizes.n_loads)]
    after = session.stack.usage()
    # The warm-up's requests are not counted but used processor time too.
    sizes = session.sizes
    n_all = sum(load.n_requests for load in loads) * (sizes.warm_up_s + sizes.load_s) / sizes.load_s
    cpu_us = {
        "predictor": after.predictor - before.predictor,
        "inference_worker": after.inference - before.inference,
        "cache": after.cache - before.cache,
        "load_generator": sum(load.cpu_s for load in loads),
    }
    first_error = next((load.first_error for load in loads if load.first_error), None)
    return session.result(
        name, [load.requests_per_s for load in loads], 0,
        n_errors=sum(load.n_errors for load in loads), first_error=first_error,
        p50_ms=round(sorted(load.p50_ms for load in loads)[len(loads) // 2], 2),
        p99_ms=round(sorted(load.p99_ms for load in loads)[len(loads) // 2], 2),
        request_bytes=len(json.dumps({"query": queries.queries[0]}, separators=(",", ":"))),
        cpu_us_per_request={k: round(v / max(n_all, 1) * 1e6, 1) for k, v in cpu_us.items()},
    )  # fmt: skip
