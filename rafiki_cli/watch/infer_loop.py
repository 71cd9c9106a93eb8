"""Watches an inference job: a live view on a terminal, one line a second elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rafiki.constants import ExitCode, InferenceJobStatus
from rafiki.utils.clock import utc_now
from rafiki_cli import terminal
from rafiki_cli.render import infer_watch
from rafiki_cli.watch import pushed

if TYPE_CHECKING:
    from rafiki.client import Client

Json = dict[str, Any]
_TICK_S = 1.0
_HISTORY = 600


class InferenceFollower:
    """An inference job as the admin's events tell it, also over a restart of the admin."""

    def __init__(self, client: Client, app: str, version: int) -> None:
        self._client, self._app, self._version = client, app, version
        self.job: Json = {}
        self.members: list[Json] = []
        self.figures: Json | None = None
        self.history: deque[float] = deque(maxlen=_HISTORY)
        self.notice = ""

    def events(self) -> Iterator[list[Json]]:
        """Yield the events of each change, after they are taken in; nothing at a tick. Ends with the job's end.

        Raises:
            UnreachableError: when the admin is away for longer than a restart takes.
        """
        for batch in pushed.batches(self._client.watch_inference_job, self._app, self._version, tick_s=_TICK_S):
            for event in batch:
                self._take(event)
            if self.job:
                yield batch

    def _take(self, event: Json) -> None:
        match event["type"]:
            case "away":
                self.notice = f"The admin does not answer; trying for {event['left_s']:.0f} s more. ({event['reason']})"
                return
            case "snapshot" | "job":
                self.job, self.members = event["job"], event["members"]
            case "figures":
                self.figures = event
                self.history.append(event["requests_per_s"])
            case "end":
                self.job = event["job"]
        self.notice = ""


def follow(
    client: Client,
    app: str,
    version: int,
    *,
    count: int | None = None,
    on_event: Callable[[Json], None] | None = None,
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
    if follower.job and follower.job["status"] == InferenceJobStatus.ERRORED:
        terminal.report(f"The inference job ended ERRORED: {follower.job['error'] or 'no reason is known'}")
        return ExitCode.JOB_ERRORED
    return ExitCode.OK


def _follow_live(follower: InferenceFollower, count: int | None) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    told = 0
    with Live(console=console, auto_refresh=False, transient=False) as live:
        for batch in follower.events():
            view = infer_watch.live_view(
                follower.job, follower.members, follower.figures, list(follower.history), utc_now(), console.width,
                follower.notice, is_ascii=console.options.ascii_only,
            )  # fmt: skip
            live.update(view, refresh=True)
            told += sum(e["type"] == "figures" for e in batch)
            if count is not None and told >= count:
                return


def _follow_lines(follower: InferenceFollower, count: int | None, on_event: Callable[[Json], None] | None) -> None:
    told = 0
    is_away = False
    for batch in follower.events():
        if follower.notice and not is_away:
            terminal.say(follower.notice)
        is_away = bool(follower.notice)
        for event in batch:
            if on_event is not None and event["type"] != "away":
                on_event(event)
            if event["type"] == "figures":
                if on_event is None:
                    terminal.put(infer_watch.figures_line(follower.job, follower.members, event, utc_now()))
                told += 1
                if told == count:
                    return
