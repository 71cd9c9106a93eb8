"""What is to be done for a job: decided from plain values, so that a dry run and a real one cannot differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from rafiki.budget import InferenceBudget, TrainBudget
from rafiki.constants import InferenceJobStatus, RolloutKind, ServingRole, TrainJobStatus
from rafiki.contract.deployments import DeploymentRequest
from rafiki.contract.inference_jobs import InferenceJobView
from rafiki.contract.rollouts import RollbackRulesRequest
from rafiki.contract.train_jobs import TrainJobView
from rafiki.ensembles import EnsembleSetting
from rafiki.search_setting import AdvisorSetting, EarlyEnding
from rafiki.utils.shares import parse_share
from rafiki.utils.urls import http_url, mask_url
from rafiki_cli.jobs.content import changed_text
from rafiki_cli.jobs.load import LoadedJob
from rafiki_cli.jobs.observe import Observed, WantedDataset, WantedModel
from rafiki_cli.jobs.spec import Advisor, Deploy, Ensemble, JobSpec, Rollback
from rafiki_cli.render import values

SPEC_LABEL = "rafiki.spec"
"""Label of a job that a spec made: a hash of what bears on its outcome."""
PARTS_LABEL = "rafiki.spec.parts"
"""Label of a train job that a spec made: a short hash of each part of the spec."""


class Verb(StrEnum):
    """What happens to one thing of a job."""

    REUSE = "reuse"
    """It is there, and as it should be."""
    UPLOAD = "upload"
    FETCH = "fetch"
    """The admin fetches it from its address."""
    CREATE = "create"
    FOLLOW = "follow"
    """It is running already, as it should."""
    REPLACE = "replace"
    """A new one takes the place of one that differs."""
    SKIP = "skip"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing of a job, and what happens to it."""

    kind: str
    """``dataset``, ``model``, ``train`` or ``deploy``."""
    name: str
    verb: Verb
    reason: str
    """Why, for people."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that a job needs, in the order in which it is done."""

    app: str
    task: str
    steps: list[Step]
    train_job: TrainJobView | None
    """The train job that stands for the spec already, finished or running."""
    conflict: str | None = None
    """Why the job cannot be run now."""

    @property
    def is_nothing_to_do(self) -> bool:
        return all(step.verb in (Verb.REUSE, Verb.SKIP) for step in self.steps)

    def step(self, kind: str) -> Step:
        """The only step of its kind."""
        return next(step for step in self.steps if step.kind == kind)


# ---- what bears on the outcome


def budget_of(spec: JobSpec) -> TrainBudget:
    """The budget of the train job."""
    b = spec.budget
    return TrainBudget(
        time_hours=b.hours, gpu_count=b.gpus, model_trial_count=b.trials, cpu_worker_count=b.workers,
        workers_per_gpu=_shared(b.workers_per_gpu),
    )  # fmt: skip


def _shared(workers_per_gpu: int) -> int | msgspec.UnsetType:
    """What is as by default is left out: so hashes are those of versions that did not know it."""
    return msgspec.UNSET if workers_per_gpu == 1 else workers_per_gpu


def advisor_of(spec: JobSpec) -> AdvisorSetting:
    """How the train job searches."""
    a = spec.advisor if isinstance(spec.advisor, Advisor) else Advisor(scheme=spec.advisor)
    setting = AdvisorSetting(scheme=a.scheme, options=a.options, first_knobs=a.try_, warm_start=a.warm_start)
    if a.early_ending is None:
        return setting
    early_ending = EarlyEnding(rule=a.early_ending) if isinstance(a.early_ending, str) else a.early_ending
    return msgspec.structs.replace(setting, early_ending=early_ending)


def ensemble_of(spec: JobSpec) -> EnsembleSetting | None:
    """How the members are chosen; None = the best trial of each model."""
    if spec.ensemble is None:
        return None
    e = spec.ensemble if isinstance(spec.ensemble, Ensemble) else Ensemble(method=spec.ensemble)
    return EnsembleSetting(method=e.method, size=e.size)


def deploy_of(spec: JobSpec) -> Deploy | None:
    """How to serve; None = not at all."""
    if isinstance(spec.deploy, Deploy):
        return spec.deploy
    return Deploy() if spec.deploy else None


def inference_budget_of(deploy: Deploy) -> InferenceBudget:
    """The budget of the inference job."""
    count = deploy.replicas if isinstance(deploy.replicas, int) else 1
    return InferenceBudget(gpu_count=deploy.gpus, replica_count=count, workers_per_gpu=_shared(deploy.workers_per_gpu))


def deployment_of(deploy: Deploy) -> DeploymentRequest:
    """How the inference job serves."""
    return DeploymentRequest(
        latency_budget_ms=deploy.latency_budget_ms, batch_size=deploy.batch_size,
        late_target=deploy.late_target, require_key=deploy.require_key or None,
        replace_damaged=deploy.replace_damaged or None, cache=deploy.cache or None,
        replicas=None if isinstance(deploy.replicas, int) else deploy.replicas,
    )  # fmt: skip


def rollout_of(deploy: Deploy) -> tuple[RolloutKind, float, RollbackRulesRequest]:
    """How a deployed app goes over to it: how, with which share, and when it is taken back."""
    rules = deploy.rollback or Rollback()
    found = RollbackRulesRequest(
        errors=_share(rules.errors), latency_ms=rules.latency_ms, score=rules.score,
        disagreement=_share(rules.disagreement), min_requests=rules.min_requests,
    )  # fmt: skip
    if deploy.canary is not None:
        return RolloutKind.CANARY, parse_share(deploy.canary), found
    return RolloutKind.SHADOW if deploy.shadow else RolloutKind.REPLACE, 0.0, found


def _share(written: str | float | None) -> float | None:
    return None if written is None else parse_share(written)


def _hash(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def train_hash(job: LoadedJob, observed: Observed) -> str | None:
    """A hash of what bears on the outcome of the training; None while a dataset's contents are not known."""
    if any(d.sha256 is None for d in observed.datasets):
        return None
    return _hash(_parts(job, observed))


def _parts(job: LoadedJob, observed: Observed) -> dict[str, object]:
    spec = job.spec
    advisor = advisor_of(spec)
    return {
        "task": observed.task,
        "datasets": [d.sha256 for d in observed.datasets],
        "models": [m.content for m in observed.models],
        "budget": budget_of(spec),
        # The scheme is always told, as it was before the setting was a struct: jobs of that time are found again.
        "advisor": {"scheme": advisor.scheme, **msgspec.to_builtins(advisor)},
        "train_args": spec.train_args,
    }


def train_parts(job: LoadedJob, observed: Observed) -> str:
    """What :func:`train_hash` is made of, each part with the beginning of its own hash: later it tells what changed."""
    return " ".join(f"{name}={_hash(value)[:8]}" for name, value in _parts(job, observed).items())


def _changed_parts(latest: TrainJobView, job: LoadedJob, observed: Observed) -> str:
    """``the budget and the models have``."""
    before = set(latest.labels.get(PARTS_LABEL, "").split())
    names = [part.partition("=")[0] for part in train_parts(job, observed).split() if part not in before]
    if not before or not names:
        return "something has"
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"{listed} {'have' if len(names) > 1 or names[0].endswith('s') else 'has'}"


def deploy_hash(spec: JobSpec, train_job_id: str) -> str:
    """A hash of what is served and how."""
    deploy = deploy_of(spec)
    if deploy is not None:
        # How an app goes over to it is none of that.
        deploy = msgspec.structs.replace(deploy, canary=None, shadow=False, rollback=None)
    return _hash([train_job_id, ensemble_of(spec), msgspec.to_builtins(deploy) if deploy else None])


def find_served(jobs: Iterable[InferenceJobView], label: str) -> InferenceJobView | None:
    """The inference job that serves as a spec asks for, or is to."""
    return next((j for j in jobs if j.labels.get(SPEC_LABEL) == label and j.role != ServingRole.LEAVING), None)


# ---- decisions


def make_plan(job: LoadedJob, observed: Observed, *, may_deploy: bool = True, must_retrain: bool = False) -> Plan:
    """What is to be done.

    Args:
        may_deploy: False = leave serving as it is.
        must_retrain: train though nothing has changed.
    """
    steps = [_dataset_step(d) for d in observed.datasets] + [_model_step(m) for m in observed.models]
    train, val = observed.datasets
    if steps[1].verb in (Verb.UPLOAD, Verb.FETCH) and train.is_same_as(val):
        steps[1] = msgspec.structs.replace(steps[1], verb=Verb.REUSE, reason="the same as the training data")
    train_step, train_job, conflict = _train_step(job, observed, must_retrain)
    deploy = _deploy_step(job, observed, train_step, train_job, may_deploy)
    return Plan(
        app=job.spec.app, task=observed.task, steps=[*steps, train_step, deploy], train_job=train_job, conflict=conflict
    )


def _dataset_step(d: WantedDataset) -> Step:
    name = f"{d.part}: {d.upload_name}"
    if d.found is not None:
        said = f" as {d.found.name!r}" if d.found.name != d.upload_name else ""
        return Step(kind="dataset", name=name, verb=Verb.REUSE, reason=f"on the server{said}")
    if d.source.url is not None:
        return Step(kind="dataset", name=name, verb=Verb.FETCH, reason=f"from {mask_url(d.source.url)}")
    return Step(kind="dataset", name=name, verb=Verb.UPLOAD, reason=f"{d.source.path}, {values.size(d.size_bytes)}")


def _model_step(m: WantedModel) -> Step:
    if m.found is not None:
        is_older = m.newest is not None and m.found.name == m.upload_name and m.found.version < m.newest.version
        said = f" as {m.found.ref!r}" if m.found.name != m.upload_name else ""
        said = f"; {m.newest.ref} is another one" if is_older and m.newest else said
        name = m.found.ref if m.found.name == m.upload_name else m.upload_name
        return Step(kind="model", name=name, verb=Verb.REUSE, reason=f"on the server{said}")
    if m.newest is None:
        return Step(kind="model", name=m.upload_name, verb=Verb.UPLOAD, reason=str(m.source.template or m.source.file))
    if not m.changes:
        why = "checked again, because it did not load"
        return Step(kind="model", name=m.newest.ref, verb=Verb.UPLOAD, reason=why)
    why = f"as version {m.newest.version + 1}, because {changed_text(m.changes)}"
    return Step(kind="model", name=m.upload_name, verb=Verb.UPLOAD, reason=why)


def _train_step(job: LoadedJob, observed: Observed, must_retrain: bool) -> tuple[Step, TrainJobView | None, str | None]:
    spec = job.spec
    latest = observed.train_jobs[0] if observed.train_jobs else None
    version = (latest.app_version if latest else 0) + 1
    wanted = train_hash(job, observed)
    n_models = values.count(len(spec.models), "model")
    budget = f"{n_models}, {_budget_text(spec)}"

    def step(verb: Verb, no: int, reason: str) -> Step:
        return Step(kind="train", name=f"{spec.app} v{no}", verb=verb, reason=reason)

    if latest is None:
        return step(Verb.CREATE, version, budget), None, None
    is_same = wanted is not None and latest.labels.get(SPEC_LABEL) == wanted
    is_live = latest.status in (TrainJobStatus.STARTED, TrainJobStatus.RUNNING)
    current = latest.app_version
    if is_live:
        if is_same:
            return step(Verb.FOLLOW, current, "is running as asked for"), latest, None
        what = f"{spec.app} v{current}"
        conflict = (
            f"{what} is training with other settings. Wait for it (`rafiki train watch {spec.app}`), or stop it "
            f"(`rafiki train stop {spec.app}`)."
        )
        return step(Verb.CREATE, version, budget), None, conflict
    is_done = latest.status == TrainJobStatus.STOPPED and not latest.datetime_stop_requested
    if is_same and is_done and observed.has_result and not must_retrain:
        return step(Verb.REUSE, current, "nothing has changed since"), latest, None
    if must_retrain and is_same:
        why = "asked to train again"
    elif is_same and latest.datetime_stop_requested:
        why = f"v{current} was stopped before its budget was used"
    elif is_same:
        how = latest.status if latest.status == TrainJobStatus.ERRORED else "without one completed trial"
        why = f"v{current} ended {how}"
    elif SPEC_LABEL in latest.labels:
        why = f"{_changed_parts(latest, job, observed)} changed since v{current}"
    else:
        why = f"v{current} was not made from this spec"
    return step(Verb.CREATE, version, f"{why}; {budget}"), None, None


def _budget_text(spec: JobSpec) -> str:
    b = spec.budget
    parts = [f"{values.count(b.trials, 'trial')} each"] if b.trials > 0 else []
    parts += [f"at most {values.number(b.hours)} h"]
    parts += [_gpus_text(b.gpus, b.workers_per_gpu)] if b.gpus else []
    return ", ".join(parts)


def _gpus_text(gpus: int, workers_per_gpu: int) -> str:
    shared = f", each for {workers_per_gpu} workers" if workers_per_gpu > 1 else ""
    return f"{values.count(gpus, 'GPU')}{shared}"


def _deploy_step(
    job: LoadedJob, observed: Observed, train: Step, train_job: TrainJobView | None, may_deploy: bool
) -> Step:
    spec = job.spec
    deploy = deploy_of(spec)

    def step(verb: Verb, reason: str) -> Step:
        return Step(kind="deploy", name=train.name, verb=verb, reason=reason)

    if deploy is None:
        return step(Verb.SKIP, "the spec says `deploy: false`")
    if not may_deploy:
        return step(Verb.SKIP, "not asked for")
    fixed = deploy.replicas if isinstance(deploy.replicas, int) else None
    replicas = values.count(fixed, "replica") if fixed is not None else f"replicas: {deployment_of(deploy).replicas}"
    how = f"{replicas}, {_ensemble_text(spec)}"
    own_id = train_job.id if train_job else None
    answering = [j for j in observed.inference_jobs if j.role == ServingRole.PRIMARY]
    others = [f"v{j.app_version}" for j in answering if j.train_job_id != own_id]
    stops = f"; {', '.join(others)} will be stopped" if others else ""
    if train.verb is Verb.REUSE and train_job is not None:
        found = [j for j in observed.inference_jobs if j.train_job_id == train_job.id and j.role != ServingRole.LEAVING]
        serving = find_served(found, deploy_hash(spec, train_job.id)) or next(iter(found), None)
        if serving is not None:
            if serving.role == ServingRole.CANDIDATE and serving.labels.get(SPEC_LABEL) == deploy_hash(
                spec, train_job.id
            ):
                return step(Verb.FOLLOW, f"is being tried beside {', '.join(others) or 'itself'}")
            if serving.labels.get(SPEC_LABEL) != deploy_hash(spec, train_job.id):
                return step(Verb.REPLACE, f"is served otherwise; {how}{stops}")
            if serving.status == InferenceJobStatus.STARTED:
                return step(Verb.FOLLOW, f"is starting{stops}")
            if others:
                return step(Verb.REPLACE, f"serves as asked for{stops}")
            return step(Verb.REUSE, f"serves at {http_url(serving.predictor_host or '')}/predict")
    if others:
        return step(Verb.REPLACE, f"takes the place of {', '.join(others)}; {how}")
    return step(Verb.CREATE, how)


def _ensemble_text(spec: JobSpec) -> str:
    ensemble = ensemble_of(spec)
    if ensemble is None:
        return "the best trial of each model"
    size = f" of at most {ensemble.size}" if ensemble.size else ""
    return f"ensemble {ensemble.method}{size}"
