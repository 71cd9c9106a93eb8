"""The queues of serving, the shared parameters and the reports, over real servers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache, each_server

from rafiki.cache.connection import connect
from rafiki.cache.heartbeat import Heartbeat
from rafiki.cache.inference import RedisPredictorQueues, RedisWorkerQueue, monotonic_ms
from rafiki.cache.params import RedisParamCache
from rafiki.cache.reports import REPORTS_CHANNEL_PATTERN, RedisReportReader, RedisReports
from rafiki.constants import SharePolicy
from rafiki.messages import CacheAddress, Query, Reply

T = TypeVar("T")
NO_WAIT_S = 0.01
LONG_S = 20.0


@pytest.fixture(scope="module", params=each_server())
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack", request.param)
    yield server
    server.close()


@pytest.fixture
def job(shared: OwnCache) -> CacheAddress:
    return shared.new_job()


def queries(*ids: int, reply_to: str = "r") -> list[Query]:
    return [Query(reply_to, i, 2_000_000_000_000, b'{"n": %d}' % i) for i in ids]


def as_predictor(job: CacheAddress, action: Callable[[RedisPredictorQueues], Awaitable[T]], name: str = "p") -> T:
    async def run() -> T:
        queues = RedisPredictorQueues(job, name)
        try:
            return await action(queues)
        finally:
            await queues.close()

    return asyncio.run(run())


def send(job: CacheAddress, trial_id: str, sent: list[Query], most_waiting: int = 100) -> None:
    as_predictor(job, lambda q: q.send({trial_id: sent}, most_waiting=most_waiting))


def pop(queue: RedisWorkerQueue, most: int = 100) -> list[int]:
    return [q.query_id for q in queue.exchange({}, most=most, timeout_s=NO_WAIT_S)]


# ---- serving


def test_a_worker_takes_what_waits_oldest_first_up_to_its_batch_size(job: CacheAddress) -> None:
    queue = RedisWorkerQueue(job, "t")
    send(job, "t", queries(1, 2, 3, 4, 5))
    assert queue.exchange({}, most=3, timeout_s=NO_WAIT_S) == queries(1, 2, 3)
    assert pop(queue, 3) == [4, 5]
    assert pop(queue, 3) == []


def test_a_large_query_arrives_as_it_was_sent(job: CacheAddress) -> None:
    large = b'"' + bytes(range(35, 91)) * 200_000 + b'"'
    sent = [Query("r", 1, 2_000_000_000_000, large), *queries(2), Query("r", 3, 2_000_000_000_000, large[:-1] + b'7"')]
    send(job, "t", sent)
    queue = RedisWorkerQueue(job, "t")
    assert queue.exchange({}, most=10, timeout_s=NO_WAIT_S) == sent
    queue.close()


def test_replicas_share_a_queue_and_trials_do_not(job: CacheAddress) -> None:
    replicas = [RedisWorkerQueue(job, "t"), RedisWorkerQueue(job, "t")]
    send(job, "t", queries(*range(10)))
    taken = [pop(replicas[i % 2], 3) for i in range(4)]
    assert [i for batch in taken for i in batch] == list(range(10))
    assert pop(RedisWorkerQueue(job, "other")) == []


def test_a_worker_that_waits_is_woken_by_a_query(shared: OwnCache, job: CacheAddress) -> None:
    found: list[list[Query]] = []
    queue = RedisWorkerQueue(job, "t")
    thread = threading.Thread(target=lambda: found.append(queue.exchange({}, most=8, timeout_s=LONG_S)))
    thread.start()
    shared.wait_for_waiting()
    send(job, "t", queries(7))
    thread.join()
    assert found == [queries(7)]


def test_replies_leave_and_the_next_batch_comes_in_one_call(job: CacheAddress) -> None:
    queue = RedisWorkerQueue(job, "t")

    async def ask(queues: RedisPredictorQueues) -> list[Reply]:
        await queues.send({"t": queries(1, 2, 3, reply_to=queues.reply_to)}, most_waiting=10)
        loop = asyncio.get_running_loop()
        first = await loop.run_in_executor(None, lambda: queue.exchange({}, most=2, timeout_s=LONG_S))
        replies = {queues.reply_to: [Reply(q.query_id, "ok", q.query) for q in first]}
        second = await loop.run_in_executor(None, lambda: queue.exchange(replies, most=2, timeout_s=LONG_S))
        assert [q.query_id for q in second] == [3]
        return await queues.take_replies(LONG_S)

    assert as_predictor(job, ask) == [Reply(1, "ok", b'{"n": 1}'), Reply(2, "ok", b'{"n": 2}')]


def test_each_predictor_gets_its_own_replies(job: CacheAddress) -> None:
    reply_to = f"{job.prefix}replies:"
    sent = {f"{reply_to}a": [Reply(1, "ok", b"1")], f"{reply_to}b": [Reply(1, "model_error", b"no")]}
    RedisWorkerQueue(job, "t").exchange(sent, most=1, timeout_s=NO_WAIT_S)
    assert as_predictor(job, lambda q: q.take_replies(NO_WAIT_S), "b") == [Reply(1, "model_error", b"no")]
    assert as_predictor(job, lambda q: q.take_replies(NO_WAIT_S), "a") == [Reply(1, "ok", b"1")]
    assert as_predictor(job, lambda q: q.take_replies(NO_WAIT_S), "a") == []


def test_a_queue_that_nobody_empties_keeps_the_newest(job: CacheAddress) -> None:
    send(job, "t", queries(*range(8)), most_waiting=5)
    send(job, "t", queries(8, 9), most_waiting=5)
    assert pop(RedisWorkerQueue(job, "t")) == [5, 6, 7, 8, 9]


def test_replies_that_nobody_reads_are_forgotten_in_time(shared: OwnCache, job: CacheAddress) -> None:
    reply_to = f"{job.prefix}replies:gone"
    RedisWorkerQueue(job, "t").exchange({reply_to: [Reply(1, "ok", b"1")]}, most=1, timeout_s=NO_WAIT_S)
    assert 0 < shared.admin().ttl(reply_to) <= 120


def test_a_reply_that_cannot_be_read_does_not_spoil_the_others(shared: OwnCache, job: CacheAddress) -> None:
    shared.admin().rpush(f"{job.prefix}replies:p", b"\xc1 no reply")
    sent = {f"{job.prefix}replies:p": [Reply(2, "ok", b"2")]}
    RedisWorkerQueue(job, "t").exchange(sent, most=1, timeout_s=NO_WAIT_S)
    assert as_predictor(job, lambda q: q.take_replies(NO_WAIT_S)) == [Reply(2, "ok", b"2")]


def test_only_workers_that_serve_now_are_listed(shared: OwnCache, job: CacheAddress) -> None:
    reports = RedisReports(job)
    reports.serve("t1", "alive", 60.0)
    reports.serve("t1", "silent", -1.0)
    reports.serve("t1", "ended", 60.0)
    reports.unserve("t1", "ended")
    shared.admin().hset(f"{job.prefix}serving:t1", "garbage", "no time")
    reports.unserve("t3", "could not begin")
    found = as_predictor(job, lambda q: q.workers_of(["t1", "t2", "t3"]))
    assert found == {"t1": {"alive"}, "t2": None, "t3": set()}


@pytest.mark.parametrize("ahead_s", [-30.0, 30.0])
def test_a_host_whose_clock_is_wrong_serves_and_asks_like_any_other(
    shared: OwnCache, job: CacheAddress, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """One at a time: a worker's, then a predictor's."""
    seconds, microseconds = shared.admin().time()
    cache_ms = seconds * 1000 + microseconds // 1000

    def now_of_predictor() -> int:
        return monotonic_ms() + as_predictor(job, lambda q: q.ahead_ms())

    def look() -> dict[str, set[str]]:
        return as_predictor(job, lambda q: q.workers_of(["t"]))

    with monkeypatch.context() as wrong:
        shift_clock(wrong, ahead_s)
        RedisReports(job).serve("t", "worker", 10.0)
        worker = RedisWorkerQueue(job, "t")
        worker.exchange({}, most=1, timeout_s=NO_WAIT_S)
        assert cache_ms <= worker.now_ms < cache_ms + 20_000
    assert look() == {"t": {"worker"}}
    with monkeypatch.context() as wrong:
        shift_clock(wrong, ahead_s)
        assert look() == {"t": {"worker"}}
        assert cache_ms <= now_of_predictor() < cache_ms + 20_000


def test_a_server_without_blmpop_is_taken_from_by_what_it_knows(
    shared: OwnCache, job: CacheAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis 6.2 is such a server; of others it is the right to the command that is missing."""
    # As one word: the answer to COMMAND alone is parsed by the driver.
    if shared.admin().execute_command("COMMAND INFO", "blmpop") != [None]:
        shared.admin().execute_command("ACL", "SETUSER", job.username, "-blmpop")
    send(job, "t", queries(1, 2, 3), most_waiting=5)
    worker = RedisWorkerQueue(job, "t")
    assert [q.query_id for q in worker.exchange({}, most=2, timeout_s=NO_WAIT_S)] == [1, 2]
    reply = {f"{job.prefix}replies:p": [Reply(1, "ok", b"1")]}
    assert [q.query_id for q in worker.exchange(reply, most=2, timeout_s=NO_WAIT_S)] == [3]
    assert worker.exchange({}, most=2, timeout_s=NO_WAIT_S) == []
    assert as_predictor(job, lambda q: q.take_replies(NO_WAIT_S)) == [Reply(1, "ok", b"1")]


def shift_clock(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    """What a process with a wrong clock reads."""
    right, right_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: right() + ahead_s)
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + int(ahead_s * 1e9))


# ---- shared parameters


def test_each_policy_gives_its_own_parameters(job: CacheAddress) -> None:
    one, other = RedisParamCache(job, "sub", "w1"), RedisParamCache(job, "sub", "w2")
    assert [one.get(p) for p in SharePolicy] == [None] * 4
    one.put("p1", b"first", 0.9)
    other.put("p2", b"second", 0.5)
    one.put("p3", b"third", 0.1)
    expected = {
        SharePolicy.LOCAL_RECENT: (b"third", b"second"),
        SharePolicy.LOCAL_BEST: (b"first", b"second"),
        SharePolicy.GLOBAL_RECENT: (b"third", b"third"),
        SharePolicy.GLOBAL_BEST: (b"first", b"first"),
    }
    assert {p: (one.get(p), other.get(p)) for p in SharePolicy} == expected


def test_what_a_worker_has_it_does_not_fetch_again_and_what_is_newer_it_does(job: CacheAddress) -> None:
    one, other = RedisParamCache(job, "sub", "w1"), RedisParamCache(job, "sub", "w2")
    one.put("p1", b"first", 0.5)
    assert other.get(SharePolicy.GLOBAL_BEST) == b"first"
    client = connect(job)
    key = f"{job.prefix}sub:params:best"
    client.hset(key, "params", b"changed behind its back")
    assert [c.get(SharePolicy.GLOBAL_BEST) for c in (one, other)] == [b"first"] * 2
    one.put("p2", b"better", 0.9)
    assert other.get(SharePolicy.GLOBAL_BEST) == b"better"
    for i in range(10):
        one.put(f"more{i}", b"%d" % i, 0.0)
    # Long gone from what it keeps, still in the cache.
    assert one.get(SharePolicy.GLOBAL_BEST) == b"better"
    client.delete(key)
    assert one.get(SharePolicy.GLOBAL_BEST) is None


def test_the_best_parameters_stay_when_many_workers_share_at_once(job: CacheAddress) -> None:
    n_workers, n_each = 6, 25

    def share(worker: int) -> None:
        cache = RedisParamCache(job, "sub", f"w{worker}")
        for i in range(n_each):
            score = (i * n_workers + worker * 7) % (n_workers * n_each)
            cache.put(str(score), b"%d" % score, float(score))

    threads = [threading.Thread(target=share, args=(w,)) for w in range(n_workers)]
    best = max((i * n_workers + w * 7) % (n_workers * n_each) for w in range(n_workers) for i in range(n_each))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert RedisParamCache(job, "sub", "w0").get(SharePolicy.GLOBAL_BEST) == b"%d" % best


# ---- reports


def test_a_service_counts_as_alive_until_its_beat_expires_or_it_fails(shared: OwnCache, job: CacheAddress) -> None:
    reports = RedisReports(job)
    reports.beat("a", 60.0)
    reports.beat("short", 0.001)
    reports.beat("b", 60.0)
    reports.fail("b", "it broke", is_permanent=True)
    eventually(lambda: not reports.are_alive(["short"]), "the end of a short beat")
    assert reports.are_alive(["a", "short", "b", "unknown"]) == {"a"}
    assert reports.are_alive([]) == set()
    job_id = job.prefix.split(":")[1]
    read = RedisReportReader(shared.address).read([(job_id, "a"), (job_id, "b"), (job_id, "unknown"), ("other", "a")])
    assert {i: (r.state, r.reason, r.is_permanent) for i, r in read.items()} == {
        "a": ("running", None, False),
        "b": ("failed", "it broke", True),
    }


@pytest.mark.parametrize("garbage", [b"", b"\xff", b'{"state": "dancing"}', b"[]", b'"\xff"'])
def test_what_model_code_writes_in_place_of_a_report_blinds_nobody(
    shared: OwnCache, job: CacheAddress, garbage: bytes
) -> None:
    job_id = job.prefix.split(":")[1]
    RedisReports(job).beat("good", 60.0)
    shared.admin().set(f"{job.prefix}report:bad", garbage)
    assert set(RedisReportReader(shared.address).read([(job_id, "bad"), (job_id, "good")])) == {"good"}
    assert RedisReports(job).are_alive(["bad", "good"]) == {"good"}


@pytest.mark.parametrize("say", ["announce", "fail"])
def test_a_first_beat_and_a_failure_wake_the_admin(shared: OwnCache, job: CacheAddress, say: str) -> None:
    with shared.admin().pubsub(ignore_subscribe_messages=True) as channel:
        channel.psubscribe(REPORTS_CHANNEL_PATTERN)
        channel.get_message(timeout=LONG_S)
        if say == "announce":
            RedisReports(job).announce("s", 60.0)
        else:
            RedisReports(job).fail("s", "it broke", is_permanent=False)
        message = eventually(lambda: channel.get_message(timeout=1.0), "a message to the admin")
    assert message["data"] == b"s"
    assert message["channel"].startswith(job.prefix.encode())


def test_a_heartbeat_goes_on_after_the_cache_was_restarted(tmp_path: Path) -> None:
    own = OwnCache(tmp_path / "stack")
    try:
        job = own.new_job()
        before = RedisReportReader(own.address).run_id()
        heartbeat = Heartbeat(job, "s", 0.05)
        heartbeat.start(serves_trial="t")
        eventually(lambda: RedisReports(job).are_alive(["s"]), "a beat")
        own.restart(job)
        assert RedisReportReader(own.address).run_id() != before
        eventually(lambda: RedisReports(job).are_alive(["s"]), "a beat after the restart")
        assert as_predictor(job, lambda q: q.workers_of(["t"])) == {"t": {"s"}}
        heartbeat.fail("it broke")
        eventually(lambda: not RedisReports(job).are_alive(["s"]), "no beat after the failure")
        heartbeat.stop()
        assert as_predictor(job, lambda q: q.workers_of(["t"])) == {"t": set()}
    finally:
        own.close()
