"""What the train cache promises, over real servers: redelivery, order, waking, and life after a loss of all data."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.stores.own_cache import OwnCache, each_server

from rafiki.cache.train import RedisTrainCache
from rafiki.entities import TrialLog
from rafiki.errors import CacheUnavailableError
from rafiki.messages import (
    CacheAddress,
    EndOrder,
    Hello,
    StopRequested,
    TrainOrder,
    TrialDone,
    TrialFailed,
    TrialProgress,
    WorkerLost,
)

LOG = TrialLog(trial_id="t", attempt=1, line_no=1, entry={"type": "MESSAGE", "message": "héllo\0"})
NO_WAIT_S = 0.001
LONG_S = 20.0


@pytest.fixture(scope="module", params=each_server())
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack", request.param)
    yield server
    server.close()


@pytest.fixture(params=each_server())
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnCache]:
    """A server that the test may hurt."""
    server = OwnCache(tmp_path / "stack", request.param)
    yield server
    server.close()


def open_cache(address: CacheAddress) -> RedisTrainCache:
    return RedisTrainCache(address, "sub")


def opened(address: CacheAddress) -> RedisTrainCache:
    cache = open_cache(address)
    cache.open_as_advisor()
    return cache


def take(cache: RedisTrainCache, most: int = 64) -> list[str]:
    """The ids of the workers whose hellos come now, without acknowledging them."""
    return [r.event.worker_id for r in cache.take_events(NO_WAIT_S, most=most) if isinstance(r.event, Hello)]


def hello(cache: RedisTrainCache, *worker_ids: str) -> None:
    for worker_id in worker_ids:
        cache.send_event(Hello(worker_id))


def in_thread(action: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(action()))
    thread.start()
    return thread, found


@pytest.mark.parametrize(
    "event",
    [
        Hello("w"),
        TrialProgress("w", [LOG]),
        TrialDone("w", "t", 2, 0.1 + 0.2, "p", [LOG]),
        TrialFailed("w", "t", 1, "it broke", []),
        WorkerLost("w", "killed"),
        StopRequested(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_event_arrives_as_it_was_sent(shared: OwnCache, event: Any) -> None:
    cache = opened(shared.new_job())
    cache.send_event(event)
    assert [r.event for r in cache.take_events(NO_WAIT_S)] == [event]


@pytest.mark.parametrize("order", [TrainOrder("t", 3, 2, {"lr": 1e-3, "kind": "a", "on": True}), EndOrder()])
def test_an_order_reaches_its_worker_alone(shared: OwnCache, order: Any) -> None:
    cache = opened(shared.new_job())
    cache.acknowledge([], [("w1", order)])
    assert cache.take_order("w2", 0.01) is None
    assert cache.take_order("w1", 0.01) == order
    assert cache.take_order("w1", 0.01) is None


def test_events_come_oldest_first_and_not_more_than_asked_for(shared: OwnCache) -> None:
    cache = opened(shared.new_job())
    names = [f"w{i}" for i in range(10)]
    hello(cache, *names)
    assert take(cache, most=4) == names[:4]
    assert take(cache, most=100) == names[4:]


def test_what_a_killed_reader_had_not_acknowledged_comes_again_first_and_in_order(shared: OwnCache) -> None:
    job = shared.new_job()
    first = opened(job)
    hello(first, "a", "b", "c", "d")
    received = first.take_events(NO_WAIT_S)
    first.acknowledge(received[1:2], [])
    hello(first, "e")

    # An advisor that starts does not open the stream: it may be there.
    second = open_cache(job)
    assert take(second, most=2) == ["a", "c"]
    # Still not acknowledged, so still the same; and again for whoever comes after it.
    assert take(open_cache(job)) == ["a", "c", "d"]
    again = second.take_events(NO_WAIT_S)
    second.acknowledge(again, [])
    assert take(second) == ["e"]
    second.acknowledge([], [("w", EndOrder())])
    assert take(open_cache(job)) == ["e"]


def test_a_reader_that_failed_midway_gets_its_events_again_when_it_opens_again(shared: OwnCache) -> None:
    cache = opened(shared.new_job())
    hello(cache, "a")
    assert take(cache) == ["a"]
    assert take(cache) == []
    cache.open_as_advisor()
    assert take(cache) == ["a"]


def test_acknowledging_leaves_nothing_behind(shared: OwnCache) -> None:
    job = shared.new_job()
    cache = opened(job)
    hello(cache, *(f"w{i}" for i in range(100)))
    while received := cache.take_events(NO_WAIT_S, most=30):
        cache.acknowledge(received, [])
    assert shared.admin().xlen(f"{job.prefix}sub:events") == 0
    assert take(opened(job)) == []


def test_events_that_were_sent_before_any_advisor_came_are_not_lost(shared: OwnCache) -> None:
    job = shared.new_job()
    hello(open_cache(job), "early")
    assert take(open_cache(job)) == ["early"]


def test_sub_train_jobs_of_one_job_do_not_hear_each_other(shared: OwnCache) -> None:
    job = shared.new_job()
    one, other = RedisTrainCache(job, "sub1"), RedisTrainCache(job, "sub2")
    hello(one, "a")
    assert take(other) == []
    assert take(one) == ["a"]


def test_an_event_wakes_an_advisor_that_waits(shared: OwnCache) -> None:
    job = shared.new_job()
    thread, found = in_thread(lambda: opened(job).take_events(LONG_S))
    shared.wait_for_waiting()
    hello(open_cache(job), "a")
    thread.join()
    assert [r.event for r in found[0]] == [Hello("a")]


def test_an_order_wakes_a_worker_that_waits(shared: OwnCache) -> None:
    job = shared.new_job()
    thread, found = in_thread(lambda: open_cache(job).take_order("w", LONG_S))
    shared.wait_for_waiting()
    opened(job).acknowledge([], [("w", EndOrder())])
    thread.join()
    assert found == [EndOrder()]


@pytest.mark.parametrize("field", [b"e", b"other"])
def test_an_event_that_cannot_be_read_is_dropped_for_good(shared: OwnCache, field: bytes) -> None:
    job = shared.new_job()
    cache = opened(job)
    hello(cache, "a")
    shared.admin().xadd(f"{job.prefix}sub:events", {field: b"\xc1 no message"})
    hello(cache, "b")
    assert take(cache) == ["a", "b"]
    assert take(opened(job)) == ["a", "b"]
    assert shared.admin().xlen(f"{job.prefix}sub:events") == 2


def test_orders_of_a_worker_that_is_gone_are_forgotten(shared: OwnCache) -> None:
    cache = opened(shared.new_job())
    cache.acknowledge([], [("w", EndOrder())])
    cache.drop_worker("w")
    assert cache.take_order("w", 0.01) is None


def test_the_stream_goes_on_after_the_cache_was_emptied(shared: OwnCache) -> None:
    job = shared.new_job()
    cache = opened(job)
    hello(cache, "a")
    received = cache.take_events(NO_WAIT_S)
    shared.admin().delete(f"{job.prefix}sub:events")
    # The events are gone; acknowledging them is no error.
    cache.acknowledge(received, [("a", EndOrder())])
    assert cache.take_order("a", 0.01) == EndOrder()
    hello(cache, "b")
    assert take(cache) == ["b"]


def test_an_advisor_that_waits_while_the_cache_is_emptied_hears_what_comes_then(own: OwnCache) -> None:
    job = own.new_job()
    waiting = opened(job)
    thread, found = in_thread(lambda: waiting.take_events(LONG_S))
    own.wait_for_waiting()
    own.admin().flushall()
    hello(open_cache(job), "a")
    thread.join()
    assert [r.event for r in found[0]] == [Hello("a")]


def test_after_a_restart_orders_and_events_are_gone_and_all_flows_again(own: OwnCache) -> None:
    job = own.new_job()
    cache = opened(job)
    hello(cache, "a")
    cache.acknowledge([], [("w", EndOrder())])
    own.kill()
    with pytest.raises(CacheUnavailableError, match=rf"127\.0\.0\.1:{job.port} failed"):
        cache.take_events(NO_WAIT_S)
    with pytest.raises(CacheUnavailableError):
        hello(cache, "b")
    own.server.ensure()
    # Until the admin has made the job's user again, the server refuses.
    with pytest.raises(CacheUnavailableError):
        hello(cache, "c")
    own.grant_again(job)
    assert cache.take_order("w", 0.01) is None
    hello(cache, "d")
    assert take(cache) == ["d"]


def test_waiting_ends_with_a_clear_error_when_the_server_dies(own: OwnCache) -> None:
    job = own.new_job()

    def wait() -> str:
        with pytest.raises(CacheUnavailableError) as e:
            opened(job).take_order("w", LONG_S)
        return e.value.message

    thread, found = in_thread(wait)
    own.wait_for_waiting()
    own.kill()
    thread.join()
    assert str(job.port) in found[0]
