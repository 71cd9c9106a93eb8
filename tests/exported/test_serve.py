"""The server of an export, with an ensemble that a test makes up."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from rafiki.client import PredictorClient
from rafiki.errors import InvalidQueryError, error_types
from rafiki.exported.batches import Batches
from rafiki.exported.ensemble import Answer, Manifest
from rafiki.exported.serve import ExportServer
from rafiki.tasks.query_arrays import decode_value
from rafiki.tasks.registry import get_task

MANIFEST = Manifest(app="demo", app_version=1, task="CUSTOM", rafiki_version="9.8.7", members=[])


def echo(queries: Sequence[bytes]) -> list[Answer]:
    """Each query is its own prediction, but for "bad", and "half" loses a member."""
    return [
        Answer(error=InvalidQueryError("No such query."), left_out=["t1", "t2"])
        if q == b'"bad"'
        else Answer(prediction=q, left_out=["t2"] if q == b'"half"' else [])
        for q in queries
    ]


@contextmanager
def serving(answer: Callable[[Sequence[bytes]], list[Answer]], deadline_s: float = 30.0) -> Iterator[httpx.Client]:
    batches = Batches(answer)
    server = ExportServer(("127.0.0.1", 0), MANIFEST, batches, deadline_s=deadline_s, max_body_bytes=1 << 20)
    predicting = threading.Thread(target=batches.run)
    listening = threading.Thread(target=server.serve_forever, args=(0.02,))
    predicting.start()
    listening.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", timeout=60, trust_env=False) as client:
        yield client
    server.shutdown()
    server.server_close()
    batches.stop()
    predicting.join(60)
    listening.join(60)
    assert not predicting.is_alive()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with serving(echo) as client:
        yield client


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ('{"query": {"a": [1, 2.50]}}', '{"prediction":{"a": [1, 2.50]},"predictions":[]}'),
        ('{"queries": [1, "x"]}', '{"prediction":null,"predictions":[1,"x"]}'),
        ('{"query": null, "queries": [1]}', '{"prediction":null,"predictions":[1]}'),
        ('{"queries": []}', '{"prediction":null,"predictions":[]}'),
        (
            '{"query": "half"}',
            '{"prediction":"half","predictions":[],"left_out":["t2"],"left_out_reasons":{"t2":"failed"}}',
        ),
        (
            '{"queries": ["half", 1]}',
            '{"prediction":null,"predictions":["half",1],"left_out":["t2"],"left_out_reasons":{"t2":"failed"}}',
        ),
    ],
)
def test_predictions_have_the_form_of_a_predictors(http: httpx.Client, body: str, answer: str) -> None:
    found = http.post("/predict", content=body)
    assert (found.status_code, found.text) == (200, answer)
    assert found.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "body", "error", "says"),
    [
        ("POST", "/predict", b"{", "InvalidRequestError", "must be JSON of the form"),
        ("POST", "/predict", b"\xff", "InvalidRequestError", "must be JSON of the form"),
        ("POST", "/predict", b"{}", "InvalidRequestError", 'either "query" or "queries"'),
        ("POST", "/predict", b'{"query": 1, "queries": [1]}', "InvalidRequestError", 'either "query" or "queries"'),
        ("POST", "/predict", b'{"query": 1, "x": 1}', "InvalidRequestError", "must be JSON of the form"),
        ("POST", "/predict", b'{"query": 1, "timeout_ms": 0}', "InvalidRequestError", "above 0"),
        ("POST", "/predict", b'{"query": "bad"}', "InvalidQueryError", "No such query."),
        ("POST", "/predict", b'{"queries": [1, "bad"]}', "InvalidQueryError", "Query 1: No such query."),
        ("POST", "/predict", b" " * (1 << 21), "RequestTooLargeError", "--max-body-mb"),
        ("GET", "/predict", None, "MethodNotAllowedError", "POST"),
        ("POST", "/", b"{}", "MethodNotAllowedError", "GET"),
        ("GET", "/other", None, "NotFoundError", "/predict"),
        ("OPTIONS", "/", None, "InvalidRequestError", "no valid HTTP"),
    ],
)
def test_refusals_have_the_form_of_a_predictors(
    http: httpx.Client, method: str, path: str, body: bytes | None, error: str, says: str
) -> None:
    found = http.request(method, path, content=body)
    assert found.json()["error"] == error
    assert says in found.json()["message"]
    assert found.status_code == (501 if method == "OPTIONS" else error_types()[error].http_status)
    # And the next request is answered.
    assert http.get("/").json()["task"] == "CUSTOM"


def test_what_is_no_http_is_refused_and_the_server_goes_on(http: httpx.Client) -> None:
    with socket.create_connection((http.base_url.host, http.base_url.port or 0), timeout=30) as raw:
        raw.sendall(b"nonsense\r\n\r\n")
        assert b"InvalidRequestError" in raw.recv(4096)
    assert http.get("/").status_code == 200


def test_requests_that_wait_together_are_predicted_together() -> None:
    is_busy, may_go_on, sizes = threading.Event(), threading.Event(), []

    def slow(queries: Sequence[bytes]) -> list[Answer]:
        sizes.append(len(queries))
        is_busy.set()
        assert may_go_on.wait(60)
        return echo(queries)

    with serving(slow) as http:
        found: dict[int, str] = {}

        def ask(i: int) -> None:
            found[i] = http.post("/predict", json={"query": i}).text

        first = threading.Thread(target=ask, args=(0,))
        first.start()
        assert is_busy.wait(60)
        others = [threading.Thread(target=ask, args=(i,)) for i in range(1, 9)]
        for thread in others:
            thread.start()
        # All but the first wait by then, or come a moment later: nothing here depends on which.
        may_go_on.set()
        for thread in [first, *others]:
            thread.join(60)
    assert found == {i: f'{{"prediction":{i},"predictions":[]}}' for i in range(9)}
    assert (sizes[0], sum(sizes)) == (1, 9)


def test_a_prediction_that_takes_too_long_is_refused_in_time_and_the_server_goes_on() -> None:
    may_go_on = threading.Event()

    def stuck(queries: Sequence[bytes]) -> list[Answer]:
        assert may_go_on.wait(60)
        return echo(queries)

    with serving(stuck, deadline_s=30.0) as http:
        late = http.post("/predict", json={"query": 1, "timeout_ms": 50})
        assert (late.status_code, late.json()["error"]) == (503, "NoPredictionError")
        may_go_on.set()
        assert http.post("/predict", json={"query": 2}).json()["prediction"] == 2


def test_a_failure_of_the_ensemble_itself_fails_that_request_alone(caplog: pytest.LogCaptureFixture) -> None:
    def fails_once(queries: Sequence[bytes]) -> list[Answer]:
        if queries == [b"1"]:
            raise RuntimeError("a bug with a secret")
        return echo(queries)

    with serving(fails_once) as http:
        failed = http.post("/predict", json={"query": 1})
        assert (failed.status_code, failed.json()["error"]) == (500, "InternalError")
        assert "secret" not in failed.text
        assert http.post("/predict", json={"query": 2}).json()["prediction"] == 2
    assert "a bug with a secret" in caplog.text


def test_a_signal_that_wakes_another_thread_ends_it_too() -> None:
    batches = Batches(echo)
    is_over = threading.Event()
    is_lost: list[bool] = []

    def send() -> None:
        # The first answer: the other thread is about to wait, or waits.
        batches.ask([b"1"], 30.0)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        is_lost.append(not is_over.wait(60))
        batches.stop()

    before = signal.signal(signal.SIGTERM, lambda *_: batches.stop())
    sender = threading.Thread(target=send)
    try:
        sender.start()
        batches.run()
        is_over.set()
        sender.join(90)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert is_lost == [False]


def sums(queries: Sequence[bytes]) -> list[Answer]:
    return [Answer(prediction=json.dumps(float(np.sum(decode_value(get_task("X"), q)))).encode()) for q in queries]


def test_clients_send_arrays_as_their_bytes_and_get_what_json_gets() -> None:
    arrays = [np.arange(4, dtype=np.float32), np.ones(4, np.float32)]
    ragged = [np.arange(3), np.ones((2, 2))]
    with serving(sums) as http:
        host = f"127.0.0.1:{http.base_url.port}"
        for is_binary in (True, False):
            with PredictorClient(host, binary=is_binary) as client:
                assert client.predict(arrays[0]) == 6.0
                assert client.predict_many(arrays) == [6.0, 4.0]
                assert client.predict_many(ragged) == [3.0, 4.0]
                assert client.predict_many([arrays[0], [1, 2]]) == [6.0, 3.0]
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
        assert http.post("/v2/models/demo/infer", json=body).json()["outputs"][0]["data"] == [3.0]
        assert http.get("/v2/models/demo/ready").json() == {"name": "demo", "ready": True}
