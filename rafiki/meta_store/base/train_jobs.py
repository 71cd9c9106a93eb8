"""What the meta store promises about train jobs and their parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from rafiki.budget import TrainBudget
from rafiki.constants import TrainJobStatus
from rafiki.entities import Model, SubTrainJob, TrainJob
from rafiki.search_setting import AdvisorSetting
from rafiki.utils.values import JsonValue


class TrainJobStore(ABC):
    """Train jobs, and one sub train job for each of their models.

    The admin alone writes train jobs; the service named by ``advisor_id`` alone writes the status of a sub
    train job (``owner_id`` is its fencing token: None is the admin, which owns a sub train job whose
    ``advisor_id`` is None).
    """

    @abstractmethod
    def create_train_job(
        self,
        *,
        user_id: str,
        app: str,
        task: str,
        train_dataset_id: str,
        val_dataset_id: str,
        budget: TrainBudget,
        train_args: Mapping[str, JsonValue],
        models: Sequence[Model],
        advisor: AdvisorSetting = AdvisorSetting(),
        labels: Mapping[str, str] | None = None,
        error: str | None = None,
    ) -> TrainJob:
        """Add a STARTED train job as the next version of the user's app, with a STARTED sub train job for
        each model; with an ``error``, why it cannot run, all of them are ERRORED from the start.

        ``advisor`` tells how it searches. Versions are 1, 2, 3 ... for each user and app,
        without gaps, whoever creates at the same time.

        Raises:
            InvalidTrainJobError: a train job of this user and app is live (STARTED or RUNNING).
            InvalidUserError, InvalidDatasetError, InvalidModelError: there is no such user, dataset or model.
        """

    @abstractmethod
    def get_train_job(self, train_job_id: str) -> TrainJob:
        """The train job.

        Raises:
            InvalidTrainJobError: there is none with that id.
        """

    @abstractmethod
    def get_train_job_of_app(self, user_id: str, app: str, app_version: int = -1) -> TrainJob:
        """The user's train job of that app and version; -1 is the latest version.

        Raises:
            InvalidTrainJobError: there is none.
        """

    @abstractmethod
    def list_train_jobs(self, user_id: str, *, offset: int = 0, limit: int | None = None) -> list[TrainJob]:
        """The user's train jobs, latest first."""

    @abstractmethod
    def is_app_of_others(self, app: str, user_id: str) -> bool:
        """Whether another user than this one has an app of that name."""

    @abstractmethod
    def list_train_jobs_of_app(
        self, user_id: str, app: str, *, offset: int = 0, limit: int | None = None
    ) -> list[TrainJob]:
        """The versions of the user's app, latest first."""

    @abstractmethod
    def list_live_train_jobs(self, *, offset: int = 0, limit: int | None = None) -> list[TrainJob]:
        """Everybody's STARTED and RUNNING train jobs, oldest first."""

    @abstractmethod
    def request_train_job_stop(self, train_job_id: str) -> TrainJob:
        """Note that the job shall stop. The first request counts; a job that is requested or final stays
        unchanged.

        Raises:
            InvalidTrainJobError: there is none with that id.
        """

    @abstractmethod
    def set_train_job_status(self, train_job_id: str, target: TrainJobStatus, error: str | None = None) -> TrainJob:
        """Guarded change of status. A final one also sets ``datetime_stopped``. ``error`` is stored when
        given.

        Raises:
            InvalidTrainJobError: there is none with that id.
            IllegalTransitionError: ``target`` may not follow the present status.
        """

    @abstractmethod
    def list_sub_train_jobs(self, train_job_id: str) -> list[SubTrainJob]:
        """The job's parts, in the order of the models that it was created with."""

    @abstractmethod
    def list_sub_train_jobs_of(self, train_job_ids: Collection[str]) -> dict[str, list[SubTrainJob]]:
        """As :meth:`list_sub_train_jobs` for several jobs, by job. One read, however many; each has an entry."""

    @abstractmethod
    def get_sub_train_job(self, sub_train_job_id: str) -> SubTrainJob:
        """One part of a train job.

        Raises:
            InvalidTrainJobError: there is none with that id.
        """

    @abstractmethod
    def set_advisor(self, sub_train_job_id: str, service_id: str | None) -> SubTrainJob:
        """Hand the sub train job and its trials over to an advisor's service, or to the admin (None).

        Once this returns, no write under another ``owner_id`` succeeds any more.

        Raises:
            InvalidTrainJobError: there is none with that id.
        """

    @abstractmethod
    def set_sub_train_job_status(
        self, sub_train_job_id: str, target: TrainJobStatus, error: str | None = None, *, owner_id: str | None
    ) -> SubTrainJob:
        """Guarded change of status by the owner. ``error`` is stored when given.

        Raises:
            InvalidTrainJobError: there is none with that id.
            StaleOwnerError: ``owner_id`` does not own it now.
            IllegalTransitionError: ``target`` may not follow the present status.
        """
