"""Exports: what the ensemble of an app is made of."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rafiki.constants import EnsembleMethod
from rafiki.contract.endpoint import ALL_USERS, INSTALL_TIMEOUT_S, AnyEndpoint, Endpoint, Number, RequestStruct
from rafiki.ensembles import EnsembleSummary
from rafiki.knob_specs import Knobs
from rafiki.utils.ids import trial_label
from rafiki.utils.values import JsonValue


class ExportRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number
    trial_id: str | None = None
    """This trial alone."""
    method: EnsembleMethod | None = None
    """Members chosen anew, as a deployment would choose them; None = those of the latest deployment, if any."""
    size: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    """With ``method``: members at most."""
    max_examples: Annotated[int, msgspec.Meta(ge=0, le=16)] = 3
    """Queries of the validation dataset to add."""


class ExportModelView(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the ensemble."""

    id: str
    name: str
    version: int = 1
    """Of the model."""
    model_class: str
    file_sha256: str
    dependencies: dict[str, str]
    packages: dict[str, str]
    """What its code and Rafiki's part of an export need, as it is installed where the model runs: name -> version."""


class ExportMemberView(msgspec.Struct, frozen=True, kw_only=True):
    """A trial of the ensemble."""

    trial_id: str
    no: int
    model_id: str
    model_name: str
    model_version: int = 1
    """Of its model."""
    knobs: Knobs
    score: float | None
    weight: float
    params_sha256: str

    @property
    def label(self) -> str:
        """``wine#4``: what the trial is called within its train job."""
        return trial_label(self.model_name, self.model_version, self.no)


class ExportView(msgspec.Struct, frozen=True, kw_only=True):
    app: str
    app_version: int
    train_job_id: str
    task: str
    rafiki_version: str
    python_version: str
    """That models run with, such as ``3.11``."""
    inference_job_id: str | None
    """The deployment whose members these are; None when they were chosen for the export."""
    predictor_host: str | None
    """Where that deployment answers, while it runs."""
    ensemble: EnsembleSummary
    members: list[ExportMemberView]
    """The best first; their weights sum up to 1."""
    models: list[ExportModelView]
    examples: list[JsonValue]
    """Queries as clients send them, of the validation dataset; none where the task has no format for them."""


GET_EXPORT: Endpoint[ExportRequest, ExportView] = Endpoint(
    name="get_export", method="GET", path="/train_jobs/{app}/{app_version}/export", request=ExportRequest,
    response=ExportView, timeout_s=INSTALL_TIMEOUT_S, roles=ALL_USERS,
    summary="What running your app elsewhere takes: the members of its ensemble, their models and packages.",
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [GET_EXPORT]
