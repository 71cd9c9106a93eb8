"""From a query over HTTP to the ensemble's answer: the predictor over a real cache, with real worker loops."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stacks.deployment import InferenceWorker, Predictor
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.cache.inference import RedisWorkerQueue
from rafiki.cache.reports import RedisReports
from rafiki.client.query_parts import ask_in_parts
from rafiki.errors import error_from_wire
from rafiki.messages import CacheAddress, Query, Reply
from rafiki.predictor.waiting import Answers
from rafiki.worker import inference

REGRESSION = "TABULAR_REGRESSION"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack")
    yield server
    server.close()


class Deployment:
    """One inference job. Everything that was started is ended with the test."""

    def __init__(self, server: OwnCache) -> None:
        self.server = server
        self.job: CacheAddress = server.new_job()
        self.closers: list[Callable[[], None]] = []

    def predictor(self, *trial_ids: str, **settings: Any) -> Predictor:
        made = Predictor(self.job, list(trial_ids), **settings)
        self.closers.append(made.close)
        return made

    def worker(self, trial_id: str, rule: Callable[[Any], Any], task: str = "CUSTOM") -> InferenceWorker:
        made = InferenceWorker(self.job, trial_id, rule, task=task)
        self.closers.append(made.close)
        return made

    def pretend_worker(self, trial_id: str, name: str = "pretended") -> RedisWorkerQueue:
        """A worker that is registered, and does what the test does."""
        RedisReports(self.job).serve(trial_id, name, 60.0)
        return RedisWorkerQueue(self.job, trial_id)

    def wait_for_present(self, predictor: Predictor, *absent: str) -> None:
        """Until the predictor knows that all members but ``absent`` are there."""
        eventually(lambda: predictor.gather.absent == list(absent), "members to be seen")

    def close(self) -> None:
        for close in reversed(self.closers):
            close()


@pytest.fixture
def deployment(cache: OwnCache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setattr(inference, "_WAIT_S", 0.2)
    made = Deployment(cache)
    yield made
    made.close()


def take(queue: RedisWorkerQueue, most: int = 1) -> list[Query]:
    found: list[Query] = eventually(lambda: queue.exchange({}, most=most, timeout_s=1.0), "a query")
    return found


def take_all(queue: RedisWorkerQueue, n: int) -> list[Query]:
    taken: list[Query] = []
    while len(taken) < n:
        taken += take(queue, n - len(taken))
    return taken


def reply(job: CacheAddress, *queries: Query, payload: bytes | None = None) -> None:
    replies: dict[str, list[Reply]] = {}
    for q in queries:
        replies.setdefault(q.reply_to, []).append(Reply(q.query_id, "ok", q.query if payload is None else payload))
    # Where no queries wait, so that none is taken.
    RedisWorkerQueue(job, "nobody").exchange(replies, most=1, timeout_s=0.001)


# ---- answers


def test_one_query_is_answered_with_one_prediction(deployment: Deployment) -> None:
    deployment.worker("t", lambda q: {"twice": q["n"] * 2})
    response = deployment.predictor("t").post({"query": {"n": 21}})
    assert response.status_code == 200
    assert response.json() == {"prediction": {"twice": 42}, "predictions": []}
    assert response.headers["content-type"] == "application/json"


def test_several_queries_are_answered_in_their_order(deployment: Deployment) -> None:
    deployment.worker("t", lambda q: -q)
    predictor = deployment.predictor("t")
    assert predictor.post({"queries": list(range(50))}).json() == {
        "prediction": None,
        "predictions": [-i for i in range(50)],
    }
    assert predictor.post({"queries": []}).json() == {"prediction": None, "predictions": []}


def test_many_clients_at_once_get_their_own_answers(deployment: Deployment) -> None:
    deployment.worker("t", lambda q: q + 1000)
    deployment.worker("t", lambda q: q + 1000)
    predictor = deployment.predictor("t")
    responses = [predictor.send({"query": i}) for i in range(100)]
    assert [r.result(60).json()["prediction"] for r in responses] == [i + 1000 for i in range(100)]


def test_an_ensemble_of_two_answers_with_their_mean(deployment: Deployment) -> None:
    deployment.worker("t1", lambda q: q["n"], REGRESSION)
    deployment.worker("t2", lambda q: q["n"] * 2, REGRESSION)
    predictor = deployment.predictor("t1", "t2", task=REGRESSION)
    deployment.wait_for_present(predictor)
    assert predictor.post({"query": {"n": 2}}).json() == {"prediction": 3.0, "predictions": []}
    assert predictor.post({"queries": [{"n": 4}, {"n": 6}]}).json()["predictions"] == [6.0, 9.0]


def left_out(**reasons: str) -> dict[str, Any]:
    """What an answer says of those members."""
    return {"left_out": list(reasons), "left_out_reasons": reasons}


def test_members_count_by_their_weights_and_in_proportion_when_one_is_left_out(deployment: Deployment) -> None:
    for trial_id, answer in (("t1", 0.0), ("t2", 10.0)):
        deployment.worker(trial_id, lambda q, answer=answer: answer, REGRESSION)
    deployment.worker("t3", lambda q: 30.0 / q["n"], REGRESSION)
    predictor = deployment.predictor("t1", "t2", "t3", task=REGRESSION, weights=[0.25, 0.25, 0.5])
    deployment.wait_for_present(predictor)
    assert predictor.post({"query": {"n": 1}}).json()["prediction"] == 17.5
    assert predictor.post({"query": {"n": 0}}).json() == {"prediction": 5.0, "predictions": [], **left_out(t3="failed")}


def test_a_member_that_fails_is_left_out_and_named(deployment: Deployment) -> None:
    deployment.worker("good", lambda q: 7, REGRESSION)
    deployment.worker("bad", lambda q: 1 / 0, REGRESSION)
    predictor = deployment.predictor("bad", "good", task=REGRESSION)
    deployment.wait_for_present(predictor)
    answer = predictor.post({"query": {}})
    assert answer.status_code == 200
    assert answer.json() == {"prediction": 7.0, "predictions": [], **left_out(bad="failed")}


def test_more_queries_than_it_takes_at_once_are_answered_in_parts(deployment: Deployment) -> None:
    trial_ids = [f"t{i}" for i in range(5)]
    for trial_id in trial_ids:
        deployment.worker(trial_id, lambda q: q + 1)
    predictor = deployment.predictor(*trial_ids, max_waiting=100)
    deployment.wait_for_present(predictor)
    queries = [b"%d" % n for n in range(300)]
    assert predictor.post({"queries": list(range(300))}).status_code == 429
    most = predictor.request("GET", "/").json()["max_queries"]
    assert most == 20
    assert predictor.post({"queries": list(range(most))}).status_code == 200

    def send(body: bytes, timeout_s: float) -> bytes:
        answer = predictor.request("POST", "/predict", body)
        if answer.status_code != 200:
            raise error_from_wire(answer.json()["error"], answer.json()["message"], answer.status_code)
        return answer.content

    found = ask_in_parts(send, queries, most_queries=most, timeout_s=120)
    assert [int(bytes(prediction)) for prediction in found.predictions] == list(range(1, 301))


def test_a_member_without_a_worker_is_left_out_at_once_and_named(deployment: Deployment) -> None:
    deployment.worker("here", lambda q: 7)
    predictor = deployment.predictor("here", "gone", deadline_s=600.0)
    deployment.wait_for_present(predictor, "gone")
    assert predictor.post({"query": 1}).json() == {"prediction": 7, "predictions": [], **left_out(gone="absent")}
    health = predictor.request("GET", "/").json()
    assert (health["members"], health["absent"], health["task"]) == (["here", "gone"], ["gone"], "CUSTOM")


def test_a_member_that_misses_the_deadline_is_left_out_and_named(deployment: Deployment) -> None:
    deployment.worker("quick", lambda q: 7)
    deployment.pretend_worker("slow")
    predictor = deployment.predictor("slow", "quick")
    deployment.wait_for_present(predictor)
    answer = predictor.post({"query": 1, "timeout_ms": 300})
    assert answer.json() == {"prediction": 7, "predictions": [], **left_out(slow="late")}


def test_a_member_that_would_be_too_late_is_not_asked_and_the_best_member_always_is(deployment: Deployment) -> None:
    gate, begun = threading.Event(), threading.Event()

    def wait(query: Any) -> int:
        if query == "held":
            begun.set()
            gate.wait(60)
        return 1

    deployment.worker("best", lambda q: 7)
    deployment.worker("slow", wait)
    predictor = deployment.predictor("best", "slow", deadline_s=2.0)
    deployment.wait_for_present(predictor)
    assert "left_out" not in predictor.post({"query": "first"}).json()
    load = predictor.gather._planner.members[1]
    held = predictor.send({"query": "held", "timeout_ms": 60_000})
    begun.wait(60)
    # As a worker tells whose batches take that long: what it has at hand ends too late for whoever comes now.
    load.fixed_s = 30.0
    assert predictor.post({"query": "second"}).json() == {"prediction": 7, "predictions": [], **left_out(slow="shed")}
    assert [m.shed for m in predictor.gather.members()] == [0, 1]
    gate.set()
    assert held.result(60).json()["prediction"] == 7
    # Idle, it is asked again, whatever it cost.
    assert "left_out" not in predictor.post({"query": "third"}).json()


def test_what_not_even_the_best_member_answers_in_time_is_refused_at_once(deployment: Deployment) -> None:
    gate, begun = threading.Event(), threading.Event()

    def wait(query: Any) -> int:
        begun.set()
        gate.wait(60)
        return 1

    deployment.worker("only", wait)
    predictor = deployment.predictor("only", deadline_s=20.0)
    deployment.wait_for_present(predictor)
    held = predictor.send({"query": 1})
    begun.wait(60)
    predictor.gather._planner.members[0].fixed_s = 30.0
    refused = predictor.post({"query": 2})
    assert (refused.status_code, refused.json()["error"]) == (429, "PredictorBusyError")
    assert "within 20 s" in refused.json()["message"]
    gate.set()
    assert held.result(60).json()["prediction"] == 1


def test_a_predictor_whose_event_loop_is_held_up_writes_earlier(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.worker("t", lambda q: 7)
    predictor = deployment.predictor("t")
    deployment.wait_for_present(predictor)
    finish, held_up = Answers.finish, threading.Event()

    def finish_held_up(answers: Answers) -> None:
        # Other work comes between the last reply and the answer.
        asyncio.get_running_loop().call_soon(held_up.wait, 0.05)
        finish(answers)

    monkeypatch.setattr(Answers, "finish", finish_held_up)
    for _ in range(15):
        assert predictor.post({"query": 1}).json()["prediction"] == 7
    assert predictor.gather._write_s(20.0) >= 0.05
    assert predictor.gather._write_s(0.1) == 0.025  # a short deadline leaves most of its time to the members


def test_a_predictor_learns_what_batches_cost(deployment: Deployment) -> None:
    deployment.worker("t", lambda q: 7)
    predictor = deployment.predictor("t")
    deployment.wait_for_present(predictor)
    for n in (1, 3, 8, 1, 1):
        predictor.post({"queries": [1] * n})
    load = predictor.gather._planner.members[0]
    assert load.fixed_s + load.each_s > 0
    assert (load.outstanding, load.most) == (0, 8)


def test_a_member_whose_worker_is_still_starting_takes_part(deployment: Deployment) -> None:
    deployment.worker("ready", lambda q: 1, REGRESSION)
    predictor = deployment.predictor("ready", "starting", task=REGRESSION, start_time_s=600.0)
    deployment.wait_for_present(predictor, "starting")
    waiting = predictor.send({"query": {}})
    deployment.worker("starting", lambda q: 3, REGRESSION)
    assert waiting.result(60).json() == {"prediction": 2.0, "predictions": []}


def test_a_member_that_could_not_begin_is_not_waited_for(deployment: Deployment) -> None:
    deployment.worker("ready", lambda q: 1, REGRESSION)
    predictor = deployment.predictor("ready", "damaged", task=REGRESSION, start_time_s=600.0, deadline_s=600.0)
    deployment.wait_for_present(predictor, "damaged")
    waiting = predictor.send({"query": {}})
    RedisReports(deployment.job).unserve("damaged", "could not load it")
    expected = {"prediction": 1, "predictions": [], **left_out(damaged="absent")}
    assert waiting.result(60).json() == expected
    assert predictor.post({"query": {}}).json() == expected


# ---- no answer


def test_when_no_member_answers_in_time_it_is_a_503_with_the_reason(deployment: Deployment) -> None:
    deployment.pretend_worker("t")
    predictor = deployment.predictor("t", deadline_s=0.2)
    answer = predictor.post({"query": 1})
    assert answer.status_code == 503
    assert answer.json()["error"] == "NoPredictionError"
    assert "its inference workers may be starting, busy or gone" in answer.json()["message"]
    assert "Query 0: No member" in predictor.post({"queries": [1, 2]}).json()["message"]


def test_while_no_member_has_a_worker_queries_wait_for_one(deployment: Deployment) -> None:
    predictor = deployment.predictor("t")
    waiting = predictor.send({"query": 5})
    deployment.worker("t", lambda q: q + 1)
    assert waiting.result(60).json()["prediction"] == 6


def test_too_many_waiting_queries_are_refused_at_once_and_those_waiting_are_answered(deployment: Deployment) -> None:
    queue = deployment.pretend_worker("t")
    predictor = deployment.predictor("t", max_waiting=3, deadline_s=600.0)
    deployment.wait_for_present(predictor)
    waiting = [predictor.send({"query": i}) for i in range(3)]
    queries = take(queue, 3)
    for body in ({"query": 3}, {"queries": [3, 4]}):
        refused = predictor.post(body)
        assert (refused.status_code, refused.json()["error"]) == (429, "PredictorBusyError")
    while len(queries) < 3:
        queries += take(queue, 3)
    reply(deployment.job, *queries)
    assert [w.result(60).json()["prediction"] for w in waiting] == [0, 1, 2]
    too_many = predictor.post({"queries": [1, 2, 3, 4]})
    assert too_many.status_code == 429
    assert "4 queries are more than this predictor takes at once (3)" in too_many.json()["message"]


def test_a_late_reply_reaches_nobody_elses_query(deployment: Deployment) -> None:
    queue = deployment.pretend_worker("t")
    predictor = deployment.predictor("t")
    deployment.wait_for_present(predictor)
    assert predictor.post({"query": "first", "timeout_ms": 50}).status_code == 503
    (late,) = take(queue)
    second = predictor.send({"query": "second"})
    (query,) = take(queue)
    reply(deployment.job, late, payload=b'"late"')
    reply(deployment.job, query, query, payload=b'"in time"')
    assert second.result(60).json()["prediction"] == "in time"


def test_queries_of_a_worker_that_died_with_them_are_sent_to_its_successor(deployment: Deployment) -> None:
    queue = deployment.pretend_worker("t", "dies")
    predictor = deployment.predictor("t", deadline_s=600.0)
    deployment.wait_for_present(predictor)
    waiting = [predictor.send({"query": i}) for i in range(3)]
    taken: list[Query] = []
    while len(taken) < 3:
        taken += take(queue, 3)
    deployment.worker("t", lambda q: q + 10)
    assert [w.result(60).json()["prediction"] for w in waiting] == [10, 11, 12]


def test_requests_stop_waiting_for_a_member_whose_last_worker_is_gone(deployment: Deployment) -> None:
    deployment.worker("stays", lambda q: 7)
    queue = deployment.pretend_worker("goes", "w")
    predictor = deployment.predictor("stays", "goes", deadline_s=600.0)
    deployment.wait_for_present(predictor)
    waiting = predictor.send({"query": 1})
    while not take(queue, 1):
        continue
    RedisReports(deployment.job).unserve("goes", "w")
    assert waiting.result(60).json() == {"prediction": 7, "predictions": [], **left_out(goes="absent")}


def test_queries_of_a_worker_that_is_gone_are_answered_by_those_that_stay(deployment: Deployment) -> None:
    queue = deployment.pretend_worker("t", "retired")
    predictor = deployment.predictor("t", deadline_s=600.0)
    deployment.wait_for_present(predictor)
    waiting = [predictor.send({"query": i}) for i in range(3)]
    assert len(take_all(queue, 3)) == 3
    other = deployment.pretend_worker("t", "stays")
    # As it is new, they were sent to it too; and are lost once more.
    assert len(take_all(other, 3)) == 3
    assert not any(w.done() for w in waiting)
    RedisReports(deployment.job).unserve("t", "retired")
    reply(deployment.job, *take_all(other, 3))
    assert [w.result(60).json()["prediction"] for w in waiting] == [0, 1, 2]


def test_a_query_that_finds_no_worker_calls_the_admin_and_is_refused_at_its_deadline_with_a_time_to_come_back(
    deployment: Deployment,
) -> None:
    predictor = deployment.predictor("t")
    called = predictor.versions.called
    assert not called.is_set()
    refused = predictor.post({"query": 1, "timeout_ms": 50})
    assert (refused.status_code, refused.json()["error"]) == (503, "NoPredictionError")
    assert int(refused.headers["retry-after"]) >= 1
    assert "No inference worker runs" in refused.json()["message"] and "being started" in refused.json()["message"]
    assert called.is_set() and predictor.gather.demand.take_call() and not predictor.gather.demand.take_call()
    (member,) = predictor.gather.members()
    assert (member.asked, member.missed, member.workers) == (1, 1, 0)
    waiting = predictor.send({"query": 2})
    deployment.worker("t", lambda q: q + 1)
    assert waiting.result(60).json()["prediction"] == 3
    assert "retry-after" not in predictor.post({"query": 1}).headers


# ---- the cache goes away


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A deployment whose cache the test may hurt."""
    monkeypatch.setattr(inference, "_WAIT_S", 0.2)
    server = OwnCache(tmp_path / "stack")
    made = Deployment(server)
    yield made
    made.close()
    server.close()


def test_all_flows_again_after_the_cache_was_restarted(fragile: Deployment) -> None:
    fragile.worker("t", lambda q: q + 1)
    predictor = fragile.predictor("t")
    assert predictor.post({"query": 1}).json()["prediction"] == 2
    fragile.server.kill()
    away = predictor.post({"query": 1, "timeout_ms": 300})
    assert away.status_code == 503
    assert str(fragile.job.port) in away.json()["message"]
    waiting = predictor.send({"query": 2, "timeout_ms": 20_000})
    fragile.server.server.ensure()
    fragile.server.grant_again(fragile.job)
    assert waiting.result(60).json()["prediction"] == 3
    assert predictor.post({"query": 3}).json()["prediction"] == 4


def test_a_query_that_was_lost_with_the_cache_is_sent_again_though_its_worker_never_changed(
    fragile: Deployment,
) -> None:
    queue = fragile.pretend_worker("t")
    predictor = fragile.predictor("t", deadline_s=600.0)
    fragile.wait_for_present(predictor)
    waiting = predictor.send({"query": 5})
    take(queue)
    fragile.server.restart()
    # The same worker is back before the predictor can look who is there.
    until_ms = 2_000_000_000_000
    fragile.server.admin().hset(f"{fragile.job.prefix}serving:t", "pretended", str(until_ms))
    fragile.server.grant_again(fragile.job)
    reply(fragile.job, *take(queue))
    assert waiting.result(60).json()["prediction"] == 5


# ---- what is refused


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"{}",
        b'{"query": null}',
        b'{"query": 1, "queries": [1]}',
        b'{"query": 1, "other": 2}',
        b'{"queries": 1}',
        b'{"query": 1, "timeout_ms": 0}',
        b'{"query": 1, "timeout_ms": -5}',
        b'{"query": 1, "timeout_ms": "soon"}',
        b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'\xff{"query": 1}',
    ],
    ids=lambda b: b[:30].decode("latin-1"),
)
def test_a_malformed_request_is_a_400_that_never_travels(deployment: Deployment, body: bytes) -> None:
    answer = deployment.predictor("t").request("POST", "/predict", body)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidRequestError")
    assert deployment.server.admin().llen(f"{deployment.job.prefix}queries:t") == 0


@pytest.mark.parametrize(("body", "place"), [(b'{"query": "\xff"}', ""), (b'{"queries": [{}, [1]]}', "Query 1: ")])
def test_a_query_that_is_not_what_the_task_takes_is_a_400_that_names_it(
    deployment: Deployment, body: bytes, place: str
) -> None:
    deployment.worker("t", lambda q: 1.0, REGRESSION)
    predictor = deployment.predictor("t", task=REGRESSION)
    answer = predictor.request("POST", "/predict", body)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidQueryError")
    assert answer.json()["message"].startswith(place)
    # The worker lives.
    assert predictor.post({"query": {}}).json()["prediction"] == 1.0


def test_a_failure_in_the_model_is_a_422_with_its_reason(deployment: Deployment) -> None:
    def rule(q: Any) -> Any:
        raise ValueError("no such feature")

    deployment.worker("t", rule)
    answer = deployment.predictor("t").post({"query": 1})
    assert (answer.status_code, answer.json()["error"]) == (422, "ModelPredictError")
    assert "no such feature" in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("POST", "/", 405), ("GET", "/other", 404), ("POST", "/predict/", 404)],
)
def test_other_paths_and_methods_are_refused_as_json(
    deployment: Deployment, method: str, path: str, status: int
) -> None:
    answer = deployment.predictor("t").request(method, path)
    assert answer.status_code == status
    assert answer.json().keys() == {"error", "message"}


@pytest.mark.parametrize(("path", "allowed"), [("/", "GET, HEAD, OPTIONS"), ("/predict", "POST, OPTIONS")])
def test_pages_say_which_methods_they_take(deployment: Deployment, path: str, allowed: str) -> None:
    predictor = deployment.predictor("t")
    asked = predictor.request("OPTIONS", path)
    assert (asked.status_code, asked.headers["allow"], asked.content) == (204, allowed, b"")
    assert predictor.request("DELETE", path).headers["allow"] == allowed
    assert predictor.request("HEAD", "/").status_code == 200


@pytest.mark.parametrize(
    ("content", "encoding", "status"),
    [
        (gzip.compress(b'{"query": 1}'), "gzip", 200),
        (b'\xef\xbb\xbf{"query": 1}', "", 200),
        (b'{"query": 1}', "br", 415),
        (b'{"query": 1}', "gzip", 400),
        (gzip.compress(b'{"query": "' + b"x" * (2 << 20) + b'"}'), "gzip", 413),
    ],
    ids=["gzip", "a mark", "another encoding", "no gzip", "too large unpacked"],
)
def test_bodies_may_be_compressed_and_begin_with_a_mark(
    deployment: Deployment, content: bytes, encoding: str, status: int
) -> None:
    deployment.worker("t", lambda query: query)
    headers = {"content-encoding": encoding} if encoding else {}
    answer = deployment.predictor("t").request("POST", "/predict", content, headers)
    assert answer.status_code == status, answer.text


def test_a_request_that_took_its_time_to_come_has_used_its_deadline(deployment: Deployment) -> None:
    deployment.worker("t", lambda query: query)
    predictor = deployment.predictor("t")

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"query": 1,'
        await asyncio.sleep(0.3)
        yield b'"timeout_ms": 200}'

    answer = predictor.request("POST", "/predict", slowly())
    assert (answer.status_code, answer.json()["error"]) == (503, "NoPredictionError")
    assert "to come" in answer.json()["message"]


def test_a_request_that_is_too_large_is_a_413(deployment: Deployment) -> None:
    body = b'{"query": "' + b"x" * (1 << 20) + b'"}'
    answer = deployment.predictor("t").request("POST", "/predict", body)
    assert answer.status_code == 413
    assert "max_body_mb" in answer.json()["message"]


@pytest.mark.parametrize("wait_s", [i * 0.001 for i in range(10)])
def test_a_predictor_ends_at_any_moment(deployment: Deployment, wait_s: float) -> None:
    # While it connects, while it waits, and in between.
    predictor = Predictor(deployment.job, ["t"])
    threading.Event().wait(wait_s)
    predictor.close()


def test_what_was_given_up_is_forgotten(deployment: Deployment) -> None:
    predictor = deployment.predictor("t", max_waiting=2)
    for _ in range(3):
        sent = [predictor.send({"query": i, "timeout_ms": 20}) for i in range(2)]
        assert [s.result(60).status_code for s in sent] == [503, 503]
    deployment.worker("t", lambda q: q)
    assert predictor.post({"query": 1}).json()["prediction"] == 1


def test_large_bodies_are_answered_as_small_ones_are(deployment: Deployment) -> None:
    deployment.worker("t", lambda query: len(query))
    deployment.worker("u", lambda query: len(query))
    predictor = deployment.predictor("t", "u", task=REGRESSION, max_body_mb=8)
    many = b'{"queries": [' + b",".join(b'"%s"' % (b"x" * n) for n in range(1 << 17, (1 << 17) + 30)) + b"]}"
    one = b'{"query": "' + b"y" * (5 << 20) + b'"}'
    for headers, pack in (({}, bytes), ({"content-encoding": "gzip"}, gzip.compress)):
        answer = predictor.request("POST", "/predict", pack(many), headers).json()
        assert answer["predictions"] == list(range(1 << 17, (1 << 17) + 30)), answer
        assert predictor.request("POST", "/predict", pack(one), headers).json()["prediction"] == 5 << 20


def test_a_large_body_that_does_not_come_within_the_deadline_is_refused_then(deployment: Deployment) -> None:
    predictor = deployment.predictor("t", deadline_s=0.3, max_body_mb=8)
    is_over = threading.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"query": "' + b"x" * (2 << 20)
        while not is_over.is_set():
            await asyncio.sleep(0.05)
            yield b"x"

    answer = predictor.request("POST", "/predict", slowly())
    is_over.set()
    assert (answer.status_code, answer.json()["error"]) == (503, "NoPredictionError")
    assert "to come" in answer.json()["message"]


# ---- arrays, and the Open Inference Protocol


def as_npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_arrays_are_answered_as_the_same_queries_in_json_are(deployment: Deployment) -> None:
    deployment.worker("t", lambda q: [float(q.mean()), float(q[0, 0, 0])], "IMAGE_CLASSIFICATION")
    predictor = deployment.predictor("t", task="IMAGE_CLASSIFICATION", max_body_mb=4)
    # The second is large: another process reads it.
    for side in (8, 400):
        images = np.arange(3 * side * side * 3, dtype=np.uint8).reshape(3, side, side, 3)
        expected = [[float(i.mean()), float(i[0, 0, 0])] for i in images]
        one = predictor.request("POST", "/predict", as_npy(images[1]))
        assert one.json() == {"prediction": expected[1], "predictions": []}
        several = predictor.request("POST", "/predict?batch=true", as_npy(images))
        assert several.json() == {"prediction": None, "predictions": expected}
        packed = predictor.request("POST", "/predict", gzip.compress(as_npy(images[1])), {"content-encoding": "gzip"})
        assert packed.json() == one.json()
        head = json.dumps(
            {
                "inputs": [
                    {"name": "image", "datatype": "UINT8", "shape": images.shape,
                     "parameters": {"binary_data_size": images.nbytes}}
                ]
            }
        ).encode()  # fmt: skip
        inferred = predictor.request(
            "POST",
            "/v2/models/digits/infer",
            head + images.tobytes(),
            {"Inference-Header-Content-Length": str(len(head))},
        )
        assert inferred.json()["outputs"] == [
            {
                "name": "probabilities",
                "datatype": "FP64",
                "shape": [3, 2],
                "data": [n for pair in expected for n in pair],
            }
        ]
    refused = predictor.request("POST", "/predict?batch=true", as_npy(np.zeros((2, 5), np.uint8)))
    assert (refused.status_code, refused.json()["error"]) == (400, "InvalidQueryError")
    assert refused.json()["message"].startswith("Query 0: An image query is")


def test_the_open_inference_protocol_says_what_is_ready_and_refuses_in_its_own_form(deployment: Deployment) -> None:
    predictor = deployment.predictor("t", task=REGRESSION)
    assert predictor.request("GET", "/v2/health/live").json() == {"live": True}
    assert predictor.request("GET", "/v2/health/ready").status_code == 503
    deployment.worker("t", lambda q: q["a"] * 2, REGRESSION)
    deployment.wait_for_present(predictor)
    assert predictor.request("GET", "/v2/models/digits/ready").json() == {"name": "digits", "ready": True}
    body = {"inputs": [{"name": "a", "datatype": "FP64", "shape": [2], "data": [1.5, 2]}], "id": "r"}
    found = predictor.request("POST", "/v2/models/digits/infer", json.dumps(body).encode())
    assert found.json()["outputs"] == [{"name": "value", "datatype": "FP64", "shape": [2], "data": [3.0, 4.0]}]
    assert predictor.meter.requests == 1
    refused = predictor.request("POST", "/v2/models/digits/infer", b"{")
    assert refused.status_code == 400
    assert refused.json().keys() == {"error"}
    assert refused.json()["error"].startswith("InvalidRequestError: ")
