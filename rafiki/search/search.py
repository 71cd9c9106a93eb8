"""The search over one model: what it does with each event. Writes trials to the meta store, returns orders.

Every handler may run twice for the same event (its acknowledgement may have been lost): the second run changes nothing
and returns the order that stands.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from rafiki.advisor.base import Advisor, Ask, TrialRecord
from rafiki.advisor.stopping import NoRule, StoppingRule
from rafiki.budget import TrialQuota
from rafiki.constants import TrainJobStatus, TrialStatus
from rafiki.entities import SubTrainJob, Trial, TrialCheckpoint, TrialLog, TrialReport
from rafiki.messages import (
    CheckpointSaved,
    EndOrder,
    EndTrialOrder,
    Hello,
    Order,
    RetireWorker,
    StopRequested,
    TrainEvent,
    TrainOrder,
    TrialDone,
    TrialFailed,
    TrialProgress,
    TrialScored,
    WorkerLost,
)
from rafiki.meta_store import MetaStore
from rafiki.proposals import Proposal
from rafiki.search.kept_params import KeptParams

STOPPED_BY_OWNER = "The train job was stopped before this trial finished."
TIME_IS_OVER = "The job's time budget (TIME_HOURS) ended before this trial finished."

_LIVE = (TrialStatus.PENDING, TrialStatus.RUNNING)
_HOPELESS_AFTER = 10
"""Trials without a single success after which a search without a limit of trials ends."""
_PREPARE_ABOVE = 0.05
"""Proposals are computed ahead when computing one takes more than this share of a trial. Below that, waiting for the
latest score costs less than a proposal that does not know it."""


class Search:
    """One sub train job's trials, and who works on them. The only writer of both."""

    def __init__(
        self,
        *,
        store: MetaStore,
        sub_train_job: SubTrainJob,
        owner_id: str,
        make_advisor: Callable[[], Advisor],
        model_trial_count: int,
        max_attempts: int,
        make_rule: Callable[[], StoppingRule] = NoRule,
        time_used: Callable[[], float] = lambda: 0.0,
        remove_params: Callable[[Sequence[str]], None] = lambda params_ids: None,
        keep_params: int | None = None,
    ) -> None:
        """
        Args:
            make_rule: a fresh rule that ends trials early.
            time_used: the share of the job's hours that has passed, 0 to 1.
            remove_params: removes parameters or checkpoints from their store, by their ids; it never fails.
            keep_params: so many trials, the best ones, keep their parameters; None = all.
        """
        self._store = store
        self._sub = sub_train_job
        self._owner_id = owner_id
        self._make_advisor = make_advisor
        self._make_rule = make_rule
        self._time_used = time_used
        self._remove_params = remove_params
        self._keep_params = keep_params
        self._model_trial_count = model_trial_count
        self._max_attempts = max_attempts
        self.ending: str | None = None
        """Why the search is over before its quota is used up. Once given, a reason stands."""
        self._retiring: set[str] = set()
        self._ended: set[str] = set()
        """Workers that the admin saw end."""
        self._is_paused = False
        self.restore()

    def restore(self) -> None:
        """Take everything from the meta store: at the start, and after a failure that may have left us in between."""
        self._advisor = self._make_advisor()
        self._quota = TrialQuota(self._model_trial_count, self._advisor.max_trials)
        trials = self._store.trials.list_trials_of_sub_train_job(self._sub.id)
        self._advisor.restore([to_record(t) for t in trials])
        self._trials: dict[str, Trial] = {t.id: t for t in trials}
        self._restore_rule()
        self._by_worker: dict[str, str] = {
            t.worker_id: t.id for t in trials if t.status is TrialStatus.RUNNING and t.worker_id
        }
        self._idle: dict[str, None] = {}
        self.workers: set[str] = set(self._by_worker)
        self._propose_s = 0.0
        self._trial_s = 0.0
        self._order_times: dict[str, float] = {}
        self._saved = KeptParams(self._store, self._owner_id, self._keep_params, self._remove_params)
        for trial in trials:
            self._saved.add(trial)

    def _restore_rule(self) -> None:
        self._rule = self._make_rule()
        self._given_up: dict[str, str] = {}
        for report in self._store.trials.list_trial_reports(self._sub.id):
            trial = self._trials[report.trial_id]
            reason = self._rule.report(trial.no, report.step, report.score)
            if reason is not None and trial.status is TrialStatus.RUNNING:
                self._given_up[trial.id] = reason
        for trial in self._trials.values():
            if trial.status not in _LIVE:
                self._rule.finish(trial.no)

    # ---- what can be asked

    @property
    def busy_workers(self) -> list[str]:
        return list(self._by_worker)

    @property
    def is_over(self) -> bool:
        """Nothing runs, and nothing may be started."""
        if self.ending is not None:
            return True
        if self._is_hopeless() and not self._live():
            return True
        return not self._quota.may_start(self._next_no()) and not self._live()

    def outcome(self) -> tuple[TrainJobStatus, str | None]:
        """How the search ended: ERRORED when it was not cut short and every single trial failed."""
        failed = [t for t in self._trials.values() if t.status is TrialStatus.ERRORED]
        if self.ending is None and failed and len(failed) == len(self._trials):
            last = max(failed, key=lambda t: t.no)
            what = "The only trial failed" if len(failed) == 1 else f"All {len(failed)} trials failed. The last one"
            return TrainJobStatus.ERRORED, f"{what}: {last.error}"
        return TrainJobStatus.STOPPED, None

    def _is_hopeless(self) -> bool:
        """Without a limit, a model that never works would fail thousands of times until the job's time is over."""
        return (
            self._quota.limit is None
            and len(self._trials) >= _HOPELESS_AFTER
            and all(t.status is not TrialStatus.COMPLETED for t in self._trials.values())
        )

    def _may_start(self, no: int) -> bool:
        return self._quota.may_start(no) and not self._is_hopeless()

    def _live(self) -> list[Trial]:
        return [t for t in self._trials.values() if t.status in _LIVE]

    def _next_no(self) -> int:
        return len(self._trials) + 1

    # ---- events

    def handle(self, event: TrainEvent) -> list[tuple[str, Order]]:
        """Act on one event; returns orders as (worker id, order)."""
        if not isinstance(event, StopRequested | WorkerLost) and event.worker_id in self._ended:
            return self._hear_ended(event)
        match event:
            case Hello(worker_id):
                self._order_times.setdefault(worker_id, time.monotonic())
                return self._next_order(worker_id)
            case TrialProgress(worker_id, logs):
                self.workers.add(worker_id)
                self._add_logs(logs)
                return []
            case TrialScored():
                return self._take_score(event)
            case CheckpointSaved():
                self._take_checkpoint(event)
                return []
            case TrialDone(worker_id, trial_id):
                if trial := self._unfinished(trial_id):
                    self._complete(trial, event)
                    self._time_trial(worker_id)
                return self._next_order(worker_id)
            case TrialFailed(worker_id, trial_id, attempt, reason, logs):
                if trial := self._unfinished(trial_id):
                    self._add_logs(logs)
                    # A later attempt may still succeed: an earlier one's failure does not decide.
                    if attempt == trial.attempt:
                        self._fail(trial, reason)
                return self._next_order(worker_id)
            case WorkerLost(worker_id, reason, has_ended):
                if has_ended:
                    self._ended.add(worker_id)
                return self._lose(worker_id, reason)
            case RetireWorker(worker_id):
                self._retiring.add(worker_id)
                return self._retire(worker_id) if worker_id in self._idle else []
            case StopRequested():
                self.ending = STOPPED_BY_OWNER
                return []

    def _hear_ended(self, event: TrainEvent) -> list[tuple[str, Order]]:
        """Of a worker that has ended for the admin: its host was cut off, and is back. Its trial may be with another by
        now, and its token is void, so a failure is none of the trial's. A result that it had saved counts as any."""
        match event:
            case TrialDone(worker_id, trial_id):
                if (trial := self._unfinished(trial_id)) is not None:
                    self._complete(trial, event)
                return [(worker_id, EndOrder())]
            case Hello(worker_id) | TrialFailed(worker_id):
                return [(worker_id, EndOrder())]
            case CheckpointSaved():
                self._discard(TrialCheckpoint(params_id=event.params_id, step=event.step, attempt=event.attempt))
        return []

    def _complete(self, trial: Trial, event: TrialDone) -> None:
        """Its first result counts, whoever has it now."""
        self._add_logs(event.logs)
        if not math.isfinite(event.score):
            # Workers look at scores themselves; model code can write here without them.
            self._fail(trial, f"Its worker reported the score {event.score}, which is no finite number.")
            return
        if trial.status is TrialStatus.PENDING:
            # Its worker had only seemed to be lost.
            self._store.trials.assign_trial(trial.id, worker_id=event.worker_id, owner_id=self._owner_id)
        done = self._store.trials.complete_trial(
            trial.id, score=event.score, params_id=event.params_id, owner_id=self._owner_id,
            worker_id=event.worker_id, attempt=event.attempt, ended_early=event.ended_early,
        )  # fmt: skip
        self._finish(done, event.score)

    def _take_score(self, event: TrialScored) -> list[tuple[str, Order]]:
        """Keep an intermediate score; an order to end when the trial is hopeless by it, or was given up before."""
        trial = self._trials.get(event.trial_id)
        if trial is None or trial.status is not TrialStatus.RUNNING or trial.attempt != event.attempt:
            return []
        self.workers.add(event.worker_id)
        if not (math.isfinite(event.score) and math.isfinite(event.step)):
            return []
        self._store.trials.add_trial_report(
            TrialReport(trial_id=trial.id, attempt=event.attempt, step=event.step, score=event.score),
            owner_id=self._owner_id,
        )
        if not self._advisor.may_end_early(trial.proposal):
            return []
        reason = self._rule.report(trial.no, event.step, event.score)
        if reason is not None:
            self._given_up[trial.id] = reason
        if (reason := self._given_up.get(trial.id)) is None:
            return []
        return [(event.worker_id, EndTrialOrder(trial.id, trial.attempt, reason))]

    def _take_checkpoint(self, event: CheckpointSaved) -> None:
        """Keep the newest checkpoint of a running attempt; every other one goes."""
        trial = self._trials.get(event.trial_id)
        present = trial.checkpoint if trial else None
        if present is not None and event.params_id == present.params_id:
            return
        new = TrialCheckpoint(params_id=event.params_id, step=event.step, attempt=event.attempt)
        # What comes again, after an advisor that died before it acknowledged, is older than what is kept.
        is_older = present is not None and present.attempt == new.attempt and new.step <= present.step
        kept: Trial | None = None
        if trial is not None and trial.status is TrialStatus.RUNNING and not is_older:
            self.workers.add(event.worker_id)
            kept = self._store.trials.set_checkpoint(trial.id, new, owner_id=self._owner_id)
        if kept is None:
            self._discard(new)
            return
        self._trials[kept.id] = kept
        self._discard(present)

    def _discard(self, checkpoint: TrialCheckpoint | None) -> None:
        """Remove what no trial refers to: model code may announce anything."""
        if checkpoint is None:
            return
        removed = checkpoint.params_id
        if any(removed in (t.params_id, t.checkpoint and t.checkpoint.params_id) for t in self._trials.values()):
            return
        self._remove_params([removed])

    def forget_idle(self, worker_ids: Iterable[str]) -> None:
        """These workers are gone: give none of them a trial, whatever the order in which their ends are told."""
        for worker_id in worker_ids:
            self._idle.pop(worker_id, None)

    def pause(self, is_paused: bool) -> list[tuple[str, Order]]:
        """Whether no trial is to be started for now; the orders of those who waited for the end of the pause."""
        self._is_paused = is_paused
        if is_paused:
            return []
        return [order for worker_id in list(self._idle) for order in self._next_order(worker_id)]

    def end(self, reason: str) -> None:
        """Close every trial that is not finished, with the reason."""
        for trial in self._live():
            self._fail(trial, reason)

    def prepare(self) -> None:
        """Compute the next proposal ahead, where that pays; running trials count as pending points."""
        no = self._next_no()
        if self._advisor.is_for_workers or not self._by_worker or not self._may_start(no):
            return
        if self._propose_s > _PREPARE_ABOVE * self._trial_s:
            self._propose(no, None)

    # ---- within

    def _unfinished(self, trial_id: str) -> Trial | None:
        trial = self._trials.get(trial_id)
        return trial if trial is not None and trial.status in _LIVE else None

    def _next_order(self, worker_id: str) -> list[tuple[str, Order]]:
        self.workers.add(worker_id)
        if self.ending is not None:
            return []
        if (held := self._by_worker.get(worker_id)) is not None:
            return [(worker_id, _order(self._trials[held]))]
        if worker_id in self._retiring:
            return self._retire(worker_id)
        if self._is_paused:
            self._idle[worker_id] = None
            return []
        waiting = [t for t in self._trials.values() if t.status is TrialStatus.PENDING]
        no = self._next_no()
        if waiting:
            trial = self._assign(waiting[0], worker_id)
        elif self._may_start(no):
            proposal = self._propose(no, worker_id)
            trial = self._store.trials.create_trial(
                sub_train_job=self._sub, no=no, worker_id=worker_id, owner_id=self._owner_id,
                proposal=self._with_parent(proposal),
            )  # fmt: skip
        else:
            # All trials are given out, but one of them may still come back.
            self._idle[worker_id] = None
            return []
        self._idle.pop(worker_id, None)
        self._trials[trial.id] = trial
        self._by_worker[worker_id] = trial.id
        self._order_times[worker_id] = time.monotonic()
        return [(worker_id, _order(trial))]

    def _assign(self, trial: Trial, worker_id: str) -> Trial:
        """Give a released trial to a worker. With a checkpoint, the scores up to it are those of this attempt too."""
        reports = self._store.trials.list_reports_of_trial(trial.id) if trial.checkpoint else []
        self._rule.forget(trial.no)
        assigned = self._store.trials.assign_trial(trial.id, worker_id=worker_id, owner_id=self._owner_id)
        for report in reports:
            if assigned.checkpoint is None or report.step > assigned.checkpoint.step:
                continue
            again = msgspec.structs.replace(report, attempt=assigned.attempt)
            self._store.trials.add_trial_report(again, owner_id=self._owner_id)
            if self._advisor.may_end_early(trial.proposal):
                reason = self._rule.report(trial.no, report.step, report.score)
                if reason is not None:
                    self._given_up[trial.id] = reason
        return assigned

    def _retire(self, worker_id: str) -> list[tuple[str, Order]]:
        """End a worker that has no trial: the admin starts another in its place."""
        self._idle.pop(worker_id, None)
        self.workers.discard(worker_id)
        return [(worker_id, EndOrder())]

    def _propose(self, no: int, worker_id: str | None) -> Proposal:
        started = time.monotonic()
        limit = self._quota.limit
        used = max(self._time_used(), (no - 1) / limit if limit else 0.0)
        proposal = self._advisor.propose(no, Ask(worker_id=worker_id, budget_used=min(1.0, used)))
        self._propose_s = max(time.monotonic() - started, 0.9 * self._propose_s)
        return proposal

    def _time_trial(self, worker_id: str) -> None:
        if (started := self._order_times.get(worker_id)) is not None:
            took = time.monotonic() - started
            self._trial_s = took if not self._trial_s else 0.8 * self._trial_s + 0.2 * took

    def _add_logs(self, logs: Sequence[TrialLog]) -> None:
        if logs and (trial_id := logs[0].trial_id) in self._trials:
            # Whatever model code says: a message holds the lines of one trial.
            own = [line for line in logs if line.trial_id == trial_id]
            self._store.trials.add_trial_logs(trial_id, own, owner_id=self._owner_id)

    def _fail(self, trial: Trial, reason: str) -> None:
        self._finish(self._store.trials.fail_trial(trial.id, error=reason, owner_id=self._owner_id), None)

    def _finish(self, trial: Trial, score: float | None) -> None:
        # Whoever was told to run it: a trial given to a second worker may have been finished by the first.
        for worker_id in [w for w, held in self._by_worker.items() if held == trial.id]:
            del self._by_worker[worker_id]
        checkpoint = self._trials[trial.id].checkpoint
        self._trials[trial.id] = trial
        self._discard(checkpoint)
        self._given_up.pop(trial.id, None)
        self._rule.finish(trial.no)
        self._advisor.feedback(trial.no, score, is_ended_early=trial.ended_early is not None)
        self._saved.add(trial)

    def free_params_meanwhile(self) -> bool:
        """As :meth:`free_params`, unless a later trial may go on from any earlier one."""
        return not self._advisor.continues_trials and self.free_params()

    def free_params(self) -> bool:
        """Free the parameters of trials that nobody needs; also those that the search needs while it goes on. Whether
        there were any."""
        freed = self._saved.free()
        for trial_id in freed:
            self._trials[trial_id] = msgspec.structs.replace(self._trials[trial_id], params_id=None)
        return bool(freed)

    def _lose(self, worker_id: str, reason: str) -> list[tuple[str, Order]]:
        self.workers.discard(worker_id)
        self._idle.pop(worker_id, None)
        held = self._by_worker.pop(worker_id, None)
        if held is None:
            return []
        trial = self._trials[held]
        if trial.attempt >= self._max_attempts:
            tries = "once" if trial.attempt == 1 else f"{trial.attempt} times"
            self._fail(trial, f"Its worker was lost {tries}; the last time: {reason}.")
            return []
        self._trials[held] = self._store.trials.release_trial(held, owner_id=self._owner_id)
        self._rule.forget(trial.no)
        self._given_up.pop(held, None)
        # The first idle worker takes it over at once.
        return self._next_order(next(iter(self._idle))) if self._idle else []

    def _with_parent(self, proposal: Proposal) -> Proposal:
        """The proposal with the place of the parameters that it starts from, where those are one trial's own."""
        if proposal.start_from_trial is None:
            return proposal
        parent = next((t for t in self._trials.values() if t.no == proposal.start_from_trial), None)
        return msgspec.structs.replace(proposal, start_from_params=parent.params_id if parent else None)


def _order(trial: Trial) -> TrainOrder:
    proposal = trial.proposal
    return TrainOrder(
        trial.id, trial.no, trial.attempt, proposal.knobs, proposal.start_from, proposal.start_from_params,
        trial.checkpoint,
    )  # fmt: skip


def to_record(trial: Trial) -> TrialRecord:
    """A trial as an advisor knows it."""
    return TrialRecord(
        no=trial.no, proposal=trial.proposal, score=trial.score, state=_STATES.get(trial.status, "pending"),
        worker_id=trial.worker_id, is_ended_early=trial.ended_early is not None,
    )  # fmt: skip


_STATES: dict[TrialStatus, Literal["completed", "failed"]] = {
    TrialStatus.COMPLETED: "completed",
    TrialStatus.ERRORED: "failed",
}
