"""Updates of deployments behind their addresses."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.budget import InferenceBudget
from rafiki.constants import RolloutKind, RolloutStatus
from rafiki.contract.deployments import DeploymentRequest
from rafiki.contract.endpoint import (
    ALL_USERS,
    JOB_TIMEOUT_S,
    AnyEndpoint,
    Audited,
    Endpoint,
    Labels,
    Number,
    RequestStruct,
)
from rafiki.ensembles import EnsembleSetting
from rafiki.rollouts import Comparison, RollbackRules, Share


class RollbackRulesRequest(RollbackRules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the update is to be taken back by itself. A rule that is None is not applied."""


class UpdateInferenceJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number = -1
    """The version to go over to, of a stopped train job; -1 = the latest."""
    deployed_version: Number | None = None
    """The version that answers now, where several do, each at its own address. None = the only one."""
    kind: RolloutKind = RolloutKind.REPLACE
    """``replace``: it answers all once its workers are ready. ``canary``: it answers ``share``. ``shadow``: it is asked
    with copies, and its answers are compared."""
    share: Share = 0.1
    """Of the requests, for a canary."""
    rollback: RollbackRulesRequest | None = None
    """None = it is taken back by hand alone."""
    budget: InferenceBudget | None = None
    """None = as that of the version before."""
    ensemble: EnsembleSetting | None = None
    """None = chosen as that of the version before."""
    deployment: DeploymentRequest | None = None
    """What is left out stays as that of the version before."""
    keeps_settings: bool = True
    """False = what is left out of the budget, the ensemble and the deployment is as for a new inference job."""
    labels: Labels = {}
    """Notes of yours on the new inference job."""


class RolloutRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    deployed_version: Number | None = None
    """The version that answers now, where several do. None = the only one."""


class ListRolloutsRequest(RequestStruct, frozen=True, kw_only=True):
    app: str


class RolloutView(msgspec.Struct, frozen=True, kw_only=True):
    """An update: how an app goes over from one inference job to another behind one address."""

    id: str
    app: str
    kind: RolloutKind
    share: float
    """Of the requests, for a canary."""
    rollback: RollbackRules
    """When it is taken back by itself."""
    is_rollback: bool
    """Whether it goes back to the version before."""
    status: RolloutStatus
    reason: str | None
    """Why it ended as it did; while it runs, what it waits for."""
    from_job_id: str
    """The inference job before."""
    from_version: int
    """Its version of the app."""
    to_job_id: str
    """The new inference job."""
    to_version: int
    """Its version of the app."""
    comparison: Comparison | None
    """How both have done while the new one was tried or compared; None before anything is known."""
    predictor_host: str | None
    """``host:port`` of the predictor, which stays."""
    datetime_started: datetime
    datetime_ready: datetime | None
    """When the workers of the new one were ready, where it was tried or compared."""
    datetime_stopped: datetime | None


UPDATE_INFERENCE_JOB: Endpoint[UpdateInferenceJobRequest, RolloutView] = Endpoint(
    name="update_inference_job", method="POST", path="/apps/{app}/rollouts", request=UpdateInferenceJobRequest,
    response=RolloutView, timeout_s=JOB_TIMEOUT_S, roles=ALL_USERS,
    summary="Go over to another version behind the address of a running app: at once, with a share, or compared.",
    audited=Audited("infer.update", ("app", "app_version", "deployed_version", "kind", "share", "id")),
)  # fmt: skip
PROMOTE_INFERENCE_JOB: Endpoint[RolloutRequest, RolloutView] = Endpoint(
    name="promote_inference_job", method="POST", path="/apps/{app}/rollouts/promote", request=RolloutRequest,
    response=RolloutView, timeout_s=JOB_TIMEOUT_S, roles=ALL_USERS,
    summary="Have the new version of an update answer all.",
    audited=Audited("infer.promote", ("app", "deployed_version", "id")),
)  # fmt: skip
ROLLBACK_INFERENCE_JOB: Endpoint[RolloutRequest, RolloutView] = Endpoint(
    name="rollback_inference_job", method="POST", path="/apps/{app}/rollouts/rollback", request=RolloutRequest,
    response=RolloutView, timeout_s=JOB_TIMEOUT_S, roles=ALL_USERS,
    summary="Take an update back; where none is under way, go back to the version before.",
    audited=Audited("infer.rollback", ("app", "deployed_version", "id")),
)  # fmt: skip
GET_ROLLOUTS: Endpoint[ListRolloutsRequest, list[RolloutView]] = Endpoint(
    name="get_rollouts", method="GET", path="/apps/{app}/rollouts", request=ListRolloutsRequest,
    response=list[RolloutView], roles=ALL_USERS, summary="The updates of your app, newest first.",
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [UPDATE_INFERENCE_JOB, PROMOTE_INFERENCE_JOB, ROLLBACK_INFERENCE_JOB, GET_ROLLOUTS]
