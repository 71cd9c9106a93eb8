"""Predictions that are kept by the content of their queries."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import pytest
from support.stacks.deployment import InferenceWorker, Predictor
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.errors import PredictorBusyError
from rafiki.messages import EnsembleMember, Reply
from rafiki.predictor.gather import Answers
from rafiki.predictor.prediction_cache import Kept, PredictionCache, key_of
from rafiki.predictor.protocol import Asked
from rafiki.predictor.version import Version
from rafiki.tasks.registry import get_task
from rafiki.worker import inference

BOTH = 0b11


def test_the_least_recently_used_make_room_by_number() -> None:
    cache = PredictionCache(2)
    for name in (b"a", b"b"):
        cache.keep(name, Kept(name, BOTH))
    assert cache.find(b"a", BOTH) == Kept(b"a", BOTH)
    cache.keep(b"c", Kept(b"c", BOTH))
    assert (cache.find(b"b", BOTH), len(cache)) == (None, 2)
    assert cache.find(b"a", BOTH) is not None


def test_predictions_make_room_by_their_bytes_and_what_is_too_large_is_not_kept() -> None:
    cache = PredictionCache(1000, most_bytes=2000)
    for i in range(20):
        cache.keep(b"%d" % i, Kept(b"x" * 200, BOTH))
        assert cache.n_bytes <= 2000
    assert 0 < len(cache) < 20
    cache.keep(b"large", Kept(b"x" * 3000, BOTH))
    assert cache.find(b"large", BOTH) is None
    for i in range(20):
        cache.keep(b"%d" % i, Kept(b"y", BOTH))
    assert cache.n_bytes <= 2000


def test_a_prediction_holds_while_nobody_is_there_who_would_say_more() -> None:
    cache = PredictionCache(10)
    cache.keep(b"a", Kept(b"1", 0b01))
    assert cache.find(b"a", 0b01) is not None
    assert cache.find(b"a", 0b00) is not None
    assert cache.find(b"a", 0b11) is None


def test_queries_are_told_apart_by_their_bytes() -> None:
    for query, other in ((b"[1]", b"[1 ]"), (b"[" + b"1," * 1000, b"[" + b"2," * 1000)):
        assert key_of(query) == key_of(memoryview(query)) != key_of(other)  # type: ignore[arg-type]
    assert len(key_of(b"x" * 100_000)) < 100


# ---- a version that keeps its predictions


class FakeGather:
    """Members that answer when the test says so: each query with itself."""

    def __init__(self) -> None:
        self.asked: list[list[bytes]] = []
        self.present = BOTH
        self.answered_by = BOTH
        self.shed = 0
        self.error: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.absent: list[str] = []
        self.is_ending, self.cache_error = False, None

    async def ask(self, queries: Sequence[bytes], timeout_s: float, trace: object = None) -> Answers:
        self.asked.append(list(queries))
        await asyncio.wait_for(self.go.wait(), 30)
        if self.error is not None:
            raise self.error
        answers = Answers(len(queries), 2, 0, asyncio.get_running_loop().create_future(), self.shed, [None, None])
        for row, query in zip(answers.rows, queries, strict=True):
            for column in range(2):
                if self.answered_by >> column & 1:
                    row[column] = Reply(0, "ok", query)
        return answers

    def why_left_out(self, answers: Answers, column: int) -> str:
        return "shed"


def version(gather: FakeGather, most: int = 100) -> Version:
    members = [EnsembleMember(trial_id=t, model_name="m", score=0.5) for t in ("t1", "t2")]
    return Version("j", members, get_task("X"), gather, deadline_s=30.0, cache=PredictionCache(most))  # type: ignore[arg-type]


async def predict(asked_of: Version, *queries: bytes, **more: Any) -> bytes:
    return await asked_of.predict(Asked(list(queries), len(queries) == 1, 30.0, **more), perf_counter())


def run(test: Callable[[FakeGather, Version], Any]) -> None:
    async def begin() -> None:
        gather = FakeGather()
        async with asyncio.timeout(60):
            await test(gather, version(gather))

    asyncio.run(begin())


def test_the_same_query_reaches_the_members_once() -> None:
    async def test(gather: FakeGather, asked_of: Version) -> None:
        first = await predict(asked_of, b"1")
        assert await predict(asked_of, b"1") == first == b'{"prediction":1,"predictions":[]}'
        assert gather.asked == [[b"1"]]
        both = await predict(asked_of, b"2", b"1", b"2")
        assert both == b'{"prediction":null,"predictions":[2,1,2]}'
        assert gather.asked == [[b"1"], [b"2"]]
        assert asked_of.cache is not None
        assert (asked_of.cache.hits, asked_of.cache.misses) == (3, 2)

    run(test)


def test_the_same_query_at_the_same_time_is_asked_once() -> None:
    async def test(gather: FakeGather, asked_of: Version) -> None:
        gather.go.clear()
        tasks = [asyncio.create_task(predict(asked_of, b"1", b"%d" % (i % 2))) for i in range(10)]
        while asked_of.in_hand < len(tasks):
            await asyncio.sleep(0)
        gather.go.set()
        assert [await t for t in tasks] == [b'{"prediction":null,"predictions":[1,%d]}' % (i % 2) for i in range(10)]
        assert sorted(q for queries in gather.asked for q in queries) == [b"0", b"1"]
        assert asked_of.cache is not None
        assert not asked_of.cache.under_way

    run(test)


def test_who_waits_for_a_query_that_fails_asks_it_itself() -> None:
    async def test(gather: FakeGather, asked_of: Version) -> None:
        gather.go.clear()
        gather.error = PredictorBusyError()
        tasks = [asyncio.create_task(predict(asked_of, b"1")) for _ in range(3)]
        while not gather.asked:
            await asyncio.sleep(0)
        gather.go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(f, PredictorBusyError) for f in found)
        assert gather.asked == [[b"1"]] * 3
        gather.error = None
        assert await predict(asked_of, b"1") == b'{"prediction":1,"predictions":[]}'

    run(test)


def test_who_waits_for_a_request_that_is_given_up_asks_itself() -> None:
    async def test(gather: FakeGather, asked_of: Version) -> None:
        gather.go.clear()
        first, second = (asyncio.create_task(predict(asked_of, b"1")) for _ in range(2))
        while not gather.asked:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        gather.go.set()
        assert await second == b'{"prediction":1,"predictions":[]}'

    run(test)


def test_an_answer_without_a_member_that_was_there_is_given_and_not_kept() -> None:
    async def test(gather: FakeGather, asked_of: Version) -> None:
        gather.answered_by, gather.shed = 0b01, 0b10
        told = b'{"prediction":1,"predictions":[],"left_out":["t2"],"left_out_reasons":{"t2":"shed"}}'
        assert [await predict(asked_of, b"1") for _ in range(2)] == [told, told]
        assert len(gather.asked) == 2

    run(test)


def test_an_answer_of_those_that_are_there_is_kept_until_another_comes_back() -> None:
    async def test(gather: FakeGather, asked_of: Version) -> None:
        gather.answered_by = gather.present = 0b01
        await predict(asked_of, b"1")
        told = b'{"prediction":1,"predictions":[],"left_out":["t2"],"left_out_reasons":{"t2":"absent"}}'
        assert await predict(asked_of, b"1") == told
        assert len(gather.asked) == 1
        gather.answered_by = gather.present = BOTH
        assert await predict(asked_of, b"1") == b'{"prediction":1,"predictions":[]}'
        assert len(gather.asked) == 2

    run(test)


def test_a_request_may_ask_for_a_new_prediction() -> None:
    async def test(gather: FakeGather, asked_of: Version) -> None:
        await predict(asked_of, b"2", is_fresh=True, is_kept=False)
        await predict(asked_of, b"2", is_fresh=True)
        await predict(asked_of, b"2")
        assert gather.asked == [[b"2"], [b"2"]]

    run(test)


def test_versions_keep_their_own() -> None:
    async def test(gather: FakeGather, asked_of: Version) -> None:
        await predict(asked_of, b"1")
        await predict(version(gather), b"1")
        assert len(gather.asked) == 2

    run(test)


# ---- over HTTP


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    made = OwnCache(tmp_path_factory.mktemp("cache") / "stack")
    yield made
    made.close()


def test_hits_do_not_reach_the_workers_and_are_reported(server: OwnCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_WAIT_S", 0.2)
    job, seen, lock = server.new_job(), list[Any](), threading.Lock()

    def rule(query: Any) -> Any:
        with lock:
            seen.append(query)
        return query

    worker, predictor = InferenceWorker(job, "t", rule), Predictor(job, ["t"], most_cached=10)
    try:
        eventually(lambda: not predictor.gather.absent, "the worker to be seen")
        for _ in range(3):
            assert predictor.post({"query": 5}).json() == {"prediction": 5, "predictions": []}
        assert seen == [5]
        fresh = predictor.request("POST", "/predict", b'{"query":5}', {"cache-control": "no-cache"})
        assert (fresh.json()["prediction"], seen) == (5, [5, 5])
        cache = predictor.versions.primary.cache
        assert cache is not None
        assert (cache.hits, cache.misses) == (2, 2)
    finally:
        predictor.close()
        worker.close()
