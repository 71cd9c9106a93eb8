"""Waiting for the end of a train job, in programs and notebooks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping

from rafiki.client.http_server import WATCH_PATIENCE_S
from rafiki.client.live_line import LiveLine, State
from rafiki.client.plain_answers import Json
from rafiki.client.train_jobs import TrainJobCalls
from rafiki.client.watching import Watching
from rafiki.constants import BudgetOption, TrainJobStatus, TrialStatus
from rafiki.errors import InvalidTrainJobError
from rafiki.utils.clock import Deadline

_REDRAW_S = 1.0
_FOR_EVER_S = 10 * 365 * 86_400.0
"""Longer than any budget."""


class Waiting(TrainJobCalls, Watching):
    """Calls that end with what they wait for."""

    def wait_for_train_job(
        self, app: str, app_version: int = -1, *, timeout_s: float | None = None, is_quiet: bool = False
    ) -> Json:
        """Wait until one of your train jobs has ended, and tell how it goes: in a notebook in one place that changes,
        else on stderr.

        Args:
            timeout_s: the longest wait; None = until its budget is used. The job goes on after it.
            is_quiet: tell nothing.

        Returns:
            The job.

        Raises:
            InvalidTrainJobError: when it ended ``ERRORED``, with the reason.
            TimeoutError: when it still runs after ``timeout_s``.
            UnreachableError: when the admin is away for a minute.
        """
        stop = threading.Event()
        events = self.watch_train_job(app, app_version, patience_s=WATCH_PATIENCE_S, stop=stop)
        deadline = Deadline(_FOR_EVER_S if timeout_s is None else timeout_s)
        line, progress = LiveLine(is_quiet=is_quiet), _Progress()
        try:
            for event in _as_they_come(events, deadline):
                if event is not None:
                    progress.take(event)
                if progress.is_over():
                    break
                line.show(progress.state())
        except TimeoutError as e:
            raise TimeoutError(f"{progress.state()} after {deadline.duration_s:g} s; the job goes on.") from e
        finally:
            stop.set()
            line.show(progress.state(), is_last=True)
        if progress.job.get("status") == TrainJobStatus.ERRORED:
            reason = progress.job.get("error") or "its trials failed"
            raise InvalidTrainJobError(f"The train job {progress.name()} errored: {reason}").with_name()
        return progress.job


def _as_they_come(events: Iterator[Json], deadline: Deadline) -> Iterator[Json | None]:
    """The events of a stream; None whenever a second has passed without one.

    Raises:
        TimeoutError: when the deadline is over.
        RafikiError: that of the stream.
    """
    found: queue.SimpleQueue[Json | Exception | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for event in events:
                found.put(event)
        except Exception as e:  # noqa: BLE001 - handed over, and raised where it is waited
            found.put(e)
        found.put(None)

    # A daemon: who no longer waits does not wait for the stream's next word either.
    threading.Thread(target=read, name="watch", daemon=True).start()
    while not deadline.is_over():
        try:
            event = found.get(timeout=min(_REDRAW_S, deadline.left_s() + 0.01))
        except queue.Empty:
            yield None
            continue
        if isinstance(event, Exception):
            raise event
        if event is None:
            return
        yield event
    raise TimeoutError


class _Progress:
    """What is known of a train job that is waited for."""

    def __init__(self) -> None:
        self.job: Json = {}
        self._trials: dict[str, Json] = {}
        self._away = ""

    def take(self, event: Mapping[str, object]) -> None:
        kind = event.get("type")
        self._away = str(event.get("reason")) if kind == "away" else ""
        if kind == "snapshot":
            self._trials = {}
        if isinstance(job := event.get("job"), dict):
            self.job = job
        trials = event.get("trials")
        for trial in [event.get("trial"), *(trials if isinstance(trials, list) else [])]:
            if isinstance(trial, dict):
                self._trials[str(trial.get("id"))] = trial

    def is_over(self) -> bool:
        return self.job.get("status") in (TrainJobStatus.STOPPED, TrainJobStatus.ERRORED)

    def name(self) -> str:
        return f"{self.job.get('app')}/{self.job.get('app_version')}"

    def state(self) -> State:
        if not self.job:
            return State("Waiting for the admin")
        done = [t for t in self._trials.values() if t.get("status") in (TrialStatus.COMPLETED, TrialStatus.ERRORED)]
        n_all = self._n_trials()
        count = f"{len(done)} of {n_all} trials" if n_all else f"{len(done)} trial{'' if len(done) == 1 else 's'}"
        scored = [t for t in self._trials.values() if t.get("score") is not None]
        best = max(scored, key=lambda t: float(t["score"]), default=None)
        told = "" if best is None else f", best score {best['score']:.4g} ({best['model_name']}#{best['no']})"
        away = f"; {self._away}" if self._away else ""
        status = self.job.get("outcome") or self.job.get("status")
        part = 1.0 if self.is_over() else len(done) / n_all if n_all else None
        return State(f"{self.name()} {status}: {count}{told}{away}", part)

    def _n_trials(self) -> int | None:
        """How many trials the budget allows, over all models; None without a limit."""
        budget, models = self.job.get("budget"), self.job.get("models")
        each = budget.get(BudgetOption.MODEL_TRIAL_COUNT) if isinstance(budget, dict) else None
        if not isinstance(each, int) or each < 1 or not isinstance(models, list):
            return None
        return each * len(models)
