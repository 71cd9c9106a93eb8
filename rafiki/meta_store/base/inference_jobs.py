"""What the meta store promises about inference jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from rafiki.budget import InferenceBudget
from rafiki.constants import InferenceJobStatus
from rafiki.deployment import Deployment, Replicas
from rafiki.ensembles import EnsembleSummary
from rafiki.entities import InferenceJob, ServedModel, ServedTrial


class InferenceJobStore(ABC):
    """Inference jobs and the trials that each serves. The admin alone writes them."""

    @abstractmethod
    def create_inference_job(
        self,
        *,
        user_id: str,
        train_job_id: str,
        app: str,
        app_version: int,
        budget: InferenceBudget,
        trial_ids: Sequence[str],
        weights: Sequence[float] | None = None,
        ensemble: EnsembleSummary = EnsembleSummary(),
        labels: Mapping[str, str] | None = None,
        deployment: Deployment = Deployment(),
    ) -> InferenceJob:
        """Add a STARTED inference job that serves these trials, best first.

        Args:
            weights: one for each trial; None = all count alike.
            ensemble: how they were chosen.
            labels: what the creator notes on it.
            deployment: how it serves, where that differs from the stack's settings.

        Raises:
            RunningInferenceJobExistsError: one of this train job is live (STARTED or RUNNING).
            InvalidUserError, InvalidTrainJobError, InvalidTrialError: there is no such user, train job or
            trial, or the trial's parameters have been freed.
        """

    @abstractmethod
    def get_inference_job(self, inference_job_id: str) -> InferenceJob:
        """The inference job, live or not.

        Raises:
            InvalidRunningInferenceJobError: there is none with that id.
        """

    @abstractmethod
    def find_live_inference_job(self, train_job_id: str) -> InferenceJob | None:
        """The STARTED or RUNNING inference job of that train job; of several the one that answers."""

    @abstractmethod
    def find_primary(self, front_id: str) -> InferenceJob:
        """The inference job that answers at an address; where none does any more, the first one that did.

        Args:
            front_id: see :attr:`~rafiki.entities.InferenceJob.front`.

        Raises:
            InvalidRunningInferenceJobError: there is none with that id.
        """

    @abstractmethod
    def list_inference_jobs(self, user_id: str, *, offset: int = 0, limit: int | None = None) -> list[InferenceJob]:
        """The user's inference jobs, latest first."""

    @abstractmethod
    def list_inference_jobs_of_app(
        self, user_id: str, app: str, *, offset: int = 0, limit: int | None = None
    ) -> list[InferenceJob]:
        """The inference jobs of the user's app, latest first."""

    @abstractmethod
    def list_live_inference_jobs(self, *, offset: int = 0, limit: int | None = None) -> list[InferenceJob]:
        """Everybody's STARTED and RUNNING inference jobs, oldest first."""

    @abstractmethod
    def list_served_trials(self, inference_job_id: str) -> list[ServedTrial]:
        """The trials that the job serves, in the order that it was created with."""

    @abstractmethod
    def list_served_models(self, inference_job_ids: Collection[str]) -> dict[str, dict[str, ServedModel]]:
        """The trials that several jobs serve, in the order of :meth:`list_served_trials`, each with its model; by job.

        One read, however many jobs; each of them has an entry.
        """

    @abstractmethod
    def set_served_trials(
        self, inference_job_id: str, trial_ids: Sequence[str], weights: Sequence[float], ensemble: EnsembleSummary
    ) -> InferenceJob:
        """Put other members in the place of those of a live job, best first.

        Raises:
            InvalidRunningInferenceJobError: there is none with that id, or it has ended or is to stop.
            InvalidTrialError: there is no such trial, or its parameters have been freed.
        """

    @abstractmethod
    def list_last_served_trial_ids(self) -> set[str]:
        """The trials that the latest inference job of each train job serves or served, and those of the inference jobs
        to which an app would be rolled back."""

    @abstractmethod
    def request_inference_job_stop(self, inference_job_id: str) -> InferenceJob:
        """Note that the job shall stop. The first request counts; a job that is requested or final stays
        unchanged.

        Raises:
            InvalidRunningInferenceJobError: there is none with that id.
        """

    @abstractmethod
    def set_inference_job_status(
        self, inference_job_id: str, target: InferenceJobStatus, error: str | None = None
    ) -> InferenceJob:
        """Guarded change of status. A final one also sets ``datetime_stopped``. ``error`` is stored when
        given.

        Raises:
            InvalidRunningInferenceJobError: there is none with that id.
            IllegalTransitionError: ``target`` may not follow the present status.
        """

    @abstractmethod
    def set_replicas(self, inference_job_id: str, replicas: Replicas) -> InferenceJob:
        """Between which numbers the workers of each member of a live job are from now on.

        Raises:
            InvalidRunningInferenceJobError: there is none with that id, or it has ended or is to stop.
        """

    @abstractmethod
    def set_predictor_host(self, inference_job_id: str, predictor_host: str | None) -> InferenceJob:
        """Where the job's predictor listens, as ``host:port``: the address of all live jobs behind it.

        Raises:
            InvalidRunningInferenceJobError: there is none with that id.
        """
