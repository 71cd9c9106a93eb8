"""Whether a predictor lives and can do its work, as it says itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.stacks.deployment import InferenceWorker, Predictor
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.worker import inference


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack")
    yield server
    server.close()


def test_a_predictor_is_ready_while_one_member_has_a_worker_and_the_cache_works(
    cache: OwnCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_WAIT_S", 0.2)
    predictor = Predictor(cache.new_job(), ["t1", "t2"])

    def is_ready() -> bool:
        return predictor.request("GET", "/readyz").status_code == 200

    try:
        nobody = predictor.request("GET", "/readyz")
        assert (nobody.status_code, nobody.json()["status"], nobody.json()["members"]) == (
            503, "not ready", {"t1": 0, "t2": 0},
        )  # fmt: skip
        assert "worker" in nobody.json()["reason"]
        worker = InferenceWorker(predictor._spec.cache, "t1", lambda q: q)
        eventually(is_ready, "it is ready")
        assert predictor.request("GET", "/readyz").json() == {"status": "ready", "members": {"t1": 1, "t2": 0}}
        worker.close()
        eventually(lambda: not is_ready(), "it is not ready without a worker")
        other = InferenceWorker(predictor._spec.cache, "t2", lambda q: q)
        eventually(is_ready, "it is ready again")
        cache.kill()
        eventually(lambda: not is_ready(), "it is not ready without a cache")
        assert "cache" in predictor.request("GET", "/readyz").json()["reason"]
        assert predictor.request("GET", "/healthz").json() == {"status": "ok"}
        cache.server.ensure()
        cache.grant_again(predictor._spec.cache)
        # Nobody asks it anything meanwhile: a balancer sends nothing to who is not ready.
        eventually(is_ready, "it is ready when the cache is back")
        other.close()
        predictor.is_ending.set()
        assert "ending" in predictor.request("GET", "/readyz").json()["reason"]
    finally:
        predictor.close()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_take_head_and_say_what_they_take(cache: OwnCache, path: str) -> None:
    predictor = Predictor(cache.new_job(), ["t"])
    try:
        got, asked = predictor.request("GET", path), predictor.request("OPTIONS", path)
        assert predictor.request("HEAD", path).status_code == got.status_code
        assert got.headers["content-type"] == "application/json"
        assert (asked.status_code, asked.headers["allow"], asked.content) == (204, "GET, HEAD, OPTIONS", b"")
        refused = predictor.request("POST", path)
        assert (refused.status_code, refused.json()["error"]) == (405, "MethodNotAllowedError")
    finally:
        predictor.close()
