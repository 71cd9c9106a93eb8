"""The cache on paper: what the supervisor asks of a CacheKeeper, and what services on paper do with it."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable

from benchmarks.scale.virtual_time import VirtualTime
from rafiki.messages import Order, PredictorReport, ServiceReport, TrainEvent

Stream = tuple[str, str]
"""Job, sub train job."""
TRAVEL_S = 0.001
"""Of a message, with what whoever waits for it does first."""


class PaperCache:
    """Safe by the virtual time: one thread runs at once."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self.calls: Counter[str] = Counter()
        """Round trips, by kind."""
        self.granted: set[str] = set()
        self.streams: defaultdict[Stream, deque[TrainEvent]] = defaultdict(deque)
        """Events that are not acknowledged yet."""
        self.readers: dict[Stream, Callable[[], None]] = {}
        self.orders: defaultdict[str, deque[Order]] = defaultdict(deque)
        """By worker."""
        self.takers: dict[str, Callable[[], None]] = {}
        self.last_sign_s: dict[str, float] = {}
        """When a service that no longer beats gave its last sign of life."""
        self.beating: set[str] = set()
        self.lifetime_s = 8.0
        self._listeners: list[Callable[[], None]] = []

    # ---- as the supervisor's CacheKeeper

    def ensure(self, live_job_ids: Iterable[str]) -> None:
        self.calls["ensure"] += 1
        self.granted |= set(live_job_ids)

    def grant(self, job_id: str) -> None:
        self.granted.add(job_id)

    def revoke_all_but(self, live_job_ids: Iterable[str]) -> None:
        ended = self.granted - set(live_job_ids)
        self.granted -= ended
        for stream in [s for s in self.streams if s[0] in ended]:
            del self.streams[stream]

    def read_reports(self, services: Iterable[tuple[str, str]]) -> dict[str, ServiceReport]:
        self.calls["reports"] += 1
        from rafiki import __version__

        report = ServiceReport(state="running", version=__version__)
        return {service_id: report for _, service_id in services if self.is_alive(service_id)}

    def read_predictor_reports(self, services: Iterable[tuple[str, str]]) -> dict[str, PredictorReport]:
        return {}

    def send_train_event(self, job_id: str, sub_train_job_id: str, *events: TrainEvent) -> None:
        for event in events:
            self.put_event((job_id, sub_train_job_id), event)

    def unserve(self, job_id: str, trial_id: str, service_id: str) -> None:
        self.calls["unserve"] += 1

    def on_report(self, callback: Callable[[], None]) -> None:
        self._listeners.append(callback)

    def shut_down(self) -> None:
        self.granted.clear()

    let_go = shut_down

    # ---- as services use it

    def is_alive(self, service_id: str) -> bool:
        last_s = self.last_sign_s.get(service_id)
        return service_id in self.beating or (last_s is not None and self._time.monotonic_s() < last_s)

    def announce(self, service_id: str) -> None:
        self.calls["announce"] += 1
        self.beating.add(service_id)
        for callback in self._listeners:
            callback()

    def go_silent(self, service_id: str) -> None:
        """Its last beat counts for a while."""
        if service_id in self.beating:
            self.beating.discard(service_id)
            self.last_sign_s[service_id] = self._time.monotonic_s() + self.lifetime_s

    def put_event(self, stream: Stream, event: TrainEvent) -> None:
        self.calls["event"] += 1
        self.streams[stream].append(event)
        if (wake := self.readers.get(stream)) is not None:
            self._time.call_later(TRAVEL_S, wake)

    def put_order(self, worker_id: str, order: Order) -> None:
        self.calls["order"] += 1
        self.orders[worker_id].append(order)
        if (wake := self.takers.get(worker_id)) is not None:
            self._time.call_later(TRAVEL_S, wake)
