"""The stream of a train job. All who watch one share what was read of it, so each change is read once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from rafiki.admin.context import AdminContext
from rafiki.admin.events import RELOOK_S, EventHub, Source, encode_event
from rafiki.admin.operation import bind_stream
from rafiki.admin.ops.train_jobs import train_job_view
from rafiki.admin.ops.trials import trial_view
from rafiki.cache.changes import Change
from rafiki.constants import TrialStatus
from rafiki.contract.train_jobs import (
    WATCH_TRAIN_JOB,
    TrainJobChanged,
    TrainJobEnded,
    TrainJobRequest,
    TrainJobSnapshot,
    TrainJobView,
    TrialChanged,
)
from rafiki.entities import Trial, User
from rafiki.states import TRAIN_JOB_TRANSITIONS, is_final

_FEW_SAVED = 200
_MOST_FREED = 5000
"""In one look; the next one takes the others."""
_LIVE = (TrialStatus.PENDING, TrialStatus.RUNNING)


class _Known(msgspec.Struct):
    """What is known of the trials of one model."""

    last_no: int = 0
    live_ids: set[str] = msgspec.field(default_factory=set)
    saved_ids: set[str] = msgspec.field(default_factory=set)
    """Those with parameters, which the search may free."""


class TrainJobFeed:
    """How a train job stands, for all streams of it. Changes are numbered; a stream knows up to which it was told."""

    def __init__(self, context: AdminContext, job_id: str) -> None:
        self._context = context
        self._job_id = job_id
        self._lock = asyncio.Lock()
        self._looked_at = -RELOOK_S
        self._job_looked_at = -RELOOK_S
        self._models: dict[str, _Known] = {}
        self._job: bytes = b""
        self._job_change = 0
        self._trials: dict[str, bytes] = {}
        """By id, in the order in which they were first seen: their views as JSON."""
        self._trial_changes: OrderedDict[str, int] = OrderedDict()
        """By id, the latest change last."""
        self._snapshot: bytes | None = None
        self.last_change = 0
        self.is_over = False

    async def refresh(self, hub: EventHub) -> None:
        """Look at what may have changed, unless that was looked at since, for another stream."""
        async with self._lock:
            now = time.monotonic()
            # A little less, so that of many streams that look again at the same time one does.
            is_old = now - self._job_looked_at > 0.9 * RELOOK_S
            is_job_due = is_old or hub.noted_at(self._job_id, Change.JOB) >= self._job_looked_at
            if not is_job_due and hub.noted_at(self._job_id, Change.TRIALS) < self._looked_at:
                return
            job, trials = await hub.in_thread(self._look, is_job_due)
            self._take(job, trials)
            self._looked_at = now
            if is_job_due:
                self._job_looked_at = now

    def _look(self, is_job_due: bool) -> tuple[TrainJobView | None, list[Trial]]:
        # The job before its trials, so that a job seen as ended comes with all of them.
        job: TrainJobView | None = None
        store = self._context.store
        if is_job_due:
            job = train_job_view(self._context, store.train_jobs.get_train_job(self._job_id))
        sub_ids = [m.id for m in job.models] if job is not None else list(self._models)
        trials: list[Trial] = []
        for sub_id in sub_ids:
            known = self._models.get(sub_id) or _Known()
            may_have_changed = known.live_ids | self._freed(sub_id, known, is_job_due)
            trials += store.trials.list_new_trials(sub_id, after_no=known.last_no, live_ids=sorted(may_have_changed))
        return job, trials

    def _freed(self, sub_id: str, known: _Known, is_job_due: bool) -> set[str]:
        """Trials that have their parameters no more. Where many have them, that is looked at now and then only."""
        if not known.saved_ids or (len(known.saved_ids) > _FEW_SAVED and not is_job_due):
            return set()
        freed = known.saved_ids - self._context.store.trials.list_saved_trial_ids(sub_id)
        return set(sorted(freed)[:_MOST_FREED])

    def _take(self, job: TrainJobView | None, trials: list[Trial]) -> None:
        if job is not None:
            encoded = msgspec.json.encode(job)
            if encoded != self._job:
                self._job, self._job_change = encoded, self._next_change()
            for model in job.models:
                self._models.setdefault(model.id, _Known())
            self.is_over = is_final(TRAIN_JOB_TRANSITIONS, job.status)
        for trial in sorted(trials, key=lambda t: (t.datetime_started, t.no)):
            known = self._models[trial.sub_train_job_id]
            known.last_no = max(known.last_no, trial.no)
            (known.live_ids.add if trial.status in _LIVE else known.live_ids.discard)(trial.id)
            (known.saved_ids.add if trial.is_params_saved else known.saved_ids.discard)(trial.id)
            encoded = msgspec.json.encode(trial_view(trial))
            if self._trials.get(trial.id) != encoded:
                self._trials[trial.id] = encoded
                self._trial_changes[trial.id] = self._next_change()
                self._trial_changes.move_to_end(trial.id)

    def _next_change(self) -> int:
        self._snapshot = None
        self.last_change += 1
        return self.last_change

    def snapshot(self) -> bytes:
        """How the job stands, encoded."""
        if self._snapshot is None:
            trials = [msgspec.Raw(data) for data in self._trials.values()]
            event = TrainJobSnapshot(job=msgspec.Raw(self._job), trials=trials)  # type: ignore[arg-type]
            self._snapshot = encode_event(event)
        return self._snapshot

    def since(self, change: int) -> list[bytes]:
        """What has changed after ``change``, encoded: trials first, so that a job that has ended comes after them."""
        changed = []
        for trial_id, number in reversed(self._trial_changes.items()):
            if number <= change:
                break
            changed.append(trial_id)
        events = [
            encode_event(TrialChanged(trial=msgspec.Raw(self._trials[i])))  # type: ignore[arg-type]
            for i in reversed(changed)
        ]
        if self._job_change > change:
            events.append(encode_event(TrainJobChanged(job=msgspec.Raw(self._job))))  # type: ignore[arg-type]
        return events

    def end(self) -> bytes:
        return encode_event(TrainJobEnded(job=msgspec.Raw(self._job)))  # type: ignore[arg-type]


class TrainJobSource(Source):
    """One stream of a train job."""

    def __init__(self, context: AdminContext, job_id: str) -> None:
        self.topic = job_id
        self._context = context
        self._feed: TrainJobFeed | None = None
        self._told: int | None = None

    @contextlib.contextmanager
    def attached(self, hub: EventHub) -> Iterator[None]:
        with hub.share(f"train_job:{self.topic}", lambda: TrainJobFeed(self._context, self.topic)) as self._feed:
            yield

    async def read(self, hub: EventHub, changes: frozenset[Change]) -> list[bytes]:
        feed = self._feed
        assert feed is not None
        if changes & {Change.JOB, Change.TRIALS}:
            await feed.refresh(hub)
        events = [feed.snapshot()] if self._told is None else feed.since(self._told)
        self._told = feed.last_change
        if feed.is_over:
            self.is_over = True
            events.append(feed.end())
        return events


def watch_train_job(context: AdminContext, actor: User, request: TrainJobRequest) -> TrainJobSource:
    job = context.store.train_jobs.get_train_job_of_app(actor.id, request.app, request.app_version)
    return TrainJobSource(context, job.id)


OPERATIONS = [
    bind_stream(WATCH_TRAIN_JOB, watch_train_job),
]
