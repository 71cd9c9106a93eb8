"""Carries a plan out: uploads, trains, checks the gates, deploys. What is done is found again by the next run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rafiki.constants import ExitCode, InferenceJobStatus, RolloutStatus, ServingRole
from rafiki.contract.inference_jobs import (
    CreateInferenceJobRequest,
    InferenceJobChanged,
    InferenceJobEnded,
    InferenceJobSnapshot,
    InferenceJobView,
)
from rafiki.contract.rollouts import RolloutView, UpdateInferenceJobRequest
from rafiki.contract.train_jobs import TrainJobView
from rafiki.errors import (
    InvalidRunningInferenceJobError,
    InvalidTrainJobError,
    RafikiError,
    RolloutExistsError,
    RunningInferenceJobExistsError,
    StackError,
)
from rafiki.utils.clock import Deadline
from rafiki_cli.jobs.create import JobCreator
from rafiki_cli.jobs.errors import GateMissedError, JobErroredError, NoResultError, TimedOutError
from rafiki_cli.jobs.gates import check_ensemble, check_trials
from rafiki_cli.jobs.load import LoadedJob
from rafiki_cli.jobs.observe import LIVE, observe
from rafiki_cli.jobs.outcome import Outcome
from rafiki_cli.jobs.plan import (
    SPEC_LABEL,
    Plan,
    Verb,
    deploy_hash,
    deploy_of,
    deployment_of,
    ensemble_of,
    find_served,
    inference_budget_of,
    make_plan,
    rollout_of,
)
from rafiki_cli.jobs.serving import find_serving, serving_sentence
from rafiki_cli.jobs.spec import Deploy
from rafiki_cli.jobs.timing import Timing
from rafiki_cli.render import rollouts
from rafiki_cli.watch import streams

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient

_DEPLOY_TIMEOUT_S = 120.0
_TELL_JOB = (InferenceJobSnapshot, InferenceJobChanged, InferenceJobEnded)


class JobRunner:
    """One job. What it does goes to the callbacks; what came of it is in :attr:`outcome`."""

    def __init__(
        self,
        client: AdminClient,
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
        self._timing = Timing(deadline)
        self._creator = JobCreator(client, job, say=say, timing=self._timing, labels=self._labels)
        self.outcome = Outcome(app=job.spec.app, seconds=self._timing.seconds)

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
        try:
            self._run(plan, may_wait=may_wait, may_deploy=may_deploy, must_retrain=must_retrain)
        except (GateMissedError, JobErroredError, NoResultError) as e:
            # What people ask is answered by something else than they hoped for, or by nothing: both are said.
            self._look_what_serves()
            serves = serving_sentence(self._job.spec.app, self.outcome.serving)
            raise e.with_message(f"{e.message} Nothing new was deployed: {serves}") from e
        self._look_what_serves()

    def _look_what_serves(self) -> None:
        # How the job ended is worth more than an admin that went away since.
        with contextlib.suppress(RafikiError):
            self.outcome.serving = find_serving(self._client, self._job.spec.app, self._job.spec.gates)

    def _run(self, plan: Plan, *, may_wait: bool, may_deploy: bool, must_retrain: bool) -> None:
        provided = self._creator.provide(self._observed)
        if provided.was_fetched and not must_retrain:
            # Only now is it known what an address holds: it may all have been trained on before.
            plan = self.outcome.plan = make_plan(self._job, provided.observed, may_deploy=may_deploy)
        train_job = plan.train_job or self._creator.create(provided, may_adopt=True)
        self.outcome.train_job = train_job
        if not may_wait and plan.step("train").verb is not Verb.REUSE:
            self.outcome.message = "is training"
            return
        self._train(train_job, is_new=plan.step("train").verb is not Verb.REUSE)
        self._check_gates(train_job)
        deploy = deploy_of(self._job.spec)
        if deploy is not None and plan.step("deploy").verb is not Verb.SKIP:
            self._deploy(train_job, deploy)
        self.outcome.message = self._message(plan)

    def _message(self, plan: Plan) -> str:
        if plan.is_nothing_to_do:
            return "nothing has changed"
        return "deployed" if self.outcome.predictor_host else "trained"

    # ---- training

    def _train(self, train_job: TrainJobView, *, is_new: bool) -> None:
        app, version = train_job.app, train_job.app_version
        code, reason = ExitCode.OK, ""
        if is_new:
            with self._timing.part("train"):
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
                raise NoResultError(f"{app} v{version}: {reason}")

    # ---- gates and serving

    def _check_gates(self, train_job: TrainJobView) -> None:
        spec = self._job.spec
        results = check_trials(spec.gates, self.outcome.trials)
        self.outcome.gates = results
        if spec.gates.min_ensemble_score is not None and (setting := ensemble_of(spec)):
            preview = self._client.preview_ensemble(
                train_job.app, train_job.app_version, setting.method, setting.size
            )  # fmt: skip
            self.outcome.ensemble, self.outcome.n_members = preview.ensemble, len(preview.trial_ids)
            results += check_ensemble(spec.gates, preview.ensemble)
        missed = [gate for gate in results if not gate.is_met]
        for gate in results:
            self._say(f"gate {gate.name}: {gate.text}: {'met' if gate.is_met else 'MISSED'}")
        if missed:
            raise GateMissedError("; ".join(f"{gate.name}: {gate.text}" for gate in missed) + ".")

    def _deploy(self, train_job: TrainJobView, deploy: Deploy) -> None:
        spec, app, version = self._job.spec, train_job.app, train_job.app_version
        with self._timing.part("deploy"):
            live = [j for j in self._client.get_inference_jobs_of_app(app) if j.status in LIVE]
            answering = [j for j in live if j.role == ServingRole.PRIMARY]
            label = deploy_hash(spec, train_job.id)
            updated = None
            if (served := find_served(live, label)) is None:
                # The address of what is served stays, if possible that of the same version.
                updated = next((j for j in answering if j.train_job_id == train_job.id), next(iter(answering), None))
                if updated is None:
                    self._create(train_job, deploy, label)
                else:
                    self._update(train_job, deploy, label, updated)
            elif served.update is not None and served.role == ServingRole.CANDIDATE:
                self._say_update(self._wait_updated(served.update))
            if served is None or served.role == ServingRole.PRIMARY:
                served = self._wait_running(app, version, label)
            self.outcome.predictor_host = served.predictor_host
            self.outcome.ensemble, self.outcome.n_members = served.ensemble, len(served.trial_ids)
            if served.role != ServingRole.PRIMARY:
                return
            # Only once the new one answers: the app is served without a gap.
            for job in answering:
                if job.id != (updated or served).id:
                    # It may have ended by itself.
                    with contextlib.suppress(InvalidRunningInferenceJobError):
                        self._client.stop_inference_job(app, job.app_version)
                    self._say(f"stopped serving {app} v{job.app_version}")

    def _create(self, train_job: TrainJobView, deploy: Deploy, label: str) -> None:
        spec, app, version = self._job.spec, train_job.app, train_job.app_version
        self._say(f"deploying {app} v{version}")
        with self._unless_deployed_so(app, label):
            created = self._client.create_inference_job(CreateInferenceJobRequest(
                app=app, app_version=version, budget=inference_budget_of(deploy), ensemble=ensemble_of(spec),
                deployment=deployment_of(deploy), labels={**self._labels, SPEC_LABEL: label},
            ))  # fmt: skip
            for warning in created.warnings:
                self._say(warning)

    def _update(self, train_job: TrainJobView, deploy: Deploy, label: str, before: InferenceJobView) -> None:
        """Go over to the job's version behind the address of what answers."""
        app, version = train_job.app, train_job.app_version
        kind, share, rules = rollout_of(deploy)
        self._say(f"updating {app} v{before.app_version} to v{version}")
        with self._unless_deployed_so(app, label):
            rollout = self._client.update_inference_job(UpdateInferenceJobRequest(
                app=app, app_version=version, deployed_version=before.app_version, kind=kind, share=share,
                rollback=rules, budget=inference_budget_of(deploy), ensemble=ensemble_of(self._job.spec),
                deployment=deployment_of(deploy), keeps_settings=False, labels={**self._labels, SPEC_LABEL: label},
            ))  # fmt: skip
            self._say_update(self._wait_updated(rollout))

    def _wait_updated(self, rollout: RolloutView) -> RolloutView:
        """The update once its version answers or is tried.

        Raises:
            JobErroredError: it failed, or was taken back.
        """
        limit_s = self._limit_s()
        found = rollouts.wait_until_ready(self._client, rollout, limit_s, self._say)
        if found.status in (RolloutStatus.ERRORED, RolloutStatus.ROLLED_BACK):
            raise JobErroredError(rollouts.sentence(found))
        if found.status == RolloutStatus.STARTED:
            if self._deadline is not None and self._deadline.is_over():
                raise TimedOutError(f"{rollouts.sentence(found)} Run this again to wait for it.")
            raise StackError(f"{rollouts.sentence(found)} It was not ready within {limit_s:g} s. See `rafiki status`.")
        return found

    def _say_update(self, rollout: RolloutView) -> None:
        self._say(rollouts.sentence(rollout))

    def _limit_s(self) -> float:
        return _DEPLOY_TIMEOUT_S if self._deadline is None else min(_DEPLOY_TIMEOUT_S, self._deadline.left_s())

    @contextlib.contextmanager
    def _unless_deployed_so(self, app: str, label: str) -> Iterator[None]:
        """What somebody else has deployed at this moment, as this job would, does."""
        try:
            yield
        except (RunningInferenceJobExistsError, RolloutExistsError):
            jobs = self._client.get_inference_jobs_of_app(app)
            if find_served([j for j in jobs if j.status in LIVE], label) is None:
                raise

    def _wait_running(self, app: str, version: int, label: str) -> InferenceJobView:
        limit_s = self._limit_s()
        last = self._follow_start(app, version, label, Deadline(limit_s))
        if last.status in (InferenceJobStatus.ERRORED, InferenceJobStatus.STOPPED):
            raise JobErroredError(f"Serving {app} v{version} ended {last.status}: {last.error or 'it was stopped'}.")
        if last.status == InferenceJobStatus.STARTED:
            if self._deadline is not None and self._deadline.is_over():
                raise TimedOutError(f"{app} v{version} does not serve yet. Run this again to wait for it.")
            raise StackError(f"{app} v{version} did not start serving within {limit_s:g} s. See `rafiki status`.")
        return last

    def _follow_start(self, app: str, version: int, label: str, deadline: Deadline) -> InferenceJobView:
        """The inference job once it runs or has ended, or as it stands at the deadline."""
        watch = self._client.watch_inference_job
        # One that has ended already is none that runs.
        with contextlib.suppress(InvalidRunningInferenceJobError):
            for batch in streams.batches(watch, app, version, tick_s=1.0, deadline=deadline):
                jobs = [event.job for event in batch if isinstance(event, _TELL_JOB)]
                if jobs and jobs[-1].status != InferenceJobStatus.STARTED:
                    break
        jobs = [j for j in self._client.get_inference_jobs_of_app(app) if j.app_version == version]
        return find_served(jobs, label) or jobs[0]
