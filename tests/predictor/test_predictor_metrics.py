"""What a predictor exports for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from support.http.metrics import Scraped
from support.http.raw_http import check_refusal
from support.stacks.deployment import InferenceWorker, Predictor
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.contract.metrics import PREDICTOR_METRICS, PROCESS_METRICS
from rafiki.key_file import hash_key, write_keys
from rafiki.messages import MetricsAccess
from rafiki.worker import inference

TOKEN = "a-token-of-the-metrics"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack")
    yield server
    server.close()


def scrape(predictor: Predictor) -> Scraped:
    answer = predictor.request("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Scraped(answer.text)


def test_a_predictor_exports_what_became_of_requests_and_of_queries_at_each_member(
    cache: OwnCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_WAIT_S", 0.2)
    predictor = Predictor(cache.new_job(), ["t1", "t2"], app_version=3)
    job = predictor._spec.cache
    worker = InferenceWorker(job, "t1", lambda q: 1 / q)
    try:
        eventually(lambda: predictor.gather.absent == ["t2"], "the worker is known")
        assert predictor.post({"query": 1}).status_code == 200
        assert predictor.post({"queries": [1, 2]}).status_code == 200
        assert predictor.post({"query": 0}).status_code == 422
        assert predictor.post({"nothing": 1}).status_code == 400
        found = scrape(predictor)
        found.check_declared([*PREDICTOR_METRICS, *PROCESS_METRICS])
        labels = {"app": "digits", "version": "3"}
        of_t1, of_t2 = {"member": "t1", "model": "m", **labels}, {"member": "t2", "model": "m", **labels}
        requests = {code: found.value("rafiki_predictor_requests_total", code=code) for code in ("200", "400", "422")}
        assert requests == {"200": 2, "400": 1, "422": 1}
        assert found.value("rafiki_predictor_request_duration_seconds_count", **labels) == 2
        assert found.value("rafiki_predictor_request_duration_seconds_bucket", le="+Inf") == 2
        assert found.value("rafiki_predictor_request_duration_seconds_sum") > 0
        assert found.value("rafiki_predictor_queries_total", **labels) == 4
        of_results = {
            result: [found.value("rafiki_predictor_member_queries_total", result=result, **m) for m in (of_t1, of_t2)]
            for result in ("answered", "failed", "late", "absent", "shed")
        }
        assert of_results == {"answered": [3, 0], "failed": [1, 0], "late": [0, 0], "absent": [0, 4], "shed": [0, 0]}
        assert found.value("rafiki_predictor_batch_queries_sum", **of_t1) == 4
        assert found.value("rafiki_predictor_batch_duration_seconds_count", **of_t1) >= 3
        assert found.value("rafiki_predictor_batch_queries_count", **of_t2) == 0
        workers = [found.value("rafiki_predictor_member_workers", **m) for m in (of_t1, of_t2)]
        assert (workers, found.value("rafiki_predictor_ready"), found.value("rafiki_predictor_cache_up")) == (
            [1, 0], 1, 1,
        )  # fmt: skip
        worker.close()
        eventually(lambda: predictor.gather.absent == ["t1", "t2"], "no worker is left")
        # Nobody answers it, until its client has waited long enough.
        assert predictor.post({"query": 1, "timeout_ms": 200}).status_code == 503
        last = scrape(predictor)
        assert last.value("rafiki_predictor_member_queries_total", result="absent", **of_t1) == 1
        assert (last.value("rafiki_predictor_ready"), last.value("rafiki_predictor_waiting_queries", **of_t1)) == (0, 0)
    finally:
        predictor.close()


def test_a_query_that_its_member_answers_too_late_counts_as_late_and_one_that_waits_as_waiting(
    cache: OwnCache,
) -> None:
    from rafiki.cache.reports import RedisReports

    predictor = Predictor(cache.new_job(), ["t"])
    RedisReports(predictor._spec.cache).serve("t", "a worker that only says so", 60.0)
    try:
        eventually(lambda: not predictor.gather.absent, "the worker is known")
        asked = predictor.send({"query": 1, "timeout_ms": 2000})
        eventually(lambda: scrape(predictor).value("rafiki_predictor_waiting_queries") == 1, "the query waits")
        assert asked.result(60).status_code == 503
        found = scrape(predictor)
        assert found.value("rafiki_predictor_member_queries_total", result="late") == 1
        assert found.value("rafiki_predictor_member_queries_total", result="answered") == 0
        assert found.value("rafiki_predictor_waiting_queries") == 0
    finally:
        predictor.close()


def test_metrics_come_as_openmetrics_for_who_asks_for_these(cache: OwnCache) -> None:
    predictor = Predictor(cache.new_job(), ["t"])
    try:
        wanted = {"accept": "application/openmetrics-text; version=1.0.0"}
        answer = predictor.request("GET", "/metrics", headers=wanted)
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert answer.text.endswith("# EOF\n")
        assert {f.name for f in read_openmetrics(answer.text)} >= {m.name for m in PREDICTOR_METRICS}
    finally:
        predictor.close()


def test_metrics_take_a_key_where_queries_do_unless_they_have_a_token_or_are_public(
    cache: OwnCache, tmp_path: Path
) -> None:
    file, token_file = tmp_path / "keys.json", tmp_path / "token"
    write_keys(file, [hash_key(b"rk_1")])
    token_file.write_text(f"{TOKEN}\n")
    with_token = MetricsAccess(token_file=str(token_file))

    def statuses(key_file: Path | None, access: MetricsAccess) -> list[int]:
        predictor = Predictor(cache.new_job(), ["t"], key_file=key_file, metrics=access)
        try:
            answers = [
                predictor.request("GET", "/metrics", headers={"authorization": f"Bearer {said}"} if said else {})
                for said in ("", "rk_1", TOKEN)
            ]
        finally:
            predictor.close()
        for refused in (a for a in answers if a.status_code != 200):
            check_refusal(refused, "UnauthorizedError", 401)
        return [a.status_code for a in answers]

    assert statuses(None, MetricsAccess()) == [200, 200, 200]
    assert statuses(file, MetricsAccess()) == [401, 200, 401]
    assert statuses(file, with_token) == [401, 401, 200]
    assert statuses(None, with_token) == [401, 401, 200]
    assert statuses(file, MetricsAccess(token_file=str(token_file), is_public=True)) == [200, 200, 200]
    token_file.unlink()
    assert statuses(None, with_token) == [401, 401, 401]
