"""What the meta store promises about updates of deployments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from rafiki.budget import InferenceBudget
from rafiki.constants import RolloutKind, RolloutOrder, RolloutStatus
from rafiki.deployment import Deployment
from rafiki.ensembles import EnsembleSummary
from rafiki.entities import InferenceJob, Rollout, TrainJob
from rafiki.rollouts import Comparison, RollbackRules


class RolloutStore(ABC):
    """How apps go over from one inference job to another. The admin alone writes them."""

    @abstractmethod
    def create_rollout(
        self,
        primary: InferenceJob,
        train_job: TrainJob,
        *,
        kind: RolloutKind,
        share: float,
        rules: RollbackRules,
        is_rollback: bool,
        budget: InferenceBudget,
        trial_ids: Sequence[str],
        weights: Sequence[float],
        ensemble: EnsembleSummary,
        labels: Mapping[str, str],
        deployment: Deployment,
    ) -> Rollout:
        """Add a STARTED rollout, and the STARTED inference job that is to take the place of ``primary``.

        Args:
            primary: what answers now.
            train_job: what the new one serves.

        Raises:
            RolloutExistsError: one is under way behind that address.
            InvalidRunningInferenceJobError: ``primary`` does not answer any more.
            RunningInferenceJobExistsError: another inference job, with an address of its own, serves the train job.
            InvalidTrialError: there is no such trial, or its parameters have been freed.
        """

    @abstractmethod
    def get_rollout(self, rollout_id: str) -> Rollout:
        """The rollout, live or not.

        Raises:
            InvalidRolloutError: there is none with that id.
        """

    @abstractmethod
    def find_live_rollout(self, front_id: str) -> Rollout | None:
        """The STARTED or RUNNING rollout behind an address."""

    @abstractmethod
    def find_last_promoted(self, to_job_id: str) -> Rollout | None:
        """The rollout by which an inference job came to its place."""

    @abstractmethod
    def find_last_of_job(self, inference_job_id: str) -> Rollout | None:
        """The newest rollout that went from an inference job, or to it."""

    @abstractmethod
    def list_rollouts(self, user_id: str, app: str) -> list[Rollout]:
        """Those of a user's app, newest first."""

    @abstractmethod
    def list_live_rollouts(self) -> list[Rollout]:
        """Everybody's STARTED and RUNNING rollouts, oldest first."""

    @abstractmethod
    def find_fronts(self, inference_job_ids: Collection[str]) -> dict[str, str]:
        """Inference jobs -> by which the predictors that serve them are known."""

    @abstractmethod
    def order_rollout(self, rollout_id: str, order: RolloutOrder) -> Rollout:
        """Note what somebody wants. The last order counts; one that has ended stays unchanged.

        Raises:
            InvalidRolloutError: there is none with that id.
        """

    @abstractmethod
    def start_rollout(self, rollout_id: str) -> Rollout:
        """STARTED becomes RUNNING.

        Raises:
            InvalidRolloutError: there is none with that id.
            IllegalTransitionError: it is not STARTED.
        """

    @abstractmethod
    def end_rollout(
        self, rollout_id: str, target: RolloutStatus, reason: str | None, comparison: Comparison = Comparison()
    ) -> Rollout:
        """Guarded end. PROMOTED makes the new inference job the PRIMARY one, and has the one before leave; any other
        status has the new one leave. What leaves is to stop.

        Raises:
            InvalidRolloutError: there is none with that id.
            IllegalTransitionError: it has ended.
        """
