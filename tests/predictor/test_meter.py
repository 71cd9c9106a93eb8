"""What a predictor tells of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from support.stacks.deployment import InferenceWorker, Predictor
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.cache.changes import changes_channel, predictor_report_key, read_predictor_reports
from rafiki.cache.connection import connect
from rafiki.cache.inference import RedisPredictorQueues
from rafiki.cache.reports import RedisReportReader, reports_channel
from rafiki.messages import MemberReport, PredictorReport
from rafiki.predictor import meter as meter_module
from rafiki.predictor.meter import Meter, report_every_second
from rafiki.utils.histogram import quantile_s
from rafiki.worker import inference


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack")
    yield server
    server.close()


def test_a_reading_tells_the_last_second_all_requests_and_the_latencies_of_ten_readings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(meter_module.time, "monotonic", lambda: now[0])
    meter = Meter()
    for _ in range(30):
        meter.add(200, 0.010)
    for _ in range(10):
        meter.add(503, 5.0)
    now[0] += 2.0
    first = meter.read([])
    assert (first.no, first.requests, first.errors, first.requests_per_s, first.errors_per_s) == (1, 40, 10, 20.0, 5.0)
    # Errors took five seconds each, and say nothing of how long answers take.
    assert quantile_s(first.latencies, 0.99) == pytest.approx(0.010, rel=0.05)
    now[0] += 1.0
    second = meter.read([])
    assert (second.no, second.requests, second.requests_per_s) == (2, 40, 0.0)
    assert sum(second.latencies.values()) == 30
    for _ in range(9):
        now[0] += 1.0
        last = meter.read([])
    assert (last.requests, last.latencies) == (40, {})


def test_a_predictor_counts_predictions_refusals_and_what_waits(
    cache: OwnCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_WAIT_S", 0.2)
    predictor = Predictor(cache.new_job(), ["t1", "t2"], deadline_s=30.0)
    job = predictor._spec.cache
    worker = InferenceWorker(job, "t1", lambda q: q)
    try:
        eventually(lambda: predictor.gather.absent == ["t2"], "the worker is known")
        assert predictor.post({"query": 1}).status_code == 200
        assert predictor.post({"queries": [1, 2]}).status_code == 200
        assert predictor.post({"nothing": 1}).status_code == 400
        predictor.request("GET", "/")
        report = predictor.meter.read(predictor.gather.members())
        assert (report.requests, report.errors, sum(report.latencies.values())) == (3, 1, 2)
        seen = [(m.trial_id, m.workers, m.waiting, m.asked) for m in report.members]
        assert seen == [("t1", 1, 0, 3), ("t2", 0, 0, 3)]
        worker.close()
        eventually(lambda: predictor.gather.absent == ["t1", "t2"], "no worker is left")
        asked = predictor.send({"query": 1})
        eventually(lambda: predictor.gather.members()[0].waiting == 1, "the query waits")
        late = InferenceWorker(job, "t1", lambda q: q)
        other = InferenceWorker(job, "t2", lambda q: q)
        assert asked.result(60).status_code == 200
        late.close()
        other.close()
        assert [m.waiting for m in predictor.gather.members()] == [0, 0]
    finally:
        predictor.close()


def test_what_is_told_is_forgotten_when_it_is_not_told_again_and_wakes_who_watches(
    cache: OwnCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter_module, "INTERVAL_S", 0.05)
    job = cache.new_job()
    job_id = job.prefix.split(":")[1]
    heard: list[Any] = []

    async def run() -> None:
        queues, stopped, meter = RedisPredictorQueues(job, "p1"), asyncio.Event(), Meter()

        async def report() -> None:
            await queues.report(meter.read([MemberReport("t", 2, 1)]))

        with connect(job) as client, client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(changes_channel(job.prefix))
            # The confirmation: from then on notes are heard.
            channel.get_message(timeout=5.0)
            task = asyncio.create_task(report_every_second(report, stopped, asyncio.Event()))
            while not heard:
                await asyncio.sleep(0.02)
                if message := channel.get_message(timeout=0.01):
                    heard.append(message["data"])
            stopped.set()
            await task
            await queues.close()

    asyncio.run(asyncio.wait_for(run(), 60))
    assert heard == [b"figures"]
    found = read_predictor_reports(cache.address, [(job_id, "p1"), (job_id, "p2")])
    assert list(found) == ["p1"]
    assert found["p1"].members == [MemberReport("t", 2, 1)]
    with connect(job) as client:
        assert client.get(predictor_report_key(job.prefix, "p1"))
    with connect(cache.address) as client:
        assert 0 < client.pttl(predictor_report_key(job.prefix, "p1")) <= 5000
        client.set(predictor_report_key(job.prefix, "p1"), b"what model code wrote")
    assert read_predictor_reports(cache.address, [(job_id, "p1")]) == {}


def test_the_admin_is_woken_at_once_when_it_is_called_and_no_more_than_once_an_interval(
    cache: OwnCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter_module, "INTERVAL_S", 60.0)
    job = cache.new_job()
    heard: list[Any] = []

    async def run() -> None:
        queues, stopped, called = RedisPredictorQueues(job, "p1"), asyncio.Event(), asyncio.Event()

        async def report() -> None:
            await queues.report(Meter().read([]), wakes_admin=True)

        with connect(job) as client, client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(reports_channel(job.prefix))
            channel.get_message(timeout=5.0)
            task = asyncio.create_task(report_every_second(report, stopped, called))
            called.set()
            while not heard:
                await asyncio.sleep(0.02)
                if message := channel.get_message(timeout=0.01):
                    heard.append(message["data"])
            assert not called.is_set()
            called.set()
            await asyncio.sleep(0)
            assert not stopped.is_set()
            stopped.set()
            await task
            await queues.close()
            assert channel.get_message(timeout=0.05) is None

    asyncio.run(asyncio.wait_for(run(), 60))
    assert heard == [b"p1"]
    keeper = RedisReportReader(cache.address)
    job_id = job.prefix.split(":")[1]
    found, nothing = keeper.read_versions([(job_id, "p1"), (job_id, "p2")])
    assert found is not None and (found.no, nothing) == (1, None)
    assert keeper.read_versions([]) == []
    keeper.close()


def test_a_report_travels_as_json_that_reads_back() -> None:
    meter = Meter()
    meter.add(200, 0.003)
    report = meter.read([MemberReport("t", 1, 0)])
    assert msgspec.json.decode(msgspec.json.encode(report), type=PredictorReport) == report
