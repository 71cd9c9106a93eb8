"""The stream of a trial's log."""

from __future__ import annotations

from rafiki.admin.context import AdminContext
from rafiki.admin.events import EventHub, Source, encode_event
from rafiki.admin.operation import bind_stream
from rafiki.admin.ops.trials import own_trial, trial_view
from rafiki.cache.changes import Change
from rafiki.contract.train_jobs import WATCH_TRIAL_LOGS, TrialEnded, TrialLogsAdded, TrialLogsSnapshot, TrialRequest
from rafiki.entities import Trial, TrialLog, User
from rafiki.model.logs import parse_logs
from rafiki.states import TRIAL_TRANSITIONS, is_final

_LINES = 1000
"""Of one event at most: what is still to be sent is in the meta store, not here."""


class TrialLogSource(Source):
    """Tells the lines in their order: one whose predecessor was lost on its way waits until that is sent again."""

    def __init__(self, context: AdminContext, trial: Trial) -> None:
        self.topic = trial.train_job_id
        self._context = context
        self._trial_id = trial.id
        self._attempt: int | None = None
        self._n_told = 0

    async def read(self, hub: EventHub, changes: frozenset[Change]) -> list[bytes]:
        if not self.has_more and not changes & {Change.LOGS, Change.TRIALS}:
            return []
        return await hub.in_thread(self._read)

    def _read(self) -> list[bytes]:
        # The trial before its lines, so that a trial seen as final comes with all of them.
        trial = self._context.store.trials.get_trial(self._trial_id)
        is_first = trial.attempt != self._attempt
        if is_first:
            self._attempt, self._n_told = trial.attempt, 0
        is_ended = is_final(TRIAL_TRANSITIONS, trial.status)
        found = self._context.store.trials.list_trial_logs(
            trial.id, attempt=trial.attempt, offset=self._n_told, limit=_LINES
        )
        lines = found if is_ended else _in_sequence(found, self._n_told + 1)
        self._n_told += len(lines)
        self.has_more = len(lines) == _LINES
        self.is_over = is_ended and not self.has_more
        logs = parse_logs(line.entry for line in lines)
        events = []
        if is_first:
            snapshot = TrialLogsSnapshot(
                trial=trial_view(trial), messages=logs.messages, metrics=logs.metrics, plots=logs.plots
            )
            events.append(encode_event(snapshot))
        elif lines:
            added = TrialLogsAdded(messages=logs.messages, metrics=logs.metrics, plots=logs.plots)
            events.append(encode_event(added))
        if self.is_over:
            events.append(encode_event(TrialEnded(trial=trial_view(trial))))
        return events


def _in_sequence(lines: list[TrialLog], first_no: int) -> list[TrialLog]:
    """Those up to the first gap in their numbers."""
    for i, line in enumerate(lines):
        if line.line_no != first_no + i:
            return lines[:i]
    return lines


def watch_trial_logs(context: AdminContext, actor: User, request: TrialRequest) -> TrialLogSource:
    return TrialLogSource(context, own_trial(context, actor, request.trial_id))


OPERATIONS = [
    bind_stream(WATCH_TRIAL_LOGS, watch_trial_logs),
]
