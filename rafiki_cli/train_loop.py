"""Follows a train job until it ends: a live table on a terminal, one line a finished trial elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rafiki.constants import ExitCode, TrainJobStatus, TrialStatus
from rafiki.errors import UnreachableError
from rafiki.utils.clock import Deadline, utc_now
from rafiki_cli import terminal
from rafiki_cli.render import train_watch, values

if TYPE_CHECKING:
    from rafiki.client import Client

Json = dict[str, Any]
REFRESH_S = 0.5
RESTART_PATIENCE_S = 60.0
"""How long the admin may be away, as when it is restarted."""


class JobFollower:
    """Asks the admin for a job and its trials again and again, also over a restart of the admin."""

    def __init__(self, client: Client, app: str, version: int) -> None:
        self._client, self._app, self._version = client, app, version
        self.job: Json = {}
        self.trials: list[Json] = []
        self.notice = ""

    def states(self) -> Iterator[None]:
        """Yield after each look; ends with the first look at the job's end.

        Raises:
            UnreachableError: when the admin is away for longer than a restart takes.
        """
        wait = threading.Event()
        patience: Deadline | None = None
        while True:
            try:
                self._look()
                patience, self.notice = None, ""
            except UnreachableError as e:
                patience = patience or Deadline(RESTART_PATIENCE_S)
                if not self.job or patience.is_over():
                    raise
                self.notice = f"The admin does not answer; trying for {patience.left_s():.0f} s more. ({e.message})"
            yield
            if self.job and not self.notice and train_watch.is_over(self.job):
                return
            # The admin holds the state and tells nobody of changes, so it is asked; never in a tighter loop.
            wait.wait(REFRESH_S)

    def _look(self) -> None:
        job = self._client.get_train_job(self._app, self._version)
        self._version = job["app_version"]  # -1 is settled once: a newer job is another one
        # After the job, so that a job seen as ended comes with all its trials.
        self.trials = self._client.get_trials_of_train_job(self._app, self._version)
        self.job = job


def follow(client: Client, app: str, version: int, *, out: Callable[[str], None] = terminal.put) -> ExitCode:
    """Show a job until it ends; the exit code tells how.

    Raises:
        KeyboardInterrupt: at Ctrl-C; the job goes on.
    """
    follower = JobFollower(client, app, version)
    if terminal.is_interactive() and out is terminal.put:
        _follow_live(follower)
    else:
        _follow_lines(follower, out)
    out(train_watch.summary_line(follower.job, follower.trials))
    return judge(follower.job, follower.trials)


def judge(job: Json, trials: list[Json]) -> ExitCode:
    """The exit code for a job that has ended; says what went wrong."""
    is_errored = job["status"] == TrainJobStatus.ERRORED
    reason = job["error"] or "no reason is known"
    for model in job["models"]:
        # Where the job failed for a model's reason, it is told once.
        if model["error"] and not (is_errored and model["error"] in reason):
            terminal.warn(f"{model['model_name']}: {model['error']}")
    if is_errored:
        terminal.report(f"The train job ended ERRORED: {reason}")
        return ExitCode.JOB_ERRORED
    if not any(t["status"] == TrialStatus.COMPLETED for t in trials):
        told = " ".join(m["error"] or "" for m in job["models"])
        reasons = {values.first_line(t["error"], 200) for t in trials if t["error"] and t["error"] not in told}
        about = "" if told.strip() else " Give it a larger budget."
        if reasons:
            about = f" The trials failed with: {'; '.join(sorted(reasons))}"
        terminal.report(f"The train job ended without one completed trial.{about}")
        return ExitCode.NO_RESULT
    return ExitCode.OK


def _follow_live(follower: JobFollower) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(no_color=not terminal.has_color())
    with Live(console=console, auto_refresh=False, transient=False) as live:
        for _ in follower.states():
            view = train_watch.live_view(follower.job, follower.trials, utc_now(), console.size, follower.notice)
            live.update(view, refresh=True)


def _follow_lines(follower: JobFollower, out: Callable[[str], None]) -> None:
    told: set[str] = set()
    is_away = False
    for _ in follower.states():
        if follower.notice and not is_away:
            terminal.say(follower.notice)
        is_away = bool(follower.notice)
        for trial in sorted(follower.trials, key=lambda t: t["datetime_stopped"] or ""):
            if train_watch.is_done(trial) and trial["id"] not in told:
                told.add(trial["id"])
                out(train_watch.trial_line(trial))


@contextlib.contextmanager
def detaching(app: str, code: ExitCode) -> Iterator[None]:
    """Ctrl-C ends the watching, not the job; the command exits with ``code`` then."""
    try:
        yield
    except KeyboardInterrupt:
        terminal.say(f"\nNo longer watching; the job goes on. Stop it with `rafiki train stop {app}`.")
        terminal.finish(code)
