"""Watches an inference job: a live view on a terminal, one line a second elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rafiki.client.records import Away
from rafiki.constants import ExitCode, InferenceJobStatus
from rafiki.contract.inference_jobs import (
    InferenceFigures,
    InferenceJobChanged,
    InferenceJobEnded,
    InferenceJobEvent,
    InferenceJobSnapshot,
    InferenceJobView,
    MemberView,
    ScalingChangeView,
)
from rafiki.utils.clock import utc_now
from rafiki_cli import terminal
from rafiki_cli.render import infer_watch, values
from rafiki_cli.render.scaling import change_text
from rafiki_cli.watch import streams

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient

Event = InferenceJobEvent | Away
_TICK_S = 1.0
_HISTORY = 600


class InferenceFollower:
    """An inference job as the admin's events tell it, also over a restart of the admin."""

    def __init__(self, client: AdminClient, app: str, version: int) -> None:
        self._client, self._app, self._version = client, app, version
        self._job: InferenceJobView | None = None
        self.members: list[MemberView] = []
        self.figures: InferenceFigures | None = None
        self.history: deque[float] = deque(maxlen=_HISTORY)
        self.notice = ""

    @property
    def job(self) -> InferenceJobView:
        """As it stands; known from the first of :meth:`events` on."""
        assert self._job is not None
        return self._job

    def events(self) -> Iterator[list[Event]]:
        """Yield the events of each change, after they are taken in; nothing at a tick. Ends with the job's end.

        Raises:
            UnreachableError: when the admin is away for longer than a restart takes.
        """
        for batch in streams.batches(self._client.watch_inference_job, self._app, self._version, tick_s=_TICK_S):
            for event in batch:
                self._take(event)
            if self._job is not None:
                yield batch

    @property
    def is_errored(self) -> bool:
        return self._job is not None and self._job.status == InferenceJobStatus.ERRORED

    def _take(self, event: Event) -> None:
        match event:
            case Away():
                self.notice = f"The admin does not answer; trying for {event.left_s:.0f} s more. ({event.reason})"
                return
            case InferenceJobSnapshot() | InferenceJobChanged():
                self._job, self.members = event.job, event.members
            case InferenceFigures():
                self.figures = event
                self.history.append(event.requests_per_s)
            case InferenceJobEnded():
                self._job = event.job
        self.notice = ""


def follow(
    client: AdminClient,
    app: str,
    version: int,
    *,
    count: int | None = None,
    on_event: Callable[[InferenceJobEvent], None] | None = None,
) -> ExitCode:
    """Show how much an app serves until it is stopped, or until ``count`` seconds were told.

    Args:
        on_event: takes the events themselves; then nothing is shown.

    Raises:
        UnreachableError: when the admin is away for longer than a restart takes.
        KeyboardInterrupt: at Ctrl-C; the job goes on.
    """
    follower = InferenceFollower(client, app, version)
    if on_event is None and terminal.is_interactive():
        _follow_live(follower, count)
    else:
        _follow_lines(follower, count, on_event)
    if follower.is_errored:
        terminal.report(f"The inference job ended ERRORED: {follower.job.error or 'no reason is known'}")
        return ExitCode.JOB_ERRORED
    return ExitCode.OK


def _follow_live(follower: InferenceFollower, count: int | None) -> None:
    from rich.live import Live

    from rafiki_cli.render.console import HarmlessConsole

    console = HarmlessConsole()
    told = 0
    with Live(console=console, auto_refresh=False, transient=False) as live:
        for batch in follower.events():
            view = infer_watch.live_view(
                follower.job, follower.members, follower.figures, list(follower.history), utc_now(), console.width,
                follower.notice, is_ascii=console.options.ascii_only,
            )  # fmt: skip
            live.update(view, refresh=True)
            told += sum(isinstance(e, InferenceFigures) for e in batch)
            if count is not None and told >= count:
                return


def _follow_lines(
    follower: InferenceFollower, count: int | None, on_event: Callable[[InferenceJobEvent], None] | None
) -> None:
    told = 0
    is_away = False
    scaled: ScalingChangeView | None = None
    for batch in follower.events():
        if follower.notice and not is_away:
            terminal.say(follower.notice)
        is_away = bool(follower.notice)
        for event in batch:
            if on_event is not None and not isinstance(event, Away):
                on_event(event)
            if isinstance(event, InferenceJobSnapshot | InferenceJobChanged) and on_event is None:
                scaled = _tell_changes(event, scaled)
            if isinstance(event, InferenceFigures):
                if on_event is None:
                    terminal.put(infer_watch.figures_line(follower.job, follower.members, event, utc_now()))
                told += 1
                if told == count:
                    return


def _tell_changes(
    event: InferenceJobSnapshot | InferenceJobChanged, last: ScalingChangeView | None
) -> ScalingChangeView | None:
    """A line for each change of the number of workers since the last one that was told; the last one now."""
    changes = event.job.scaling.changes if event.job.scaling else []
    if isinstance(event, InferenceJobChanged):
        new = changes[changes.index(last) + 1 :] if last in changes else changes
        for change in new:
            terminal.put(f"{values.local_time(change.datetime_changed)}  {change_text(change)}")
    return changes[-1] if changes else last
