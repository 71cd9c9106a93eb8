"""Inference jobs."""

from __future__ import annotations

from collections.abc import Mapping

from rafiki.client.calls import Calls, warn_of_unknown_options
from rafiki.client.plain_answers import Json
from rafiki.constants import InferenceBudgetOption
from rafiki.contract import exports, inference_jobs, predictor_keys, rollouts


class InferenceJobCalls(Calls):
    """Calls about serving."""

    def create_inference_job(
        self,
        app: str,
        app_version: int = -1,
        budget: Mapping[str, object] | None = None,
        ensemble: Mapping[str, object] | None = None,
        deployment: Mapping[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
        replace: bool = False,
    ) -> Json:
        """Serve the best trials of a stopped train job, one per model, as an ensemble.

        Args:
            budget: keys of :class:`~rafiki.constants.InferenceBudgetOption`; a key that is none is warned of and left
                out.
            ensemble: ``method`` (``best``, ``mean``, ``greedy``) and ``size``: how its members are chosen; None = the
                best trial of each model, all counting alike.
            deployment: ``latency_budget_ms``, ``late_target``, ``batch_size``, ``require_key``, ``cache`` (so many
                predictions are kept, by the content of their queries), ``replace_damaged`` (the next best trials
                take the place of members that cannot be loaded) and ``replicas`` (``min``, ``max``, ``idle_s``: as many
                workers of each member as the load needs); None = as the stack's settings say.
            labels: notes on the job, such as the commit that it was made from.
            replace: stop the running inference job of the train job first, once all else of the request holds.

        Returns:
            ``id``, ``train_job_id``, ``app``, ``app_version``, ``predictor_host`` (``host:port``), and
            ``warnings`` where something may surprise.
        """
        warn_of_unknown_options(budget, InferenceBudgetOption)
        return self._one(
            inference_jobs.CREATE_INFERENCE_JOB, app=app, app_version=app_version,
            budget=None if budget is None else {str(k): v for k, v in budget.items()},
            ensemble=None if ensemble is None else dict(ensemble),
            deployment=None if deployment is None else dict(deployment), labels=dict(labels or {}), replace=replace,
        )  # fmt: skip

    def preview_ensemble(self, app: str, app_version: int = -1, method: str = "mean", size: int | None = None) -> Json:
        """What an inference job would serve: ``trial_ids``, ``weights`` and ``ensemble`` with its validation scores."""
        return self._one(inference_jobs.PREVIEW_ENSEMBLE, app=app, app_version=app_version, method=method, size=size)

    def get_inference_jobs_by_user(self, user_id: str | None = None) -> list[Json]:
        """Inference jobs of a user; None = yourself."""
        return self._many(inference_jobs.GET_INFERENCE_JOBS_BY_USER, user_id=user_id)

    def get_inference_jobs_of_app(self, app: str) -> list[Json]:
        """Your inference jobs of an app, newest first."""
        return self._many(inference_jobs.GET_INFERENCE_JOBS_OF_APP, app=app)

    def get_running_inference_job(self, app: str, app_version: int = -1) -> Json:
        """Your running inference job of an app's version; -1 is the latest."""
        return self._one(inference_jobs.GET_RUNNING_INFERENCE_JOB, app=app, app_version=app_version)

    def stop_inference_job(self, app: str, app_version: int = -1, *, user_id: str | None = None) -> Json:
        """Stop serving. Admins stop what others serve: the user whom they name, else the one user who serves it."""
        return self._one(inference_jobs.STOP_INFERENCE_JOB, app=app, app_version=app_version, user_id=user_id)

    def update_inference_job(
        self,
        app: str,
        app_version: int = -1,
        *,
        kind: str = "replace",
        share: float = 0.1,
        rollback: Mapping[str, object] | None = None,
        deployed_version: int | None = None,
        budget: Mapping[str, object] | None = None,
        ensemble: Mapping[str, object] | None = None,
        deployment: Mapping[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
        keeps_settings: bool = True,
    ) -> Json:
        """Go over to another version behind the address of a running app. What answers goes on until it is ready.

        Args:
            app_version: of a stopped train job; -1 = the latest.
            kind: ``replace`` (it answers all once its workers are ready), ``canary`` (it answers ``share`` of the
                requests) or ``shadow`` (it is asked with copies, and its answers are compared).
            rollback: when it is taken back by itself: ``errors``, ``latency_ms``, ``score``, ``disagreement``,
                ``min_requests``.
            deployed_version: the version that answers now, where several do.
            budget, ensemble, deployment: as for :meth:`create_inference_job`; what is left out stays as it is.
            keeps_settings: False = what is left out is as for a new inference job.

        Returns:
            ``id``, ``status`` (``STARTED``, ``RUNNING``, ``PROMOTED``, ``ROLLED_BACK``, ``ERRORED``), ``reason``,
            ``from_version``, ``to_version``, ``comparison`` and ``predictor_host``, which stays.
        """
        warn_of_unknown_options(budget, InferenceBudgetOption)
        return self._one(
            rollouts.UPDATE_INFERENCE_JOB, app=app, app_version=app_version, kind=str(kind), share=share,
            rollback=None if rollback is None else dict(rollback), deployed_version=deployed_version,
            budget=None if budget is None else {str(k): v for k, v in budget.items()},
            ensemble=None if ensemble is None else dict(ensemble),
            deployment=None if deployment is None else dict(deployment), labels=dict(labels or {}),
            keeps_settings=keeps_settings,
        )  # fmt: skip

    def promote_inference_job(self, app: str, deployed_version: int | None = None) -> Json:
        """Have the new version of an update of your app answer all."""
        return self._one(rollouts.PROMOTE_INFERENCE_JOB, app=app, deployed_version=deployed_version)

    def rollback_inference_job(self, app: str, deployed_version: int | None = None) -> Json:
        """Take an update of your app back; where none is under way, go back to the version before."""
        return self._one(rollouts.ROLLBACK_INFERENCE_JOB, app=app, deployed_version=deployed_version)

    def get_rollouts(self, app: str) -> list[Json]:
        """The updates of your app, newest first."""
        return self._many(rollouts.GET_ROLLOUTS, app=app)

    def scale_inference_job(
        self,
        app: str,
        app_version: int = -1,
        *,
        min: int | None = None,
        max: int | None = None,
        idle_s: float | None = None,
    ) -> Json:
        """Change between which numbers the load decides how many workers each served trial has.

        Args:
            min: so many there are always; 0 = all end when nobody has asked for ``idle_s``, and the next query starts
                them. None = as it is.
            max: the most.

        Returns:
            ``id``, ``app``, ``app_version``, ``replicas`` (from now on), ``warnings``.
        """
        return self._one(
            inference_jobs.SCALE_INFERENCE_JOB, app=app, app_version=app_version, min=min, max=max, idle_s=idle_s
        )

    def create_key(self, app: str, name: str) -> Json:
        """Make a key for the predictors of your app that ask for one; ``key`` is shown this once."""
        return self._one(predictor_keys.CREATE_KEY, app=app, name=name)

    def get_keys(self, app: str) -> list[Json]:
        """The keys of your app that are not revoked, without the keys themselves."""
        return self._many(predictor_keys.GET_KEYS, app=app)

    def revoke_key(self, app: str, key_id: str) -> Json:
        """Revoke a key of your app, from now on and for good."""
        return self._one(predictor_keys.REVOKE_KEY, app=app, key_id=key_id)

    def stop_all_jobs(self) -> Json:
        """Stop every train and inference job of everyone: for the superadmin."""
        return self._one(inference_jobs.STOP_ALL_JOBS)

    def get_export(
        self,
        app: str,
        app_version: int = -1,
        *,
        trial_id: str | None = None,
        method: str | None = None,
        size: int | None = None,
        max_examples: int = 3,
    ) -> Json:
        """What running an app elsewhere takes: the members of its ensemble, their models and packages.

        Args:
            trial_id: this trial alone.
            method, size: choose members anew, as :meth:`create_inference_job` would; None = those of the latest
                deployment, and where there was none, the best trial of each model.
            max_examples: queries of the validation dataset to add.

        Returns:
            ``members``, ``models``, ``task``, ``ensemble``, ``examples`` and what else is in an export's manifest.
        """
        return self._one(
            exports.GET_EXPORT, app=app, app_version=app_version, trial_id=trial_id,
            method=None if method is None else str(method), size=size, max_examples=max_examples,
        )  # fmt: skip
