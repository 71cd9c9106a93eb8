"""The direct way between a predictor and workers of its host, beside the way through the cache."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.stacks.deployment import InferenceWorker, Predictor
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki import direct_way
from rafiki.cache.reports import RedisReports
from rafiki.direct_way import (
    MOST_FRAME_BYTES,
    BrokenFrameError,
    FrameReader,
    Hello,
    Turn,
    decode_queries,
    frame,
    frames_of_turn,
    pieces_of,
    socket_of,
    sockets_in,
)
from rafiki.errors import CacheUnavailableError
from rafiki.messages import CacheAddress, Query, Reply
from rafiki.predictor import direct
from rafiki.utils.sockets import connect_at, listen_at
from rafiki.worker import inference, ways


class FakeWorker:
    """Speaks the direct way as the test wants."""

    def __init__(self, folder: Path, trial_id: str = "t", name: str = "fake") -> None:
        (path,) = eventually(lambda: sockets_in(folder), "a predictor that listens")
        self.socket = connect_at(path, 60.0)
        self._reader = FrameReader()
        self._n_seen = 0
        self.say(frame(Hello(trial_id, name)))

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def take(self, n: int) -> list[Query]:
        """The next ``n`` queries."""
        found: list[Query] = []
        while len(found) < n:
            data = self.socket.recv(1 << 16)
            assert data, "the predictor has ended the connection"
            contents = self._reader.feed(data)
            self._n_seen += len(contents)
            found += [q for content in contents for q in decode_queries(content)]
        return found

    def answer(self, *queries: Query, wants: int = 0) -> None:
        self.say(frame(Turn(wants, self._n_seen, [Reply(q.query_id, "ok", q.query) for q in queries])))

    def is_refused(self) -> bool:
        try:
            return self.socket.recv(1 << 16) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


class Deployment:
    """One inference job on one host."""

    def __init__(self, server: OwnCache, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.job: CacheAddress = server.new_job()
        self.closers: list[Callable[[], None]] = []

    def predictor(self, *trial_ids: str, **settings: Any) -> Predictor:
        made = Predictor(self.job, list(trial_ids or ["t"]), direct_folder=self.folder, **settings)
        self.closers.append(made.close)
        return made

    def worker(self, rule: Callable[[Any], Any], trial_id: str = "t", *, is_direct: bool = True) -> InferenceWorker:
        made = InferenceWorker(self.job, trial_id, rule, direct_folder=self.folder if is_direct else None)
        self.closers.append(made.close)
        return made

    def fake(self, trial_id: str = "t", name: str = "fake") -> FakeWorker:
        made = FakeWorker(self.folder, trial_id, name)
        self.closers.append(made.close)
        return made

    def n_sent_by_cache(self) -> int:
        """So many queries and replies were put into the cache since its start."""
        return int(self.server.admin().info("commandstats").get("cmdstat_rpush", {"calls": 0})["calls"])

    def close(self) -> None:
        for close in reversed(self.closers):
            close()


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setattr(inference, "_WAIT_S", 0.2)
    monkeypatch.setattr(ways, "_CACHE_WAIT_S", 0.2)
    server = OwnCache(tmp_path / "stack")
    made = Deployment(server, tmp_path / "direct")
    yield made
    made.close()
    server.close()


def wait_until_open(predictor: Predictor, n_workers: int = 1, column: int = 0) -> None:
    """Until so many workers are connected, and all that serve are."""
    member = predictor.gather._direct[column]
    eventually(lambda: len(member._workers) == n_workers and member.is_open, "workers on the direct way")


def test_queries_and_replies_pass_the_cache_by(deployment: Deployment) -> None:
    predictor = deployment.predictor("t", "u")
    deployment.worker(lambda q: q + 1)
    deployment.worker(lambda q: q + 1, "u")
    wait_until_open(predictor, column=0)
    wait_until_open(predictor, column=1)
    eventually(lambda: not predictor.gather.absent, "members to be seen")
    before = deployment.n_sent_by_cache()
    assert predictor.post({"queries": list(range(50))}).json()["predictions"] == list(range(1, 51))
    sent = [predictor.send({"query": i}) for i in range(40)]
    assert [s.result(60).json()["prediction"] for s in sent] == list(range(1, 41))
    assert deployment.n_sent_by_cache() == before


def test_who_is_connected_is_served_while_the_cache_is_away(deployment: Deployment) -> None:
    predictor = deployment.predictor()
    deployment.worker(lambda q: q * 2)
    wait_until_open(predictor)
    deployment.server.kill()
    for i in range(5):
        assert predictor.post({"query": i}).json()["prediction"] == 2 * i
    deployment.server.server.ensure()
    deployment.server.grant_again(deployment.job)
    assert predictor.post({"query": 7}).json()["prediction"] == 14


def test_a_worker_finds_a_predictor_that_began_after_it(deployment: Deployment) -> None:
    deployment.worker(lambda q: q + 1)
    for _ in range(2):
        predictor = deployment.predictor()
        # Through the cache, which names the predictor.
        assert predictor.post({"query": 1}).json()["prediction"] == 2
        wait_until_open(predictor)
        assert predictor.post({"query": 2}).json()["prediction"] == 3


def test_a_worker_that_is_busy_keeps_no_query_from_one_that_is_free(deployment: Deployment) -> None:
    predictor = deployment.predictor()
    gate, begun = threading.Event(), threading.Event()

    def rule(query: Any) -> Any:
        if query == "held":
            begun.set()
            gate.wait(60)
        return query

    deployment.worker(rule)
    deployment.worker(rule)
    wait_until_open(predictor, 2)
    held = predictor.send({"query": "held"})
    begun.wait(60)
    for i in range(30):
        assert predictor.post({"query": i}).json()["prediction"] == i
    gate.set()
    assert held.result(60).json()["prediction"] == "held"


def test_workers_that_wait_share_what_comes(deployment: Deployment) -> None:
    predictor = deployment.predictor()
    one, two = deployment.fake(name="one"), deployment.fake(name="two")
    wait_until_open(predictor, 2)
    for worker in (one, two):
        worker.say(frame(Turn(8)))
    member = predictor.gather._direct[0]
    eventually(lambda: all(w.wants for w in member._workers), "two that want something")
    sent = predictor.send({"queries": list(range(6))})
    for worker in (one, two):
        worker.answer(*worker.take(3))
    assert sent.result(60).json()["predictions"] == list(range(6))


def test_what_a_worker_wanted_before_it_got_something_is_void(deployment: Deployment) -> None:
    """Its word and the queries crossed: by then it is busy with these."""
    predictor = deployment.predictor()
    one, two = deployment.fake(name="one"), deployment.fake(name="two")
    wait_until_open(predictor, 2)
    member = predictor.gather._direct[0]
    one.say(frame(Turn(8)))
    eventually(lambda: any(w.wants for w in member._workers), "one that wants something")
    first = predictor.send({"query": "first"})
    (query,) = one.take(1)
    # As if it had waited in vain, and begun to wait again, just before that query came.
    one.say(frame(Turn(0)) + frame(Turn(8)) + frame(Turn(0, 1, [Reply(-1, "ok", b"0")])))
    second = predictor.send({"query": "second"})
    two.say(frame(Turn(8)))
    two.answer(*two.take(1))
    assert second.result(60).json()["prediction"] == "second"
    one.answer(query)
    assert first.result(60).json()["prediction"] == "first"


def test_what_a_worker_had_in_hand_when_it_died_goes_to_another_at_once(deployment: Deployment) -> None:
    predictor = deployment.predictor(deadline_s=600.0)
    dies = deployment.fake(name="dies")
    wait_until_open(predictor)
    sent = [predictor.send({"query": i}) for i in range(3)]
    dies.take(3)
    deployment.worker(lambda q: q + 10)
    wait_until_open(predictor, 2)
    dies.close()
    assert [s.result(60).json()["prediction"] for s in sent] == [10, 11, 12]


def test_what_the_last_worker_had_in_hand_waits_in_the_cache_for_the_next(deployment: Deployment) -> None:
    predictor = deployment.predictor(deadline_s=600.0)
    dies = deployment.fake()
    wait_until_open(predictor)
    sent = predictor.send({"queries": [1, 2]})
    dies.take(2)
    dies.close()
    eventually(lambda: not predictor.gather._direct[0]._workers, "the end of its connection")
    deployment.worker(lambda q: q + 1, is_direct=False)
    assert sent.result(60).json()["predictions"] == [2, 3]


def test_a_worker_that_is_reached_by_the_cache_alone_has_its_share(deployment: Deployment) -> None:
    """As one of another host."""
    predictor = deployment.predictor()
    deployment.worker(lambda q: q + 1)
    wait_until_open(predictor)
    RedisReports(deployment.job).serve("t", "elsewhere", 60.0)
    eventually(lambda: not predictor.gather._direct[0].is_open, "the other worker to be seen")
    assert predictor.post({"query": 1}).json()["prediction"] == 2
    assert deployment.n_sent_by_cache() > 0
    RedisReports(deployment.job).unserve("t", "elsewhere")
    wait_until_open(predictor)


def test_what_nobody_waits_for_any_more_takes_no_room_from_what_comes(deployment: Deployment) -> None:
    predictor = deployment.predictor()
    slow = deployment.fake()
    wait_until_open(predictor)
    # As many as it is given ahead.
    assert predictor.post({"queries": list(range(16)), "timeout_ms": 50}).status_code == 503
    sent = predictor.send({"query": "in time"})
    slow.answer(slow.take(17)[-1])
    assert sent.result(60).json()["prediction"] == "in time"


def test_a_new_worker_gets_what_one_holds_that_is_silent_for_too_long(deployment: Deployment) -> None:
    RedisReports(deployment.job).serve("t", "frozen", 0.5)
    predictor = deployment.predictor(deadline_s=600.0)
    frozen = deployment.fake(name="frozen")
    wait_until_open(predictor)
    sent = predictor.send({"query": 5})
    frozen.take(1)
    eventually(lambda: predictor.gather.absent, "the end of its time")
    deployment.worker(lambda q: q + 1)
    assert sent.result(60).json()["prediction"] == 6


def test_a_worker_that_is_never_announced_keeps_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_ANNOUNCED_WITHIN_S", 0.1)
    predictor = deployment.predictor(deadline_s=600.0)
    silent = deployment.fake(name="silent")
    wait_until_open(predictor)
    sent = predictor.send({"query": 5})
    silent.take(1)
    assert silent.is_refused()
    deployment.worker(lambda q: q + 1)
    assert sent.result(60).json()["prediction"] == 6


def test_all_comes_back_after_the_predictor_was_replaced_under_load(deployment: Deployment) -> None:
    deployment.worker(lambda q: q)
    deployment.worker(lambda q: q)
    for n in range(3):
        predictor = Predictor(deployment.job, ["t"], direct_folder=deployment.folder, deadline_s=60.0)
        sent = [predictor.send({"query": i}) for i in range(30)]
        assert [s.result(60).json()["prediction"] for s in sent] == list(range(30)), n
        predictor.close()
    assert sockets_in(deployment.folder) == []


GARBAGE = {
    "a frame that is too long": (MOST_FRAME_BYTES + 1).to_bytes(4, "little"),
    "no MessagePack": b"\x03\x00\x00\x00\xc1\xc1\xc1",
    "another message": frame(Turn(1)),
    "a member that there is not": frame(Hello("other", "w")),
    "no turn": frame(Hello("t", "w")) + b"\x01\x00\x00\x00\xc1",
    "an empty frame": b"\x00\x00\x00\x00",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_who_sends_garbage_is_refused_and_harms_no_other(deployment: Deployment, what: str) -> None:
    predictor = deployment.predictor()
    deployment.worker(lambda q: q)
    wait_until_open(predictor)
    (path,) = sockets_in(deployment.folder)
    stranger = connect_at(path, 60.0)
    stranger.sendall(GARBAGE[what])
    assert stranger.recv(1) == b""
    stranger.close()
    assert predictor.post({"query": 1}).json()["prediction"] == 1


def test_answers_that_nobody_asked_for_change_nothing(deployment: Deployment) -> None:
    predictor = deployment.predictor()
    fake = deployment.fake()
    wait_until_open(predictor)
    sent = predictor.send({"query": "mine"})
    (query,) = fake.take(1)
    fake.say(frame(Turn(-5, 3, [Reply(query.query_id + 1, "ok", b"0"), Reply(-1, "ok", b"0")])))
    fake.answer(query, query)
    assert sent.result(60).json()["prediction"] == "mine"


def test_what_is_too_large_for_a_frame_goes_through_the_cache(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "MOST_PAYLOAD_BYTES", 1000)
    monkeypatch.setattr(ways, "MOST_PAYLOAD_BYTES", 3000)
    predictor = deployment.predictor()
    deployment.worker(lambda q: q * 2)
    wait_until_open(predictor)
    for size in (10, 900, 1100, 1600):
        assert predictor.post({"query": "x" * size}).json()["prediction"] == "xx" * size
    assert deployment.n_sent_by_cache() >= 3


def test_large_queries_and_answers_arrive_as_they_were_sent(deployment: Deployment) -> None:
    predictor = deployment.predictor(max_body_mb=16)
    deployment.worker(lambda q: q)
    wait_until_open(predictor)
    queries = ["x" * n for n in (1, 70_000, 3 << 20, 5 << 20, 2)]
    assert predictor.post({"queries": queries}).json()["predictions"] == queries


def test_the_socket_is_for_its_owner_alone_and_those_of_killed_predictors_are_taken_away(
    deployment: Deployment,
) -> None:
    deployment.folder.mkdir(mode=0o700)
    for name, age_s in (("killed", 60), ("begins", 0)):
        listen_at(socket_of(deployment.folder, name)).close()
        at = time.time() - age_s
        os.utime(socket_of(deployment.folder, name), (at, at))
    predictor = deployment.predictor()
    path = socket_of(deployment.folder, predictor.service_id)
    eventually(lambda: {p.stem for p in sockets_in(deployment.folder)} == {"begins", path.stem}, "its socket")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(deployment.folder.stat().st_mode) == 0o700


def test_a_folder_with_a_long_path_does(deployment: Deployment) -> None:
    deployment.folder = deployment.folder / ("long" * 30) / "job"
    predictor = deployment.predictor()
    deployment.worker(lambda q: q)
    wait_until_open(predictor)
    assert predictor.post({"query": 1}).json()["prediction"] == 1


def test_a_predictor_that_cannot_listen_is_reached_through_the_cache(deployment: Deployment) -> None:
    deployment.folder.write_text("no folder")
    predictor = deployment.predictor()
    deployment.worker(lambda q: q)
    assert predictor.post({"query": 1}).json()["prediction"] == 1


@pytest.mark.parametrize("name", ["../../elsewhere", "", "a/b", "x" * 100, "none"])
def test_a_name_that_anybody_wrote_into_the_cache_leads_nowhere(deployment: Deployment, name: str) -> None:
    worker = deployment.worker(lambda q: q)
    outside = deployment.folder.parent / "elsewhere.sock"
    with listen_at(outside) as trap:
        trap.setblocking(False)
        reply_to = f"{deployment.job.prefix}replies:{name}"
        query = Query(reply_to, 1, 2_000_000_000_000, b"1")
        deployment.server.admin().rpush(f"{deployment.job.prefix}queries:t", direct_way._encoder.encode(query))
        eventually(lambda: deployment.server.admin().llen(reply_to), "its reply")
        with pytest.raises(BlockingIOError):
            trap.accept()
    assert worker


# ---- frames


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1000])
def test_frames_are_read_however_they_are_cut(size: int) -> None:
    queries = [Query("r", i, i, b"q" * (i * 37)) for i in range(20)]
    data = b"".join(frame([q]) for q in queries) + b"".join(pieces_of([Query("r", 1, 2, b"z" * 70_000), queries[3]]))
    reader, found = FrameReader(), list[Query]()
    for at in range(0, len(data), size):
        for content in reader.feed(data[at : at + size]):
            found += decode_queries(content)
    assert found == [*queries, Query("r", 1, 2, b"z" * 70_000), queries[3]]


def test_many_megabytes_of_replies_are_several_frames_and_the_last_says_what_is_wanted() -> None:
    replies = [Reply(i, "ok", b"x" * (3 << 20)) for i in range(4)]
    frames = frames_of_turn(7, 3, replies)
    turns = [direct_way.decode_turn(f[4:]) for f in frames]
    assert [r for turn in turns for r in turn.replies] == replies
    assert [(turn.wants, turn.seen) for turn in turns] == [(0, 3), (0, 3), (0, 3), (7, 3)]


@pytest.mark.parametrize("decode", [direct_way.decode_hello, direct_way.decode_turn, direct_way.decode_queries])
@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x91\xa1\xff", b"\x80"])
def test_what_is_no_message_is_a_broken_frame(decode: Callable[[bytes], object], content: bytes) -> None:
    with pytest.raises(BrokenFrameError):
        decode(content)


# ---- the worker's end


def test_a_worker_with_no_way_at_all_says_that_the_cache_is_away(deployment: Deployment) -> None:
    worker = deployment.worker(lambda q: q)
    queue = ways.QueryWays(worker._spec, deployment.folder)
    try:
        assert queue.exchange({}, most=8, timeout_s=0.01) == []
        deployment.server.kill()
        with pytest.raises(CacheUnavailableError):
            eventually(lambda: queue.exchange({}, most=8, timeout_s=0.05), "the failure")
    finally:
        queue.close()
        deployment.server.server.ensure()
        deployment.server.grant_again(deployment.job)


def test_a_worker_takes_no_more_at_once_than_its_batch_and_keeps_the_rest(deployment: Deployment) -> None:
    with listen_at_folder(deployment.folder) as listening:
        queue = ways.QueryWays(deployment.worker(lambda q: q, "other", is_direct=False)._spec, deployment.folder)
        assert queue.exchange({}, most=2, timeout_s=0.01) == []
        connected, _ = listening.accept()
        queries = [Query("r", i, ways.monotonic_ms() + 60_000, b"1") for i in range(5)]
        connected.sendall(frame(queries))
        taken = [queue.exchange({}, most=2, timeout_s=60.0) for _ in range(3)]
        assert taken == [queries[:2], queries[2:4], queries[4:]]
        queue.send({"r": [Reply(0, "ok", b"1")]})
        connected.close()
        queue.close()


def test_a_worker_says_at_once_that_it_takes_queries_and_takes_that_back_when_it_waits_no_more(
    deployment: Deployment,
) -> None:
    with listen_at_folder(deployment.folder) as listening:
        queue = ways.QueryWays(deployment.worker(lambda q: q, "other", is_direct=False)._spec, deployment.folder)
        assert queue.exchange({}, most=7, timeout_s=0.01) == []
        connected, _ = listening.accept()
        queue.close()
        reader, contents = FrameReader(), list[memoryview]()
        while data := connected.recv(1 << 16):
            contents += reader.feed(data)
        connected.close()
        assert direct_way.decode_hello(contents[0]).trial_id == "other"
        assert [direct_way.decode_turn(c).wants for c in contents[1:]] == [7, 0]


def listen_at_folder(folder: Path) -> socket.socket:
    folder.mkdir(mode=0o700)
    listening = listen_at(socket_of(folder, "p"))
    listening.settimeout(60.0)
    return listening


def test_queries_of_the_cache_have_their_deadlines_by_this_hosts_clock(deployment: Deployment) -> None:
    spec = deployment.worker(lambda q: q, "other", is_direct=False)._spec
    queue = ways.QueryWays(spec, deployment.folder)
    seconds, microseconds = deployment.server.admin().time()
    until_ms = seconds * 1000 + microseconds // 1000 + 30_000
    encoded = direct_way._encoder.encode(Query("r", 1, until_ms, b"1"))
    deployment.server.admin().rpush(f"{deployment.job.prefix}queries:other2", encoded)
    queue.close()
    queue = ways.QueryWays(msgspec.structs.replace(spec, trial_id="other2"), deployment.folder)
    (query,) = eventually(lambda: queue.exchange({}, most=8, timeout_s=1.0), "the query")
    assert 0 < query.deadline_ms - queue.now_ms <= 31_000
    queue.close()
