"""The log of a running trial: kept until it has travelled, whatever model code writes and whenever the cache dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.cache.train import RedisTrainCache
from rafiki.entities import TrialLog
from rafiki.messages import CacheAddress, TrialProgress
from rafiki.worker import trial_log
from rafiki.worker.trial_log import TrialLogBuffer


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_log, "_FLUSH_S", 0.01)


def message(text: str) -> dict[str, Any]:
    return {"type": "MESSAGE", "time": "now", "message": text}


class Reader:
    """What has arrived at the advisor so far."""

    def __init__(self, job: CacheAddress) -> None:
        self._cache = RedisTrainCache(job, "sub")
        self.batches: list[list[TrialLog]] = []

    def lines(self) -> dict[tuple[str, int], dict[str, Any]]:
        for received in self._cache.take_events(0.01):
            assert isinstance(received.event, TrialProgress)
            self.batches.append(received.event.logs)
        return {(line.trial_id, line.line_no): line.entry for batch in self.batches for line in batch}

    def wait_for(self, condition: Callable[[dict[tuple[str, int], Any]], bool]) -> dict[tuple[str, int], Any]:
        found: dict[tuple[str, int], Any] = {}

        def look() -> bool:
            found.update(self.lines())
            return condition(found)

        eventually(look, "log lines")
        return found


def test_lines_travel_while_the_trial_runs_and_the_rest_with_its_result(cache: OwnCache) -> None:
    job = cache.new_job()
    log, reader = TrialLogBuffer(job, "sub", "w"), Reader(job)
    log.open("t1", 2)
    log.write(message("one"))
    reader.wait_for(lambda found: len(found) == 1)
    for text in ("two", "three"):
        log.write(message(text))
    rest = log.close()
    arrived = {**reader.lines(), **{(line.trial_id, line.line_no): line.entry for line in rest}}
    assert {no: entry["message"] for (_, no), entry in arrived.items()} == {1: "one", 2: "two", 3: "three"}
    assert {line.attempt for batch in [rest, *reader.batches] for line in batch} == {2}


def test_each_trial_has_its_own_lines_and_nothing_is_taken_between_trials(cache: OwnCache) -> None:
    log = TrialLogBuffer(cache.new_job(), "sub", "w")
    log.write(message("before"))
    for trial_id in ("t1", "t2"):
        log.open(trial_id, 1)
        log.write(message(trial_id))
        rest = log.close()
        assert [(line.trial_id, line.line_no, line.entry["message"]) for line in rest] in (
            [],
            [(trial_id, 1, trial_id)],
        )
        log.write(message("after"))
        assert log.close() == rest


def test_lines_from_many_threads_are_numbered_without_gaps(cache: OwnCache) -> None:
    job = cache.new_job()
    log, reader = TrialLogBuffer(job, "sub", "w"), Reader(job)
    log.open("t", 1)

    def write(name: int) -> None:
        for i in range(300):
            log.write(message(f"{name}/{i}"))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    found = reader.wait_for(lambda found: len(found) == 1200)
    assert sorted(no for _, no in found) == list(range(1, 1201))
    assert {e["message"] for e in found.values()} == {f"{n}/{i}" for n in range(4) for i in range(300)}


def test_a_long_log_travels_in_parts(cache: OwnCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_log, "_MOST_AT_ONCE", 10)
    job = cache.new_job()
    log, reader = TrialLogBuffer(job, "sub", "w"), Reader(job)
    log.open("t", 1)
    for i in range(35):
        log.write(message(str(i)))
    reader.wait_for(lambda found: len(found) == 35)
    assert max(len(batch) for batch in reader.batches) == 10


def test_what_is_too_much_is_dropped(cache: OwnCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_log, "_MOST_LINES", 5)
    job = cache.new_job()
    log, reader = TrialLogBuffer(job, "sub", "w"), Reader(job)
    log.open("t", 1)
    log.write(message("x" * 20_000))
    for i in range(9):
        log.write(message(str(i)))
    found = reader.wait_for(lambda found: len(found) == 5)
    assert found[("t", 1)]["message"] == "x" * 10_000 + " ... (cut)"
    assert [line.line_no for line in log.close() if line.line_no > 5] == []


@pytest.mark.parametrize(
    ("entry", "arrives"),
    [
        ({"message": "half \ud800 a pair"}, {"message": "half ? a pair"}),
        ({"metrics": {"\udc80": 0.5}}, {"metrics": {"?": 0.5}}),
        ({"message": "nul \0"}, {"message": "nul \0"}),
        (
            {"x_axis": np.str_("epoch"), "n": 2**80, "f": np.float64(0.5)},
            {"x_axis": "epoch", "n": str(2**80), "f": 0.5},
        ),
        ({"x_axis": None, "is": True, "metrics": ("a", "b")}, {"x_axis": None, "is": True, "metrics": ["a", "b"]}),
    ],
)
def test_whatever_model_code_writes_can_travel(cache: OwnCache, entry: dict[str, Any], arrives: dict[str, Any]) -> None:
    job = cache.new_job()
    log, reader = TrialLogBuffer(job, "sub", "w"), Reader(job)
    log.open("t", 1)
    log.write(entry)
    log.write(message("the thread lives"))
    assert reader.wait_for(lambda found: len(found) == 2)[("t", 1)] == arrives


def test_lines_that_were_written_while_the_cache_was_away_arrive_when_it_is_back(own_cache: OwnCache) -> None:
    job = own_cache.new_job()
    log = TrialLogBuffer(job, "sub", "w")
    log.open("t", 1)
    log.write(message("before"))
    Reader(job).wait_for(lambda found: len(found) == 1)
    own_cache.kill()
    log.write(message("away"))
    own_cache.server.ensure()
    own_cache.grant_again(job)
    log.write(message("back"))
    found = Reader(job).wait_for(lambda found: ("t", 3) in found)
    assert found[("t", 2)]["message"] == "away"


def test_asked_to_resend_it_sends_all_lines_of_the_trial(cache: OwnCache) -> None:
    job = cache.new_job()
    log, reader = TrialLogBuffer(job, "sub", "w"), Reader(job)
    log.open("t", 1)
    log.write(message("one"))
    reader.wait_for(lambda found: len(found) == 1)
    log.resend()
    log.write(message("two"))
    reader.wait_for(lambda found: len(found) == 2)
    assert [line.line_no for batch in reader.batches for line in batch].count(1) >= 2
