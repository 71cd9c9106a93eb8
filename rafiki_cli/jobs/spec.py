"""What a job file may hold. The reference of job specs and the JSON Schema are made from these structs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rafiki.constants import EnsembleMethod
from rafiki.deployment import Replicas
from rafiki.knob_specs import Knobs
from rafiki.search_setting import EarlyEnding
from rafiki.utils.values import JsonObject

AUTO = "auto"
"""The search scheme that fits the knobs; the stopping rule of the scheme."""
Name = Annotated[str, Meta(min_length=1, max_length=128)]
_Text = Annotated[str, Meta(min_length=1)]
ShareText = Annotated[str, Meta(min_length=1)] | Annotated[float, Meta(ge=0, le=1)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mapping of a job file."""


class DatasetSource(Part, frozen=True, kw_only=True):
    """Where a dataset comes from: exactly one of `path`, `url`, `name` and `id`."""

    path: _Text | None = None
    """A file; relative to the folder of the job file."""
    url: _Text | None = None
    """An http or https address from which the admin fetches it, once."""
    name: _Text | None = None
    """One that you uploaded; of several with the name the newest."""
    id: _Text | None = None
    """One that you uploaded, by its id."""
    as_: Name | None = msgspec.field(default=None, name="as")
    """The name to upload it under; the file's name without its ending if left out."""


class Datasets(Part, frozen=True, kw_only=True):
    """The data to train and to validate on. A text is a URL, a path or a name."""

    train: _Text | DatasetSource
    """What the models are trained on."""
    val: _Text | DatasetSource
    """What the trials are scored on."""


class ModelSource(Part, frozen=True, kw_only=True):
    """A model to search: exactly one of `file`, `template`, `name` and `id`."""

    file: _Text | None = None
    """A Python file; relative to the folder of the job file."""
    template: _Text | None = None
    """A template that comes with Rafiki: `rafiki template list`."""
    name: Name | None = None
    """Without `file` or `template`: a model on the server. With one: the name to upload it under; the class's name if
    left out."""
    id: _Text | None = None
    """A model on the server, by its id."""
    class_: _Text | None = msgspec.field(default=None, name="class")
    """The model class in the file; found by itself where there is one."""
    dependencies: dict[str, str] | None = None
    """PyPI packages that it needs, with versions or ranges: `{scikit-learn: ">=1.4"}`. Those of the template if left
    out."""
    access: Literal["private", "public"] = "private"
    """Whether other users may train it too."""
    docker_image: _Text | None = None
    """The image in which it runs where workers run in containers."""


class Budget(Part, frozen=True, kw_only=True):
    """What the search may spend; it ends when the first limit is reached."""

    trials: Annotated[int, Meta(ge=-1)] = -1
    """Trials of each model; -1 = as many as the time allows."""
    hours: Annotated[float, Meta(gt=0, le=87_600)] = 0.1
    """Hours of the whole train job."""
    gpus: Annotated[int, Meta(ge=0)] = 0
    """GPUs of the whole train job."""
    workers_per_gpu: Annotated[int, Meta(ge=1, le=64)] = 1
    """Train workers that share one GPU."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Train workers of each model that has no GPU."""


class Advisor(Part, frozen=True, kw_only=True):
    """How knobs are proposed; `advisor: tpe` is short for `advisor: {scheme: tpe}`."""

    scheme: Name = AUTO
    """The search scheme; `auto` chooses by the knobs."""
    options: JsonObject = {}
    """Options of the scheme."""
    try_: list[Knobs] = msgspec.field(default=[], name="try")
    """Knobs to try first; what one leaves out is drawn."""
    early_ending: Name | EarlyEnding | None = None
    """When hopeless trials end: a rule, or its settings (`{rule: median, min_trials: 10}`)."""
    warm_start: bool = False
    """Learn from the trials of earlier jobs of the app."""


class Ensemble(Part, frozen=True, kw_only=True):
    """Which trials are served together; `ensemble: greedy` is short for `ensemble: {method: greedy}`."""

    method: EnsembleMethod = EnsembleMethod.MEAN
    """`best`: the best trial alone. `mean`: with equal weights. `greedy`: members and weights that do best together on
    validation data."""
    size: Annotated[int, Meta(ge=1, le=100)] | None = None
    """Trials at most; one of each model if left out, 5 for `greedy`."""


class Rollback(Part, frozen=True, kw_only=True):
    """When an update of a deployed app is taken back by itself. Shares are written as `1%` or `0.01`."""

    errors: ShareText | None = None
    """Its share of requests without a prediction exceeds that of the version before by more than this."""
    latency_ms: Annotated[float, Meta(gt=0, le=3_600_000)] | None = None
    """Its 99th percentile of latencies exceeds that of the version before by more than this."""
    score: Annotated[float, Meta(ge=0)] | None = None
    """Its validation score is lower than that of the version before by more than this: it does not begin."""
    disagreement: ShareText | None = None
    """More of a shadow's compared answers than this say something else."""
    min_requests: Annotated[int, Meta(ge=1, le=1_000_000)] = 50
    """So many requests of its own, before errors, latencies and answers are judged."""


class Deploy(Part, frozen=True, kw_only=True):
    """How the ensemble is served; `deploy: false` means not at all."""

    replicas: Annotated[int, Meta(ge=1, le=256)] | Replicas = 1
    """Inference workers of each served trial; or `{min: 1, max: 4}`: as many between the two as the load needs."""
    gpus: Annotated[int, Meta(ge=0)] = 0
    """GPUs of the whole inference job."""
    workers_per_gpu: Annotated[int, Meta(ge=1, le=64)] = 1
    """Inference workers that share one GPU."""
    latency_budget_ms: Annotated[float, Meta(gt=0, le=3_600_000)] | None = None
    """A query is answered, or refused with a reason, within this time; `predictor.deadline_s` if left out."""
    late_target: Annotated[float, Meta(gt=0, le=0.5)] | None = None
    """The share of answers that may be late, or lack a member that was asked; 0.01 if left out."""
    batch_size: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """The most queries that a worker takes at once; `predictor.batch_size` if left out."""
    cache: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """So many predictions are kept by the predictor, by the content of their queries; 0 = none."""
    replace_damaged: bool = False
    """Whether the next best trials take the place of members whose parameters are damaged or whose model does not
    load."""
    require_key: bool = False
    """Whether queries need a key of the app (`rafiki key create`)."""
    canary: ShareText | None = None
    """Where the app is deployed already: the share of the requests that the new version answers, such as `10%`, until
    it is promoted or rolled back; all of them at once if left out."""
    shadow: bool = False
    """Where the app is deployed already: whether the new version is asked with copies alone, and its answers are
    compared, until it is promoted or rolled back."""
    rollback: Rollback | None = None
    """When the new version is taken back by itself; never if left out."""


class Gates(Part, frozen=True, kw_only=True):
    """What must hold before anything is deployed; else the command exits with 9."""

    min_score: float | None = None
    """The least validation score of the best trial."""
    min_ensemble_score: float | None = None
    """The least validation score of the ensemble; it needs `ensemble`."""
    min_trials: Annotated[int, Meta(ge=1)] | None = None
    """The least number of completed trials."""
    max_failed_trials: Annotated[int, Meta(ge=0)] | None = None
    """The most trials that may fail."""


class JobSpec(Part, frozen=True, kw_only=True):
    """One job: what to train on which data, under which budget, and how to serve it."""

    app: Name
    """The app's name. Each training of it is a new version."""
    task: Name | None = None
    """Such as IMAGE_CLASSIFICATION; that of the models or datasets on the server, or of the template, if left out."""
    datasets: Datasets
    """What to train and to validate on."""
    models: Annotated[list[ModelSource], Meta(min_length=1)]
    """The models to search, each under the whole trial budget."""
    budget: Budget = Budget()
    """What the search may spend."""
    advisor: Name | Advisor = AUTO
    """A search scheme, or its settings."""
    train_args: JsonObject = {}
    """Further arguments of the models' `train()`."""
    ensemble: EnsembleMethod | Ensemble | None = None
    """`best`, `mean` or `greedy`, or settings; the best trial of each model if left out."""
    deploy: bool | Deploy = True
    """`false`, or how to serve."""
    gates: Gates = Gates()
    """What must hold before anything is deployed."""


class JobFile(Part, frozen=True, kw_only=True):
    """A file of several jobs."""

    jobs: Annotated[list[JobSpec], Meta(min_length=1)]
    """Run one after another."""
