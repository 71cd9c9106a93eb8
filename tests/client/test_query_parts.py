"""Batches of any size, sent in parts: the client against a predictor that is played."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rafiki.client import PredictorClient, predict
from rafiki.errors import (
    InvalidQueryError,
    NoPredictionError,
    PredictorBusyError,
    RafikiError,
    RequestTooLargeError,
    UnreachableError,
)


class PlayedPredictor:
    """Answers each query n with -n; ``refuse`` may refuse a part first."""

    def __init__(self) -> None:
        self.health: dict[str, Any] = {"name": "rafiki predictor", "members": ["t1"], "max_queries": 100}
        self.refuse: Callable[[list[Any]], RafikiError | None] = lambda queries: None
        self.left_out: Callable[[list[Any]], list[str]] = lambda queries: []
        self.parts: list[list[Any]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def _send(self, status: int, answer: dict[str, Any]) -> None:
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self._send(404 if "error" in outer.health else 200, outer.health)

            def do_POST(self) -> None:
                queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
                self._send(*outer.answer(queries))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, queries: list[Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.parts.append(queries)
            self._at_once += len(queries)
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if error := self.refuse(queries):
                return error.http_status, {"error": error.code, "message": error.message}
            found = {"prediction": None, "predictions": [-q for q in queries]}
            return 200, {**found, "left_out": left} if (left := self.left_out(queries)) else found
        finally:
            with self._lock:
                self._at_once -= len(queries)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def played() -> Iterator[PlayedPredictor]:
    running = PlayedPredictor()
    yield running
    running.close()


def minus(n: int) -> list[int]:
    return [-i for i in range(n)]


def test_a_batch_of_any_size_comes_back_in_its_order_and_no_part_is_larger_than_the_predictor_takes(
    played: PlayedPredictor,
) -> None:
    assert predict(played.host, queries=range(1200)) == {"prediction": None, "predictions": minus(1200)}
    assert sorted(q for part in played.parts for q in part) == list(range(1200))
    assert max(map(len, played.parts)) <= 100
    assert played.most_at_once <= 100


def test_several_parts_are_on_their_way_at_once(played: PlayedPredictor) -> None:
    meeting = threading.Barrier(2)

    def meet(queries: list[Any]) -> None:
        if queries[0] >= 32:
            # Each part waits for another one to be there.
            meeting.wait(60)

    played.refuse = meet  # type: ignore[assignment]
    with PredictorClient(played.host, timeout_s=100) as predictor:
        # Of the rest, an even number of parts.
        assert predictor.predict_many(range(32 + 8 * 25)) == minus(232)


def test_a_small_batch_is_one_request(played: PlayedPredictor) -> None:
    with PredictorClient(played.host) as predictor:
        assert predictor.predict_many(range(64)) == minus(64)
    assert len(played.parts) == 1


@pytest.mark.parametrize("told", [{"max_queries": 3}, {}])
def test_a_small_batch_that_is_too_much_is_sent_in_parts_too(played: PlayedPredictor, told: dict[str, int]) -> None:
    played.health = {"members": ["t1"], **told}
    error = PredictorBusyError if told else RequestTooLargeError
    played.refuse = lambda queries: error() if len(queries) > 3 else None
    with PredictorClient(played.host) as predictor:
        assert predictor.predict_many(range(20)) == minus(20)
    assert max(map(len, played.parts[1:])) <= (3 if told else 20)


def test_a_predictor_whose_health_nobody_passes_on_is_asked_in_parts_too(played: PlayedPredictor) -> None:
    played.health = {"error": "NotFoundError", "message": "no such page"}
    assert predict(played.host, queries=range(200))["predictions"] == minus(200)


@pytest.mark.parametrize("error", [PredictorBusyError, RequestTooLargeError, NoPredictionError])
def test_what_was_too_much_is_asked_for_again_in_smaller_parts(
    played: PlayedPredictor, error: type[RafikiError]
) -> None:
    played.health = {"members": ["t1"]}
    played.refuse = lambda queries: error() if len(queries) > 5 else None
    assert predict(played.host, queries=range(120), timeout_s=120)["predictions"] == minus(120)


def test_a_busy_predictor_is_asked_again_until_the_time_is_over(played: PlayedPredictor) -> None:
    n_refused = 0

    def refuse(queries: list[Any]) -> RafikiError | None:
        nonlocal n_refused
        n_refused += 1
        return PredictorBusyError("full") if n_refused <= 6 else None

    played.refuse = refuse
    assert predict(played.host, queries=range(100), timeout_s=120)["predictions"] == minus(100)
    played.refuse = lambda queries: PredictorBusyError("full") if 60 in queries else None
    with pytest.raises(UnreachableError, match=r"answered \d+ of 100 queries within 1 s; .*timeout_s.* said: full"):
        predict(played.host, queries=range(100), timeout_s=1)


def test_when_nobody_answers_it_says_so_after_one_query_more(played: PlayedPredictor) -> None:
    played.refuse = lambda queries: NoPredictionError("nobody")
    with pytest.raises(NoPredictionError, match="Query 0: nobody"):
        predict(played.host, queries=range(500), timeout_s=120)
    assert [len(part) for part in played.parts] == [32, 1]


def test_a_refused_query_is_named_by_its_place_in_the_whole_batch(played: PlayedPredictor) -> None:
    def refuse(queries: list[Any]) -> RafikiError | None:
        return InvalidQueryError(f"Query {queries.index(711)}: no number") if 711 in queries else None

    played.refuse = refuse
    with pytest.raises(InvalidQueryError, match=r"^Query 711: no number \(InvalidQueryError\)$"):
        predict(played.host, queries=range(1200))


def test_a_part_that_fails_as_a_whole_is_named_by_its_range(played: PlayedPredictor) -> None:
    played.refuse = lambda queries: InvalidQueryError("odd") if 500 in queries else None
    with pytest.raises(InvalidQueryError, match=r"Queries \d+ to \d+: odd") as caught:
        predict(played.host, queries=range(1200))
    first, last = (int(word) for word in caught.value.message.partition(":")[0].split() if word.isdecimal())
    assert first <= 500 <= last


def test_members_that_took_no_part_in_every_part_are_left_out_once(played: PlayedPredictor) -> None:
    played.left_out = lambda queries: ["t1", "t2"] if queries[0] == 0 else ["t2"]
    assert predict(played.host, queries=range(200))["left_out"] == ["t1", "t2"]


def test_a_part_holds_no_more_bytes_than_a_request_may_have(
    played: PlayedPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rafiki.client.query_parts._MOST_BYTES", 50)
    assert predict(played.host, queries=[10**9 + i for i in range(100)])["predictions"][99] == -(10**9 + 99)
    assert max(map(len, played.parts)) == 5


def test_a_predictor_that_is_none_is_told(played: PlayedPredictor) -> None:
    played.answer = lambda queries: (200, {"predictions": [1]})  # type: ignore[method-assign]
    with pytest.raises(UnreachableError, match="32 queries with 1 predictions"):
        predict(played.host, queries=range(100))
