"""Follows a train job until it ends: a live table on a terminal, one line a finished trial elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rafiki.client.records import Away
from rafiki.constants import ExitCode, TrainJobStatus, TrialStatus
from rafiki.contract.train_jobs import (
    SubTrainJobView,
    TrainJobChanged,
    TrainJobEnded,
    TrainJobEvent,
    TrainJobSnapshot,
    TrainJobView,
    TrialChanged,
    TrialView,
)
from rafiki.utils.clock import Deadline, utc_now
from rafiki_cli import terminal
from rafiki_cli.render import train_watch, values
from rafiki_cli.watch import streams

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient

Event = TrainJobEvent | Away
TICK_S = 0.5
"""The clocks of a live view go on though nothing happens."""


class JobFollower:
    """A train job and its trials as the admin's events tell them, also over a restart of the admin."""

    def __init__(self, client: AdminClient, app: str, version: int) -> None:
        self._client, self._app, self._version = client, app, version
        self._trials: dict[str, TrialView] = {}
        self._job: TrainJobView | None = None
        self.notice = ""
        """That the admin does not answer, while that is so."""

    @property
    def job(self) -> TrainJobView:
        """As it stands; known from the first of :meth:`states` on."""
        assert self._job is not None
        return self._job

    @property
    def trials(self) -> list[TrialView]:
        return list(self._trials.values())

    def states(self, deadline: Deadline | None = None) -> Iterator[list[Event]]:
        """Yield the events of each change, after they are taken in; nothing at a tick. Ends with the job's end.

        Raises:
            UnreachableError: when the admin is away for longer than a restart takes.
        """
        watch = self._client.watch_train_job
        for batch in streams.batches(watch, self._app, self._version, tick_s=TICK_S, deadline=deadline):
            for event in batch:
                self._take(event)
            if self._job is not None:
                yield batch

    def _take(self, event: Event) -> None:
        match event:
            case Away():
                self.notice = f"The admin does not answer; trying for {event.left_s:.0f} s more. ({event.reason})"
                return
            case TrainJobSnapshot():
                self._job, self._trials = event.job, {t.id: t for t in event.trials}
            case TrainJobChanged() | TrainJobEnded():
                self._job = event.job
            case TrialChanged():
                self._trials[event.trial.id] = event.trial
        self.notice = ""

    @property
    def is_over(self) -> bool:
        return self._job is not None and train_watch.is_over(self._job)


def follow(
    client: AdminClient,
    app: str,
    version: int,
    *,
    out: Callable[[str], None] = terminal.put,
    timeout_s: float | None = None,
    on_event: Callable[[TrainJobEvent], None] | None = None,
    report: Callable[[str], None] = terminal.report,
) -> ExitCode:
    """Show a job until it ends; the exit code tells how.

    Args:
        out: takes the lines; on a terminal a live view goes to stdout instead, unless it is another one than
            :func:`terminal.put`.
        timeout_s: return :attr:`ExitCode.TIMED_OUT` after this time; the job goes on.
        on_event: takes the events themselves; then nothing is shown.
        report: takes the reason when the code is not OK.

    Raises:
        UnreachableError: when the admin is away for longer than a restart takes.
        KeyboardInterrupt: at Ctrl-C; the job goes on.
    """
    follower = JobFollower(client, app, version)
    deadline = None if timeout_s is None else Deadline(timeout_s)
    if on_event is not None:
        _follow_events(follower, deadline, on_event)
    elif terminal.is_interactive() and out is terminal.put:
        _follow_live(follower, deadline)
    else:
        _follow_lines(follower, deadline, out)
    if not follower.is_over:
        report(f"The train job has not ended within {timeout_s:g} s. It goes on: `rafiki train watch {app}`.")
        return ExitCode.TIMED_OUT
    if on_event is None:
        out(terminal.fitted(train_watch.summary_line(follower.job, follower.trials), stream=sys.stdout))
    return judge(follower.job, follower.trials, report)


def judge(job: TrainJobView, trials: Sequence[TrialView], report: Callable[[str], None] = terminal.report) -> ExitCode:
    """The exit code for a job that has ended; says what went wrong."""
    is_errored = job.status == TrainJobStatus.ERRORED
    reason = job.error or "no reason is known"
    for model in job.models:
        # Where the job failed for a model's reason, it is told once.
        if model.error and not (is_errored and model.error in reason):
            terminal.warn(f"{model.model_label}: {model.error}")
    if is_errored:
        report(f"The train job ended ERRORED: {reason}")
        return ExitCode.JOB_ERRORED
    if not any(t.status == TrialStatus.COMPLETED for t in trials):
        told = " ".join(m.error or "" for m in job.models)
        reasons = {values.first_line(t.error, 200) for t in trials if t.error and t.error not in told}
        about = "" if told.strip() else " Give it a larger budget."
        if reasons:
            about = f" The trials failed with: {'; '.join(sorted(reasons))}"
        report(f"The train job ended without one completed trial.{about}")
        return ExitCode.NO_RESULT
    return ExitCode.OK


def _follow_live(follower: JobFollower, deadline: Deadline | None) -> None:
    from rich.live import Live

    from rafiki_cli.render.console import HarmlessConsole

    console = HarmlessConsole()
    pause = Deadline(0.0)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        for _ in follower.states(deadline):
            if not pause.is_over() and not follower.is_over:
                continue  # The next change or tick shows this one too.
            started = time.monotonic()
            view = train_watch.live_view(
                follower.job, follower.trials, utc_now(), console.size, follower.notice,
                is_ascii=console.options.ascii_only,
            )  # fmt: skip
            live.update(view, refresh=True)
            # Of thousands of trials a view costs much: at most a fifth of the time goes into drawing.
            pause = Deadline(min(TICK_S, 4 * (time.monotonic() - started)))


def _follow_lines(follower: JobFollower, deadline: Deadline | None, out: Callable[[str], None]) -> None:
    told: set[str] = set()
    waits: dict[str, str] = {}
    is_away = False
    for _ in follower.states(deadline):
        if follower.notice and not is_away:
            terminal.say(follower.notice)
        is_away = bool(follower.notice)
        _tell_waits(follower.job.models, waits)
        for trial in sorted(follower.trials, key=train_watch.ended_at):
            if train_watch.is_done(trial) and trial.id not in told:
                told.add(trial.id)
                out(train_watch.trial_line(trial))


def _tell_waits(models: Iterable[SubTrainJobView], told: dict[str, str]) -> None:
    """What a model waits for, once."""
    for model in models:
        reason = model.waits_for
        if reason and told.get(model.model_label) != reason:
            told[model.model_label] = reason
            terminal.say(f"{model.model_label} waits: {reason}")


def _follow_events(follower: JobFollower, deadline: Deadline | None, on_event: Callable[[TrainJobEvent], None]) -> None:
    is_away = False
    for batch in follower.states(deadline):
        if follower.notice and not is_away:
            terminal.say(follower.notice)
        is_away = bool(follower.notice)
        for event in batch:
            if not isinstance(event, Away):
                on_event(event)


@contextlib.contextmanager
def detaching(app: str, code: ExitCode) -> Iterator[None]:
    """Ctrl-C ends the watching, not the job; the command exits with ``code`` then."""
    try:
        yield
    except KeyboardInterrupt:
        terminal.say(f"\nNo longer watching; the job goes on. Stop it with `rafiki train stop {app}`.")
        terminal.finish(code)
