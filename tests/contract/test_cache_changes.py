"""Notes that something of a job has changed, over real servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.stores.own_cache import OwnCache, each_server

from rafiki.cache.changes import Change, RedisChanges, changes_channel, decode_reports
from rafiki.cache.connection import connect
from rafiki.cache.train import RedisTrainCache
from rafiki.errors import CacheUnavailableError
from rafiki.messages import CacheAddress, EndOrder, Hello

LONG_S = 20.0


@pytest.fixture(scope="module", params=each_server())
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack", request.param)
    yield server
    server.close()


def job_id_of(job: CacheAddress) -> str:
    return job.prefix.split(":")[1]


async def notes(changes: RedisChanges, count: int) -> list[tuple[str, Change]]:
    found: list[tuple[str, Change]] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            if note := await changes.take(LONG_S):
                found.append(note)
    return found


def test_acknowledging_tells_what_has_changed_of_which_job_and_nothing_unless_asked_to(shared: OwnCache) -> None:
    one, two = shared.new_job(), shared.new_job()

    async def run() -> list[tuple[str, Change]]:
        changes = RedisChanges(shared.address)
        await changes.open()
        cache = RedisTrainCache(one, "sub")
        cache.open_as_advisor()
        cache.send_event(Hello("w"))
        received = cache.take_events(LONG_S)
        cache.acknowledge(received, [("w", EndOrder())])
        cache.acknowledge([], [], None)
        cache.acknowledge([], [], Change.JOB)
        cache.send_event(Hello("w"))
        cache.acknowledge(cache.take_events(LONG_S), [], Change.TRIALS)
        other = RedisTrainCache(two, "sub")
        other.acknowledge([], [], Change.LOGS)
        found = await notes(changes, 3)
        await changes.close()
        return found

    assert asyncio.run(run()) == [
        (job_id_of(one), Change.JOB), (job_id_of(one), Change.TRIALS), (job_id_of(two), Change.LOGS),
    ]  # fmt: skip


def test_what_model_code_writes_on_its_channel_is_no_note(shared: OwnCache) -> None:
    job = shared.new_job()

    async def run() -> list[tuple[str, Change]]:
        changes = RedisChanges(shared.address)
        await changes.open()
        with connect(job) as client:
            for data in (b"", b"\xff", b"x" * 100_000, b"JOB", b"job"):
                client.publish(changes_channel(job.prefix), data)
        found = await notes(changes, 1)
        await changes.close()
        return found

    assert asyncio.run(run()) == [(job_id_of(job), Change.JOB)]


def test_a_listener_hears_that_the_server_is_gone_and_hears_again_once_it_is_back(tmp_path: Path) -> None:
    server = OwnCache(tmp_path / "stack")
    job = server.new_job()

    async def run() -> None:
        changes = RedisChanges(server.address)
        await changes.open()
        server.kill()
        with pytest.raises(CacheUnavailableError):
            while True:
                await changes.take(LONG_S)
        with pytest.raises(CacheUnavailableError):
            await changes.open()
        assert (await asyncio.wait_for(changes_read_is_refused(changes), 60)) is True
        server.server.ensure()
        server.grant_again(job)
        await changes.open()
        RedisTrainCache(job, "sub").acknowledge([], [], Change.TRIALS)
        assert await notes(changes, 1) == [(job_id_of(job), Change.TRIALS)]
        await changes.close()

    async def changes_read_is_refused(changes: RedisChanges) -> bool:
        try:
            await changes.read_predictor_reports("job", ["p"])
        except CacheUnavailableError:
            return True
        return False

    try:
        asyncio.run(run())
    finally:
        server.close()


REPORT = {
    "no": 1, "requests_per_s": 2.0, "errors_per_s": 0.0, "requests": 5, "errors": 0, "latencies": {"40": 5},
    "members": [["t", 1, 0]],
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"latencies": {"1000000": 1}}, {"latencies": {"-1": 1}}, {"latencies": {"3": -1}}, {"requests_per_s": 1e308},
        {"errors_per_s": -1.0}, {"requests": 10**18}, {"members": [["t", 1, -3]]},
        {"no": "one"},
    ],
    ids=str,
)  # fmt: skip
def test_figures_that_model_code_made_up_are_left_out(wrong: dict[str, Any]) -> None:
    data = [json.dumps(REPORT).encode(), json.dumps({**REPORT, **wrong}).encode(), b"\xff", b"", None]
    [report] = decode_reports(data)
    assert report.requests == 5
