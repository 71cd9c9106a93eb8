"""What the meta store promises about trials and their logs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from rafiki.constants import TrialStatus
from rafiki.entities import SavedTrial, SubTrainJob, Trial, TrialCheckpoint, TrialLog, TrialReport
from rafiki.proposals import Proposal


class TrialStore(ABC):
    """Trials, written by the owner of their sub train job alone.

    Every write takes ``owner_id``: the ``advisor_id`` that the sub train job must have at that moment
    (None: the admin owns it). Otherwise it raises StaleOwnerError and changes nothing; the check and the
    write are one transaction, so an owner that was replaced cannot write even one more row. An unknown
    trial is InvalidTrialError.
    """

    @abstractmethod
    def create_trial(
        self,
        *,
        sub_train_job: SubTrainJob,
        no: int,
        worker_id: str | None,
        proposal: Proposal,
        owner_id: str | None,
    ) -> Trial:
        """Add a RUNNING trial, attempt 1.

        Raises:
            InvalidTrialError: the sub train job has a trial of that number.
            InvalidTrainJobError: there is no such sub train job.
            StaleOwnerError: ``owner_id`` does not own the sub train job now.
        """

    @abstractmethod
    def assign_trial(self, trial_id: str, *, worker_id: str, owner_id: str | None) -> Trial:
        """Give a PENDING trial to a worker: it is RUNNING, and its attempt counts one more.

        Raises:
            InvalidTrialError, StaleOwnerError, IllegalTransitionError
        """

    @abstractmethod
    def release_trial(self, trial_id: str, *, owner_id: str | None) -> Trial:
        """Take a RUNNING trial from its worker: it is PENDING and has no worker.

        Raises:
            InvalidTrialError, StaleOwnerError, IllegalTransitionError
        """

    @abstractmethod
    def complete_trial(
        self,
        trial_id: str,
        *,
        score: float,
        params_id: str | None,
        owner_id: str | None,
        worker_id: str | None = None,
        attempt: int | None = None,
        ended_early: str | None = None,
    ) -> Trial:
        """A RUNNING trial is COMPLETED. ``worker_id`` and ``attempt`` say which try it was, where not the
        last one; ``ended_early`` why a stopping rule ended it. It has no checkpoint any more.

        Raises:
            InvalidTrialError: there is no such trial, or the score is NaN or infinite.
            StaleOwnerError, IllegalTransitionError
        """

    @abstractmethod
    def fail_trial(self, trial_id: str, *, error: str, owner_id: str | None) -> Trial:
        """A PENDING or RUNNING trial is ERRORED, for the reason ``error``. It has no checkpoint any more.

        Raises:
            InvalidTrialError, StaleOwnerError, IllegalTransitionError
        """

    @abstractmethod
    def set_checkpoint(self, trial_id: str, checkpoint: TrialCheckpoint, *, owner_id: str | None) -> Trial | None:
        """A RUNNING trial in the checkpoint's attempt has this checkpoint; None, and nothing changes, when it is
        not in that attempt (any more).

        Raises:
            InvalidTrialError, StaleOwnerError
        """

    @abstractmethod
    def list_checkpoint_ids(self) -> list[str]:
        """The ids in the parameter store of everybody's checkpoints."""

    @abstractmethod
    def has_params(self, sub_train_job_id: str, params_id: str, *, counts_checkpoints: bool) -> bool:
        """Whether these parameters are the result of a trial of one model; with ``counts_checkpoints``, whether they
        are its checkpoint will do, too."""

    @abstractmethod
    def find_used_params(self, params_ids: Collection[str]) -> set[str]:
        """Those that anybody's trial has, as its result or as its checkpoint."""

    def free_params(self, trial_id: str, params_id: str, *, owner_id: str | None = None) -> bool:
        """As :meth:`free_params_of`, of one trial. Whether it was changed."""
        return bool(self.free_params_of({trial_id: params_id}, owner_id=owner_id))

    @abstractmethod
    def free_params_of(self, params_ids: Mapping[str, str], *, owner_id: str | None = None) -> list[str]:
        """COMPLETED trials have no parameters any more: to be called before these are deleted.

        Whoever deploys one of them at the same time either comes first, and then it is not changed here, or is refused.

        Args:
            params_ids: what each of the trials has, by their ids; a few hundred.
            owner_id: the advisor of their search, which knows what a live search still needs; None = somebody else.

        Returns:
            The trials that were changed. One is not where it has other parameters, a live inference job serves it, its
            train job is live and somebody else asks, or another advisor has taken over.
        """

    @abstractmethod
    def list_saved_trials(self) -> list[SavedTrial]:
        """Everybody's trials with parameters; those of one model together, the highest score first (of equal scores the
        one started earlier).
        """

    @abstractmethod
    def get_trial(self, trial_id: str) -> Trial:
        """The trial.

        Raises:
            InvalidTrialError: there is none with that id.
        """

    @abstractmethod
    def list_trials(
        self,
        train_job_id: str,
        *,
        status: TrialStatus | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[Trial]:
        """The trials of all models of a train job (of one status), by (``datetime_started``, ``no``)."""

    @abstractmethod
    def list_trials_of_sub_train_job(
        self, sub_train_job_id: str, *, offset: int = 0, limit: int | None = None
    ) -> list[Trial]:
        """The trials of one model, by ``no``: what a restarted advisor replays."""

    @abstractmethod
    def list_new_trials(self, sub_train_job_id: str, *, after_no: int, live_ids: Sequence[str]) -> list[Trial]:
        """The trials of one model with a number above ``after_no``, and those of ``live_ids``, by ``no``.

        What may have changed since somebody who knows the trials up to ``after_no`` saw those of ``live_ids`` as not
        final; no clock decides.
        """

    @abstractmethod
    def list_saved_trial_ids(self, sub_train_job_id: str) -> set[str]:
        """The trials of one model that have parameters."""

    @abstractmethod
    def list_best_trials(self, train_job_id: str, *, max_count: int | None = 2, offset: int = 0) -> list[Trial]:
        """The COMPLETED trials with parameters, highest score first; of equal scores the one started
        earlier.
        """

    @abstractmethod
    def list_best_trials_of_sub_train_job(
        self, sub_train_job_id: str, *, max_count: int | None = 1, offset: int = 0
    ) -> list[Trial]:
        """As :meth:`list_best_trials`, of one model."""

    @abstractmethod
    def count_trials(self, sub_train_job_id: str) -> dict[TrialStatus, int]:
        """How many trials of one model are in each status; every status is a key."""

    @abstractmethod
    def add_trial_logs(self, trial_id: str, entries: Sequence[TrialLog], *, owner_id: str | None) -> None:
        """Add log lines of one trial. Lines that are there already (same attempt and ``line_no``) stay
        unchanged, so that a batch may be delivered again.

        Raises:
            InvalidTrialError: there is no such trial, or an entry names another one.
            StaleOwnerError
        """

    @abstractmethod
    def add_trial_report(self, report: TrialReport, *, owner_id: str | None) -> None:
        """Add an intermediate score. One of the same attempt and step that is there already stays unchanged.

        Raises:
            InvalidTrialError: there is no such trial, or the score is not finite.
            StaleOwnerError
        """

    @abstractmethod
    def list_trial_reports(self, sub_train_job_id: str) -> list[TrialReport]:
        """The intermediate scores of each trial's present attempt, of all trials of one model, by (``no``,
        ``step``).
        """

    @abstractmethod
    def list_reports_of_trial(self, trial_id: str) -> list[TrialReport]:
        """The intermediate scores of the trial's present attempt, by ``step``."""

    @abstractmethod
    def list_trial_logs(
        self, trial_id: str, *, attempt: int | None = None, offset: int = 0, limit: int | None = None
    ) -> list[TrialLog]:
        """The log lines of one attempt (None: the trial's present one), by ``line_no``."""
