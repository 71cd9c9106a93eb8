"""The benchmark of who answers under load: its generator is an open loop, and its tables hold what runs gave."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from benchmarks.scheduling.open_loop import OpenLoad, send
from benchmarks.scheduling.simulated import LEARNED, LOADS, POLICIES, Loads, Measured, Simulation, row_of
from benchmarks.scheduling.tables import Interval, apart, page
from rafiki.scheduling.simulator import Member

N = 20
FOUND = Measured(
    names=["slow", "quick"], weights=[0.5, 0.5], members=[Member(0.02, 0.002, most=32), Member(0.001, 0.0002, most=32)],
    front_s=0.0005, scores={1: 0.9, 2: 0.8, 3: 0.95}, validation_scores={1: 0.9, 2: 0.8, 3: 0.95}, together_per_s=300.0,
    alone_per_s=350.0,
)  # fmt: skip


class _Server(ThreadingHTTPServer):
    """Answers nobody before all queries are there; the last one gets no answer."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.all_came = threading.Barrier(N)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))["query"]
        self.server.all_came.wait(60)
        if query == N - 1:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        told = json.dumps({"prediction": query}).encode()
        self.send_response(429 if query == 0 else 200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_queries_are_sent_when_due_whatever_has_become_of_those_before(server: _Server) -> None:
    bodies = [json.dumps({"query": no}).encode() for no in range(N)]
    times_s = [0.0] * (N - 1) + [0.3]
    address = f"127.0.0.1:{server.server_address[1]}"
    sent = send(OpenLoad(addresses=[address], bodies=bodies, times_s=times_s))
    assert [a.status for a in sent.answers] == [429, *[200] * (N - 2), 0]
    assert [json.loads(a.body)["prediction"] for a in sent.answers[:-1]] == list(range(N - 1))
    # All of them waited for the last one, from when they were due.
    assert min(a.took_s for a in sent.answers) >= 0.3
    assert all(a.sent_late_s >= 0 for a in sent.answers)


def test_an_interval_is_that_of_students_t() -> None:
    assert Interval.of([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx((3.0, 2.7764 * 2.5**0.5 / 5**0.5), rel=1e-3)
    assert Interval.of([0.5]).text(".1%") == "50.0%"
    assert apart([{"x": 3.0}, {"x": 4.0}], [{"x": 1.0}, {"x": 2.0}], "x") == (2.0, 0.0)


def test_the_tables_hold_reality_and_simulation_of_each_policy_under_each_load() -> None:
    loads, simulation = Loads(FOUND, 2.0), Simulation(FOUND, 0.3)
    simulation.learn(loads, 1)
    times_s = {load: [loads.times_s(load, seed) for seed in range(2)] for load in LOADS}

    def rows(policy: str, load: str) -> list[dict[str, float]]:
        outcomes = [row_of(simulation.run(policy, times, seed)) for seed, times in enumerate(times_s[load])]
        return [row | {"sent_late_p99_s": 0.001} for row in outcomes]

    run = {load: {policy: rows(policy, load) for policy in (*POLICIES, LEARNED)} for load in LOADS}
    machine = {"cpu": "some", "n_cores": 2, "busy_percent": 3.0, "load_average": [0.1, 0.2, 0.3]}
    told = page({"real": run, "simulated": run, "runs": 2, "seconds": 2.0, "machine": machine}, FOUND)
    for load in LOADS:
        for policy in POLICIES:
            assert f"| {load}, {policy} | +0.00% ± 0.00% | +0.00 ± 0.00 |" in told
    assert told.count("| actor-critic | simulated |") == len(LOADS)
    assert msgspec.json.decode(msgspec.json.encode(FOUND), type=Measured) == FOUND
