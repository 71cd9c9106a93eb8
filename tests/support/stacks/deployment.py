"""A predictor in this process over a real cache, and inference workers in threads, for tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import httpx

from rafiki.cache.heartbeat import Heartbeat
from rafiki.messages import (
    CacheAddress,
    EnsembleMember,
    InferenceWorkerSpec,
    MetricsAccess,
    ModelSource,
    PredictorSpec,
)
from rafiki.predictor.app import PredictorApp
from rafiki.predictor.gather import Gather
from rafiki.predictor.meter import Meter
from rafiki.predictor.page_table import make_pages
from rafiki.predictor.tracing import Tracing
from rafiki.predictor.versions import Versions
from rafiki.store_location import StoreLocation
from rafiki.tasks.registry import get_task
from rafiki.utils.ids import new_id
from rafiki.utils.process import ServiceStopped, StopSignal
from rafiki.worker import inference
from rafiki.worker.tracing import WorkerTracing

T = TypeVar("T")


class Predictor:
    """The application in an event loop of its own thread; ``post`` waits for the response, ``send`` does not."""

    def __init__(
        self, job: CacheAddress, trial_ids: list[str], *, task: str = "CUSTOM", deadline_s: float = 20.0,
        max_waiting: int = 100, start_time_s: float = 0.0, weights: Sequence[float] | None = None,
        max_body_mb: int = 1, versions_file: Path | None = None, most_cached: int = 0,
        direct_folder: Path | None = None,
        app_version: int | None = None,
        key_file: Path | None = None, metrics: MetricsAccess = MetricsAccess(), tracing: Tracing | None = None,
    ) -> None:  # fmt: skip
        self._tracing = tracing
        self.is_ending = threading.Event()
        self._start_time_s = start_time_s
        members = [
            EnsembleMember(trial_id=t, model_name="m", score=0.5, weight=w)
            for t, w in zip(trial_ids, weights or [1.0] * len(trial_ids), strict=True)
        ]
        self._spec = PredictorSpec(
            service_id=new_id(), job_id="ijob", task=task, cache=job, host="", port=0, members=members,
            deadline_s=deadline_s, max_waiting=max_waiting, max_body_mb=max_body_mb, heartbeat_s=1.0,
            versions_file=None if versions_file is None else str(versions_file),
            most_cached=most_cached, direct_folder=None if direct_folder is None else str(direct_folder),
            key_file=None if key_file is None else str(key_file),
            batch_size=8, app="digits", app_version=app_version, metrics=metrics,
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._start())

    async def _start(self) -> None:
        self.versions = Versions(self._spec, start_time_s=self._start_time_s)
        pages = make_pages(self._spec, self.versions, self.is_ending.is_set)
        self._app = app = PredictorApp(self._spec, self.versions, pages, self._tracing)
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://predictor", timeout=60
        )

    @property
    def gather(self) -> Gather:
        return self.versions.primary.gather

    @property
    def meter(self) -> Meter:
        return self.versions.primary.meter

    def look(self) -> None:
        """See whether the file of versions has changed."""
        self._run(self.versions.look())

    def report(self) -> None:
        """Report how much each version serves."""
        self._run(self.versions.report())

    @property
    def service_id(self) -> str:
        return self._spec.service_id

    def _run(self, action: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(60)

    def send(self, body: Any) -> Future[httpx.Response]:
        return asyncio.run_coroutine_threadsafe(self._client.post("/predict", json=body), self._loop)

    def post(self, body: Any) -> httpx.Response:
        return self.send(body).result(60)

    def request(
        self, method: str, path: str, content: bytes | AsyncIterator[bytes] = b"", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return self._run(self._client.request(method, path, content=content, headers=headers))

    def close(self) -> None:
        self._run(self._client.aclose())
        self._run(self._app.close())
        self._run(self.versions.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class _Model:
    def __init__(self, rule: Callable[[Any], Any]) -> None:
        self._rule = rule

    def predict(self, queries: list[Any]) -> list[Any]:
        return [self._rule(q) for q in queries]


class InferenceWorker:
    """The real loop of an inference worker, with ``rule`` in place of a trained model."""

    def __init__(
        self, job: CacheAddress, trial_id: str, rule: Callable[[Any], Any], *, task: str = "CUSTOM",
        heartbeat_s: float = 0.1, direct_folder: Path | None = None, tracing: WorkerTracing | None = None,
    ) -> None:  # fmt: skip
        self._tracing = tracing
        self._spec = InferenceWorkerSpec(
            service_id=new_id(), job_id="ijob", cache=job, heartbeat_s=heartbeat_s, trial_id=trial_id, task=task,
            knobs={}, params=StoreLocation(url=""), params_id="", batch_size=8,
            direct_folder=None if direct_folder is None else str(direct_folder),
            model=ModelSource(file=b"", model_class="", name="model.py"),
        )  # fmt: skip
        self._predictor = inference.BatchPredictor(_Model(rule), get_task(task), "model.py")  # type: ignore[arg-type]
        self._stop = StopSignal()
        self._heartbeat = Heartbeat(job, self._spec.service_id, heartbeat_s)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._heartbeat.start(serves_trial=trial_id)
        self._thread.start()

    def _serve(self) -> None:
        try:
            inference.answer_queries(self._spec, self._predictor, self._stop, self._tracing)
        except ServiceStopped:
            return

    def close(self) -> None:
        """End in order; the worker's wait for queries must be short for this (see ``inference._WAIT_S``)."""
        # The signal raises only in the thread that it interrupts, and that is not this one.
        self._stop._event.set()
        self._thread.join(30)
        self._heartbeat.stop()
