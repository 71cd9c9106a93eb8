"""Carries a plan out: uploads, trains, checks the gates, deploys. What is done is found again by the next run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rafiki.constants import ExitCode, InferenceJobStatus
from rafiki.errors import (
    DuplicateModelNameError,
    InvalidModelError,
    InvalidRunningInferenceJobError,
    InvalidTrainJobError,
    RafikiError,
    RunningInferenceJobExistsError,
    StackError,
)
from rafiki.utils.clock import Deadline
from rafiki_cli.jobs.gates import check_ensemble, check_trials
from rafiki_cli.jobs.load import LoadedJob
from rafiki_cli.jobs.observe import LIVE, Observed, WantedDataset, WantedModel, observe
from rafiki_cli.jobs.outcome import Outcome
from rafiki_cli.jobs.plan import (
    PARTS_LABEL,
    SPEC_LABEL,
    Plan,
    Verb,
    advisor_of,
    budget_of,
    deploy_hash,
    deploy_of,
    ensemble_of,
    inference_budget_of,
    make_plan,
    train_hash,
    train_parts,
)
from rafiki_cli.render import progress
from rafiki_cli.watch import pushed

if TYPE_CHECKING:
    from rafiki.client import Client

Json = dict[str, Any]
_DEPLOY_TIMEOUT_S = 120.0


class GateMissedError(RafikiError):
    """The job ended well, but below what its spec asks for."""

    exit_code = ExitCode.GATE_MISSED


class TimedOutError(RafikiError):
    """The time that the command was given is over."""

    exit_code = ExitCode.TIMED_OUT


class JobErroredError(RafikiError):
    """A job ended ERRORED."""

    exit_code = ExitCode.JOB_ERRORED


class JobRunner:
    """One job. What it does is told through the callbacks; what came of it stands in :attr:`outcome`."""

    def __init__(
        self,
        client: Client,
        job: LoadedJob,
        *,
        say: Callable[[str], None],
        follow: Callable[[str, int, float | None], tuple[ExitCode, str]],
        deadline: Deadline | None = None,
        commit: str | None = None,
    ) -> None:
        """
        Args:
            say: takes a line for people.
            follow: shows a train job until it ends, or for so many seconds; returns how it ended, and why if not well.
            deadline: when to give up waiting; None = never.
            commit: noted on the jobs that are made.
        """
        self._client = client
        self._job = job
        self._say = say
        self._follow = follow
        self._deadline = deadline
        self._labels = {"commit": commit} if commit else {}
        self.outcome = Outcome(app=job.spec.app)

    def plan(self, *, may_deploy: bool = True, must_retrain: bool = False) -> Plan:
        """What is to be done; changes nothing.

        Raises:
            RafikiError: when the spec does not fit what is on the server.
        """
        self._observed = observe(self._client, self._job)
        self.outcome.plan = make_plan(
            self._job, self._observed, may_deploy=may_deploy, must_retrain=must_retrain
        )  # fmt: skip
        return self.outcome.plan

    def run(self, plan: Plan, *, may_wait: bool = True, may_deploy: bool = True, must_retrain: bool = False) -> None:
        """Carry out what :meth:`plan` returned.

        Args:
            may_wait: False = leave once the train job is made.

        Raises:
            GateMissedError, TimedOutError, JobErroredError: as the job ended.
            RafikiError: when the admin refuses or cannot be reached.
        """
        if plan.conflict:
            raise InvalidTrainJobError(plan.conflict)
        was_fetched = self._provide_datasets()
        self._provide_models()
        if was_fetched and not must_retrain:
            # Only now is it known what an address holds: it may all have been trained on before.
            plan = self.outcome.plan = make_plan(self._job, self._observed, may_deploy=may_deploy)
        train_job = plan.train_job or self._create_train_job()
        self.outcome.train_job = train_job
        if not may_wait and plan.step("train").verb is not Verb.REUSE:
            self.outcome.message = "is training"
            return
        self._train(train_job, is_new=plan.step("train").verb is not Verb.REUSE)
        self._check_gates()
        step = plan.step("deploy")
        if step.verb is not Verb.SKIP:
            self._deploy()
        self.outcome.message = self._message(plan)

    def _message(self, plan: Plan) -> str:
        if plan.is_nothing_to_do:
            return "nothing has changed"
        return "deployed" if self.outcome.predictor_host else "trained"

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        self._check_time()
        start = time.monotonic()
        try:
            yield
        finally:
            self.outcome.seconds[part] = self.outcome.seconds.get(part, 0.0) + time.monotonic() - start

    def _check_time(self) -> None:
        if self._deadline is not None and self._deadline.is_over():
            raise TimedOutError(f"Not done within {self._deadline.duration_s:g} s. Run it again to go on.")

    # ---- what training needs

    def _provide_datasets(self) -> bool:
        """Upload what is not there; whether anything came from an address."""
        import msgspec

        datasets: list[WantedDataset] = []
        was_fetched = False
        for d in self._observed.datasets:
            same = next((o.found for o in datasets if o.is_same_as(d)), None)
            found = d.found or same
            if found is None:
                with self._timed("datasets"):
                    self._say(f"{'fetching' if d.file is None else 'uploading'} the dataset {d.upload_name}")
                    try:
                        found = self._create_dataset(d)
                    except RafikiError as e:
                        raise self._placed(("datasets", d.part), e) from e
                was_fetched = was_fetched or d.file is None
            datasets.append(msgspec.structs.replace(d, found=found, sha256=found["sha256"]))
        self._observed = msgspec.structs.replace(self._observed, datasets=datasets)
        return was_fetched

    def _create_dataset(self, d: WantedDataset) -> Json:
        with progress.transfer(f"Uploading {d.upload_name}", after="The admin checks it") as show:
            return self._client.create_dataset(
                d.upload_name, self._observed.task, d.file, d.source.url, progress=show
            )  # fmt: skip

    def _provide_models(self) -> None:
        import msgspec

        models: list[WantedModel] = []
        for i, m in enumerate(self._observed.models):
            found = m.found
            if found is None:
                with self._timed("models"):
                    self._say(f"uploading the model {m.upload_name}")
                    try:
                        found = self._upload(m)
                    except RafikiError as e:
                        raise self._placed(("models", i), e) from e
            if found.get("load_error"):
                raise self._placed(
                    ("models", i), InvalidModelError(f"{found['name']!r} does not load: {found['load_error']}")
                )
            models.append(msgspec.structs.replace(m, found=found))
        self._observed = msgspec.structs.replace(self._observed, models=models)

    def _upload(self, m: WantedModel) -> Json:
        source = m.source
        packages = source.dependencies or {}
        try:
            with progress.installing(self._client, packages):
                created = self._client.create_model(
                    m.upload_name, self._observed.task, m.file or "", source.class_ or "", packages,
                    source.access.upper(), source.docker_image,
                )  # fmt: skip
        except DuplicateModelNameError:
            # Somebody else may have uploaded the same at this moment.
            again = next(o for o in observe(self._client, self._job).models if o.source == source)
            if again.found is None:
                raise
            return again.found
        if created["load_error"]:
            # Nothing refers to it yet: the next run is to find the name free.
            with contextlib.suppress(RafikiError):
                self._client.delete_model(created["id"])
        return created

    def _placed(self, key: tuple[str | int, ...], e: RafikiError) -> RafikiError:
        """The same error, with the place in the file that it is about."""
        placed = type(e)(self._job.error(key, e.message).message)
        placed.exit_code = e.exit_code
        return placed

    # ---- training

    def _create_train_job(self) -> Json:
        spec, observed = self._job.spec, self._observed
        train, val = (d.found or {} for d in observed.datasets)
        label = train_hash(self._job, observed) or ""
        try:
            created = self._client.create_train_job(
                spec.app, observed.task, train["id"], val["id"], budget_of(spec),
                [(m.found or {})["id"] for m in observed.models], spec.train_args or None, advisor_of(spec),
                {**self._labels, SPEC_LABEL: label, PARTS_LABEL: train_parts(self._job, observed)},
            )  # fmt: skip
        except InvalidTrainJobError:
            # Somebody else may have made the same at this moment.
            latest = next(iter(self._client.get_train_jobs_of_app(spec.app)), None)
            if latest is None or latest["labels"].get(SPEC_LABEL) != label:
                raise
            return latest
        return self._client.get_train_job(spec.app, created["app_version"])

    def _train(self, train_job: Json, *, is_new: bool) -> None:
        app, version = train_job["app"], train_job["app_version"]
        code, reason = ExitCode.OK, ""
        if is_new:
            with self._timed("train"):
                code, reason = self._follow(app, version, self._deadline.left_s() if self._deadline else None)
        self.outcome.train_job = self._client.get_train_job(app, version)
        self.outcome.trials = self._client.get_trials_of_train_job(app, version)
        match code:
            case ExitCode.OK:
                pass
            case ExitCode.TIMED_OUT:
                raise TimedOutError(
                    f"{app} v{version} is not done within {self._deadline.duration_s if self._deadline else 0:g} s. It "
                    f"goes on: run this again to wait for it, or stop it with `rafiki train stop {app}`."
                )
            case ExitCode.JOB_ERRORED:
                raise JobErroredError(f"{app} v{version}: {reason}")
            case _:
                error = RafikiError(f"{app} v{version}: {reason}")
                error.exit_code = code
                raise error

    # ---- gates and serving

    def _check_gates(self) -> None:
        spec, train_job = self._job.spec, self.outcome.train_job or {}
        results = check_trials(spec.gates, self.outcome.trials)
        self.outcome.gates = results
        if spec.gates.min_ensemble_score is not None and (setting := ensemble_of(spec)):
            preview = self._client.preview_ensemble(train_job["app"], train_job["app_version"], **setting)
            self.outcome.ensemble = preview["ensemble"]
            results += check_ensemble(spec.gates, preview["ensemble"])
        missed = [gate for gate in results if not gate.is_met]
        for gate in results:
            self._say(f"gate {gate.name}: {gate.text}: {'met' if gate.is_met else 'MISSED'}")
        if missed:
            raise GateMissedError("; ".join(f"{gate.name}: {gate.text}" for gate in missed) + ". Nothing was deployed.")

    def _deploy(self) -> None:
        spec, train_job = self._job.spec, self.outcome.train_job or {}
        app, version = train_job["app"], train_job["app_version"]
        deploy = deploy_of(spec)
        if deploy is None:
            return
        with self._timed("deploy"):
            live = [j for j in self._client.get_inference_jobs_of_app(app) if j["status"] in LIVE]
            label = deploy_hash(spec, train_job["id"])
            own = next((j for j in live if j["train_job_id"] == train_job["id"]), None)
            if own is None or own["labels"].get(SPEC_LABEL) != label:
                self._say(f"deploying {app} v{version}")
                with self._unless_deployed_so(app, label):
                    self._client.create_inference_job(
                    app, version, inference_budget_of(deploy), ensemble_of(spec),
                    {"latency_budget_ms": deploy.latency_budget_ms, "batch_size": deploy.batch_size},
                    {**self._labels, SPEC_LABEL: label}, replace=own is not None,
                )  # fmt: skip
            served = self._wait_running(app, version)
            self.outcome.predictor_host, self.outcome.ensemble = served["predictor_host"], served["ensemble"]
            # Only once the new one answers: the app is served without a gap.
            for job in live:
                if job["train_job_id"] != train_job["id"]:
                    # It may have ended by itself.
                    with contextlib.suppress(InvalidRunningInferenceJobError):
                        self._client.stop_inference_job(app, job["app_version"])
                    self._say(f"stopped serving {app} v{job['app_version']}")

    @contextlib.contextmanager
    def _unless_deployed_so(self, app: str, label: str) -> Iterator[None]:
        """What somebody else has deployed at this moment, as this job would, does."""
        try:
            yield
        except RunningInferenceJobExistsError:
            jobs = self._client.get_inference_jobs_of_app(app)
            if not any(j["status"] in LIVE and j["labels"].get(SPEC_LABEL) == label for j in jobs):
                raise

    def _wait_running(self, app: str, version: int) -> Json:
        limit_s = _DEPLOY_TIMEOUT_S
        if self._deadline is not None:
            limit_s = min(limit_s, self._deadline.left_s())
        last = self._follow_start(app, version, Deadline(limit_s))
        if last["status"] in (InferenceJobStatus.ERRORED, InferenceJobStatus.STOPPED):
            raise JobErroredError(
                f"Serving {app} v{version} ended {last['status']}: {last['error'] or 'it was stopped'}."
            )
        if last["status"] == InferenceJobStatus.STARTED:
            if self._deadline is not None and self._deadline.is_over():
                raise TimedOutError(f"{app} v{version} does not serve yet. Run this again to wait for it.")
            raise StackError(f"{app} v{version} did not start serving within {limit_s:g} s. See `rafiki status`.")
        return last

    def _follow_start(self, app: str, version: int, deadline: Deadline) -> Json:
        """The inference job once it runs or has ended, or as it stands at the deadline."""
        watch = self._client.watch_inference_job
        # One that has ended already is none that runs.
        with contextlib.suppress(InvalidRunningInferenceJobError):
            for batch in pushed.batches(watch, app, version, tick_s=1.0, deadline=deadline):
                jobs: list[Json] = [event["job"] for event in batch if "job" in event]
                if jobs and jobs[-1]["status"] != InferenceJobStatus.STARTED:
                    break
        return next(j for j in self._client.get_inference_jobs_of_app(app) if j["app_version"] == version)


__all__ = ["GateMissedError", "JobErroredError", "JobRunner", "Observed", "TimedOutError"]
