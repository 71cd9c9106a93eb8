"""What every server is to `python -m benchmarks.serving`, and Rafiki as one of them."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from benchmarks.bench_stack import BenchError
from benchmarks.datasets import number_queries, train_images, train_numbers
from benchmarks.serving import environment, measure
from benchmarks.serving.__main__ import PEERS
from benchmarks.serving.generator import load_server
from benchmarks.serving.measure import Rounds, Sizes
from benchmarks.serving.peer import Peer, Running, Setting, memory_mb
from benchmarks.serving.rafiki import Rafiki
from benchmarks.serving.rows import MODELS, loads_of
from benchmarks.serving.servers.served import VARIABLE, Config, Served, read_config

ONE = Setting("one")
TINY = Sizes(n_rounds=2, warm_up_s=0.1, load_s=0.1)


class EchoServer(Running):
    """Answers each query with itself; ``spoilt`` ones with something else."""

    path = "/predict"

    def __init__(self, spoilt=()):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                query = json.loads(self.rfile.read(int(self.headers["content-length"])))["query"]
                body = json.dumps({"prediction": [0.5] if query in spoilt else query}).encode()
                self.send_response(503 if query == [503.0] else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer((self.host, 0), Handler)
        self.port = self._server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def front(self):
        return [psutil.Process()]

    def models(self):
        return []

    def others(self):
        return []


def test_wrong_answers_are_found_before_anything_is_measured():
    queries = [[1.0, 2.0], [3.0, 4.0]]
    with EchoServer() as server:
        server.check(queries, queries)
        with pytest.raises(BenchError, match="status 503"):
            server.ask([503.0])
    with EchoServer(spoilt=[[3.0, 4.0]]) as server, pytest.raises(BenchError, match=r"query 1: .* is right"):
        server.check(queries, queries)


class PaperPeer(Peer):
    settings = (ONE, Setting("two", 32, 1.0))
    common = ONE

    def __init__(self, name, fails=False):
        self.name, self._fails = name, fails

    def find_missing(self):
        return None

    def version(self):
        return "1"

    @contextlib.contextmanager
    def serve(self, model, setting):
        if self._fails:
            raise BenchError("it does not start")
        yield None


def test_rounds_go_through_all_peers_and_settings_in_turn_and_a_failing_peer_spoils_nobody_else(monkeypatch):
    def measured(self, peer, setting, model):
        with peer.serve(model, setting):
            yield model, 1.0

    monkeypatch.setattr(measure.Rounds, "_measure", measured)
    rounds = Rounds([PaperPeer("a"), PaperPeer("b", fails=True), PaperPeer("c")], TINY)
    seen = list(rounds.run())
    turns = [(o.round, o.peer, o.setting) for o in seen if o.row == MODELS[0]]
    assert turns == [(no, peer, setting) for no in (1, 2) for peer in "ac" for setting in ("one", "two")]
    assert set(rounds.problems) == {"b"}
    quick = Rounds([PaperPeer("a")], TINY._replace(is_common_only=True)).run()
    assert {o.setting for o in quick} == {ONE.name}
    assert "it does not start" in rounds.problems["b"]


def test_every_peer_has_a_common_setting_among_those_measured_and_its_versions_pinned():
    for name, make in PEERS.items():
        peer = make()
        assert peer.name == name
        assert peer.common in peer.settings
        assert peer.version()


def test_a_peer_that_pip_cannot_install_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(environment.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(environment.venv, "create", lambda folder, **_: folder.mkdir(parents=True, exist_ok=True))
    made = environment.Environment("mosec", ["mosec"])
    assert "cannot be made" in made.find_missing()
    python = made.python
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho 'ERROR: No matching distribution' >&2\nexit 1\n")
    python.chmod(0o755)
    assert made.find_missing() == "pip cannot install it: ERROR: No matching distribution"
    python.write_text("#!/bin/sh\nexit 0\n")
    assert made.find_missing() is None
    # It is there now, and pip is not asked again.
    python.unlink()
    assert made.find_missing() is None


@pytest.mark.parametrize("model", MODELS)
def test_all_serve_the_same_estimator(model, tmp_path, monkeypatch):
    features, classes = train_images() if model == "images" else train_numbers()
    np.savez(tmp_path / "data.npz", features=features, classes=classes)
    (tmp_path / "pids").mkdir()
    config = Config(1, model, str(tmp_path / "data.npz"), 1, 0.0, str(tmp_path / "pids"))
    monkeypatch.setenv(VARIABLE, msgspec.json.encode(config).decode())
    served = Served(read_config())
    queries = measure.queries_of(model).queries[:4]
    assert served.predict(queries) == Rounds([], TINY).expected(model)[:4]
    assert [int(file.name) for file in Path(config.pids).iterdir()] == [psutil.Process().pid]


def test_rafiki_is_measured_as_a_peer():
    peer, queries = Rafiki(), number_queries()
    try:
        with peer.serve("tree", peer.common) as server:
            server.check(queries.queries, Rounds([], TINY).expected("tree"))
            (one, _) = loads_of("tree")
            bodies = [server.body_of(query) for query in queries.queries]
            load = load_server(
                server.host, server.port, server.path, bodies, n_clients=one.n_clients, warm_up_s=0.1, duration_s=1.0
            )
            assert load.n_failed == 0
            assert load.requests_per_s > 0
            assert len(server.models()) == len(server.front()) == 1
            assert memory_mb(server.front()) > 1
    finally:
        peer.close()
