"""One trace of a request, from the predictor through each member's worker and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.stacks.deployment import InferenceWorker, Predictor
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.cache.inference import RedisWorkerQueue, _encoded
from rafiki.cache.reports import RedisReports
from rafiki.direct_way import decode_queries, pieces_of
from rafiki.messages import Query, Reply
from rafiki.predictor import tracing as tracing_module
from rafiki.predictor.span_export import SpanExport
from rafiki.predictor.tracing import Tracing
from rafiki.utils.traces import Span, new_span_id, parse_traceparent, unpack
from rafiki.worker import inference
from rafiki.worker.model_spans import open_model_spans
from rafiki.worker.tracing import WorkerTracing

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack")
    yield server
    server.close()


@pytest.fixture(scope="module")
def of_worker() -> WorkerTracing:
    """It sets the SDK of this process up, as a worker does once."""
    return WorkerTracing(open_model_spans())


class Traced:
    """A predictor whose spans stay here."""

    def __init__(self, cache: OwnCache, ratio: float, **settings: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._export = SpanExport(self._exporter, {"rafiki.app": "digits"})
        self.predictor = Predictor(cache.new_job(), ["t1", "t2"], tracing=Tracing(ratio, self._export), **settings)
        self.job = self.predictor._spec.cache
        self.closers: list[Callable[[], None]] = [self.predictor.close, self._export.close]

    def worker(self, trial_id: str, rule: Callable[[Any], Any], **settings: Any) -> None:
        made = InferenceWorker(self.job, trial_id, rule, **settings)
        self.closers.insert(0, made.close)

    def ask(self, body: bytes = b'{"query": 1}', **headers: str) -> int:
        return self.predictor.request("POST", "/predict", body, headers).status_code

    def spans(self) -> list[ReadableSpan]:
        self._export.flush()
        return list(self._exporter.get_finished_spans())

    def close(self) -> None:
        for close in self.closers:
            close()


@pytest.fixture
def traced(cache: OwnCache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Traced]]:
    monkeypatch.setattr(inference, "_WAIT_S", 0.2)
    made: list[Traced] = []

    def make(ratio: float = 1.0, **settings: Any) -> Traced:
        made.append(Traced(cache, ratio, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def tree(spans: list[ReadableSpan]) -> dict[str, list[str]]:
    """The names of the spans below each, by its name; a span of somebody else has its id as its name."""
    names = {span.context.span_id: f"{span.name}" for span in spans}
    found: dict[str, list[str]] = {}
    for span in spans:
        parent = None if span.parent is None else names.get(span.parent.span_id, f"{span.parent.span_id:016x}")
        found.setdefault(str(parent), []).append(span.name)
    return {parent: sorted(children) for parent, children in found.items()}


@pytest.mark.parametrize("way", ["cache", "direct"])
def test_a_trace_goes_from_the_callers_span_through_every_member_and_what_model_code_opens(
    traced: Callable[..., Traced], of_worker: WorkerTracing, way: str, tmp_path: Path
) -> None:
    direct: dict[str, Any] = {"direct_folder": tmp_path / "direct"} if way == "direct" else {}
    scene = traced(0.0, app_version=3, **direct)

    def rule(query: Any) -> Any:
        with otel.get_tracer("a model").start_as_current_span("look up") as span:
            span.set_attribute("rows", [1, 2])
        return query

    scene.worker("t1", rule, tracing=of_worker, **direct)
    scene.worker("t2", lambda q: q, tracing=WorkerTracing(None), **direct)
    eventually(lambda: not scene.predictor.gather.absent, "both workers are known")
    if direct:
        eventually(lambda: all(d.is_open for d in scene.predictor.gather._direct), "workers come in directly")
    assert scene.ask(b'{"query": 1}', **SAMPLED) == 200
    spans = scene.spans()
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}
    assert tree(spans) == {
        CALLER: ["POST /predict"],
        "POST /predict": ["ask m", "ask m"],
        "ask m": ["answer", "answer", "queue", "queue"],
        "answer": ["predict", "predict"],
        "predict": ["look up"],
    }
    [request] = [span for span in spans if span.name == "POST /predict"]
    assert request.kind is otel.SpanKind.SERVER
    told = {"http.response.status_code": 200, "rafiki.queries": 1, "rafiki.version": 3, "rafiki.inference_job": "ijob"}
    assert told.items() <= dict(request.attributes or {}).items()
    predicts = [span for span in spans if span.name == "predict"]
    assert [dict(span.attributes or {}) for span in predicts] == [{"rafiki.batch.size": 1}] * 2
    assert {span.resource.attributes["rafiki.member"] for span in predicts} == {"t1", "t2"}
    assert all("rafiki.batch.wait_ms" in (span.attributes or {}) for span in spans if span.name == "answer")
    assert all(span.end_time >= span.start_time for span in spans if span.end_time and span.start_time)


def test_who_says_that_nothing_is_traced_is_heeded_and_chance_decides_for_who_says_nothing(
    traced: Callable[..., Traced],
) -> None:
    always, never = traced(1.0), traced(0.0)
    for scene in (always, never):
        scene.worker("t1", lambda q: q, tracing=WorkerTracing(None))
        eventually(lambda scene=scene: scene.predictor.gather.absent == ["t2"], "the worker is known")
    assert always.ask(traceparent=f"00-{TRACE}-{CALLER}-00") == 200
    assert never.ask() == 200
    assert (always.spans(), never.spans()) == ([], [])
    assert always.ask(traceparent="no such thing") == 200
    roots = [span for span in always.spans() if span.parent is None]
    assert [span.name for span in roots] == ["POST /predict"]


def test_a_member_that_does_not_answer_and_a_request_without_an_answer_are_errors_of_their_spans(
    traced: Callable[..., Traced],
) -> None:
    scene = traced()
    RedisReports(scene.job).serve("t1", "a worker that only says so", 60.0)
    eventually(lambda: scene.predictor.gather.absent == ["t2"], "the worker is known")
    assert scene.ask(b'{"query": 1, "timeout_ms": 300}') == 503
    assert scene.ask(b"nothing") == 400
    assert scene.predictor.request("GET", "/").status_code == 200
    found = [(span.name, span.status.status_code.name, span.status.description) for span in scene.spans()]
    assert ("ask m", "ERROR", "It did not answer in time.") in found
    assert ("POST /predict", "ERROR", "HTTP status 503") in found
    assert ("POST /predict", "UNSET", None) in found


def test_a_worker_tells_of_its_own_traces_alone_and_of_few_spans(traced: Callable[..., Traced]) -> None:
    scene = traced()
    RedisReports(scene.job).serve("t1", "a worker that lies", 60.0)
    queue = RedisWorkerQueue(scene.job, "t1")
    eventually(lambda: scene.predictor.gather.absent == ["t2"], "the worker is known")
    asked = scene.predictor.send({"query": 1})
    [query] = eventually(lambda: queue.exchange({}, most=1, timeout_s=1.0), "a query")
    trace_id, parent_id = unpack(query.trace)

    def lie(trace_id: bytes) -> Span:
        return Span(name="lie", trace_id=trace_id, span_id=new_span_id(), parent_id=parent_id, start_ns=1, end_ns=2)

    unsound = [
        msgspec.structs.replace(lie(trace_id), **fields)
        for fields in (
            {"span_id": b"short"}, {"end_ns": 0}, {"end_ns": (1 << 63) + 1}, {"name": "x" * 5000}, {"links": [b"x"]},
            {"attributes": {"n": (1 << 64) - 1}}, {"attributes": {f"n{i}": 1 for i in range(500)}},
        )
    ]  # fmt: skip
    spans = [lie(b"x" * 16), *unsound, *[lie(trace_id)] * 200]
    queue.send({query.reply_to: [Reply(query.query_id, "ok", b"1", spans=spans)]})
    assert asked.result(60).status_code == 200
    lies = [span for span in scene.spans() if span.name == "lie"]
    assert len(lies) == tracing_module.MOST_SPANS - 1 - len(unsound)
    assert {span.context.trace_id.to_bytes(16, "big") for span in lies} == {trace_id}


def test_no_more_traces_begin_in_a_second_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module.time, "monotonic", lambda: 5.0)
    tracing = Tracing(1.0, SpanExport(InMemorySpanExporter(), {}))
    scope: Any = {"headers": [(b"traceparent", SAMPLED["traceparent"].encode())]}

    async def send(message: Any) -> None:
        pass

    begun = [tracing.begin(scope, send) is not send for _ in range(tracing_module._MOST_PER_S + 5)]
    assert sum(begun) == tracing_module._MOST_PER_S
    tracing.export.close()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{CALLER}-01", True),
        (f"00-{TRACE}-{CALLER}-00", False),
        (f"cc-{TRACE}-{CALLER}-01-what-will-be", True),
        (f"00-{TRACE}-{CALLER}-01-more", None),
        (f"ff-{TRACE}-{CALLER}-01", None),
        (f"00-{'0' * 32}-{CALLER}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{CALLER}-01", None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_the_recommendation_says(header: str, expected: bool | None) -> None:
    found = parse_traceparent(header.encode())
    assert (None if found is None else found.is_sampled) == expected
    if found is not None:
        assert (found.trace_id.hex(), found.span_id.hex()) == (TRACE, CALLER)


@pytest.mark.parametrize("trace", [b"", b"t" * 24], ids=["untraced", "traced"])
def test_large_queries_are_encoded_in_pieces_as_small_ones_are_in_one(trace: bytes) -> None:
    query = Query("replies", 7, 12345, b"1" * (5 << 20), trace)
    [encoded] = asyncio.run(_encoded([query]))
    assert bytes(encoded) == msgspec.msgpack.encode(query)
    content = b"".join(pieces_of([query]))[4:]
    assert decode_queries(content) == [query]
