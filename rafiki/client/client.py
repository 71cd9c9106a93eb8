"""The client: one method for each call of the contract, under the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from rafiki.client.transport import INSTALL_TIMEOUT_S, JOB_CALL_TIMEOUT_S, ContractCaller, Progress
from rafiki.client.watching import Watching
from rafiki.constants import ModelAccessRight, UserType
from rafiki.contract import (
    api_tokens,
    datasets,
    environments,
    exports,
    garbage,
    inference_jobs,
    models,
    stack,
    train_jobs,
    users,
)
from rafiki.contract.endpoint import Endpoint, FilePart
from rafiki.errors import InvalidRequestError

if TYPE_CHECKING:
    from rafiki.model import BaseModel

    M = TypeVar("M", bound=BaseModel)
else:
    M = TypeVar("M")

Json = dict[str, Any]


class Client(Watching):
    """Calls the admin of a stack. Answers are plain dicts and lists; datetimes in them are ISO 8601 texts.

    Every method raises the error that the admin raised (see :mod:`rafiki.errors`), ``UnreachableError`` when
    no admin answers in time, and ``UnauthorizedError`` when it needs a login and there is none. Safe to share
    between threads.

    Args:
        admin_host: name or address of the machine on which the admin runs; ``https://`` before it where a proxy in
            front of the admin speaks TLS.
        admin_port: port of the admin.
    """

    def __init__(self, admin_host: str = "localhost", admin_port: int = 3000) -> None:
        self._caller = ContractCaller(admin_host, int(admin_port))

    @property
    def token(self) -> str | None:
        """The token of the user who is logged in; it can be set to one that was kept."""
        return self._caller.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._caller.token = token

    @property
    def address(self) -> str:
        """``host:port`` of the admin."""
        return self._caller.address

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._caller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _one(self, endpoint: Endpoint[Any], timeout_s: float | None = None, **fields: Any) -> Json:
        return cast(Json, self._caller.call(endpoint, timeout_s=timeout_s, **fields))

    def _many(self, endpoint: Endpoint[Any], **fields: Any) -> list[Json]:
        return cast("list[Json]", self._caller.call(endpoint, **fields))

    # ---- stack and users -----------------------------------------------------------------------------------

    def get_health(self) -> Json:
        """Whether the admin is up: ``name``, ``version``, ``status`` (``ok``, or what is wrong)."""
        return self._one(stack.GET_HEALTH, timeout_s=5.0)

    def get_services(self) -> list[Json]:
        """The live services of all jobs."""
        return self._many(stack.GET_SERVICES)

    def login(self, email: str, password: str) -> Json:
        """Log in; later calls are made as this user. Returns ``user_id``, ``user_type``, ``token``."""
        answer = self._one(users.LOGIN, email=email, password=password)
        self.token = answer["token"]
        return answer

    def logout(self) -> None:
        """Forget the token."""
        self.token = None

    def get_current_user(self) -> Json:
        """The user who is logged in."""
        return self._one(users.GET_CURRENT_USER)

    def create_user(self, email: str, password: str, user_type: str | UserType) -> Json:
        """Create a user of a :class:`~rafiki.constants.UserType`."""
        return self._one(users.CREATE_USER, email=email, password=password, user_type=str(user_type))

    def get_users(self) -> list[Json]:
        """All users."""
        return self._many(users.GET_USERS)

    def ban_user(self, email: str) -> Json:
        """Ban a user for good."""
        return self._one(users.BAN_USER, email=email)

    def set_password(self, password: str, *, old_password: str | None = None, email: str | None = None) -> Json:
        """Change a password, which ends the logins that were made with the old one: this client needs a new one too
        where it was its own.

        Args:
            password: the new one.
            old_password: needed for one's own.
            email: whose, for admins; None = one's own.
        """
        return self._one(users.SET_PASSWORD, password=password, old_password=old_password, email=email)

    def create_api_token(self, name: str, expires_in_s: int | None = None) -> Json:
        """Make an API token, which programs use instead of a login.

        Args:
            expires_in_s: how long it is valid; None = as long as the stack allows.

        Returns:
            ``id``, ``name``, ``datetime_expires`` and ``token``, which is shown this once.
        """
        return self._one(api_tokens.CREATE_API_TOKEN, name=name, expires_in_s=expires_in_s)

    def get_api_tokens(self) -> list[Json]:
        """Your API tokens that are not revoked, without the tokens themselves."""
        return self._many(api_tokens.GET_API_TOKENS)

    def revoke_api_token(self, token_id: str) -> Json:
        """Revoke one of your API tokens, from now on and for good."""
        return self._one(api_tokens.REVOKE_API_TOKEN, token_id=token_id)

    # ---- datasets ------------------------------------------------------------------------------------------

    def create_dataset(
        self,
        name: str,
        task: str,
        dataset_path: str | Path | None = None,
        dataset_url: str | None = None,
        *,
        progress: Progress | None = None,
    ) -> Json:
        """Upload a dataset from a file of this machine, whatever its size: it is streamed.

        Args:
            dataset_path: the file, in the format of the task.
            dataset_url: instead of a file, an address from which the admin fetches it.
            progress: called with the bytes sent so far and in all.

        Raises:
            InvalidDatasetError: when the file is not what the task requires.
            InvalidRequestError: when no file is given or it cannot be read.
        """
        if (dataset_path is None) == (dataset_url is None):
            raise InvalidRequestError("Give either dataset_path or dataset_url.")
        if dataset_path is None:
            return cast(Json, self._caller.call(datasets.CREATE_DATASET, name=name, task=task, dataset_url=dataset_url))
        part = FilePart(str(dataset_path), Path(dataset_path).name)
        answer = self._caller.call(datasets.CREATE_DATASET, progress=progress, name=name, task=task, dataset=part)
        return cast(Json, answer)

    def get_datasets(self, task: str | None = None) -> list[Json]:
        """Your datasets (of one task), newest first."""
        return self._many(datasets.GET_DATASETS, task=task)

    def get_dataset(self, dataset_id: str) -> Json:
        """One of your datasets."""
        return self._one(datasets.GET_DATASET, dataset_id=dataset_id)

    # ---- models --------------------------------------------------------------------------------------------

    def create_model(
        self,
        name: str,
        task: str,
        model_file_path: str | Path,
        model_class: str,
        dependencies: Mapping[str, str] | None = None,
        access_right: str | ModelAccessRight = ModelAccessRight.PRIVATE,
        docker_image: str | None = None,
    ) -> Json:
        """Upload a model template.

        Args:
            model_file_path: the Python file.
            model_class: the class in it that derives from ``BaseModel``.
            dependencies: PyPI package -> version (``"1.4.2"``), range (``">=1.4"``) or ``""``. What is not there yet
                is installed before the call returns, which may take minutes; once for each distinct set.

        Returns:
            ``id``, ``user_id``, ``name`` and ``load_error``: why the file does not load, None when it does.
        """
        part = FilePart(str(model_file_path), Path(model_file_path).name)
        return self._one(
            models.CREATE_MODEL, timeout_s=INSTALL_TIMEOUT_S, name=name, task=task, model_class=model_class,
            model_file_bytes=part, dependencies=dict(dependencies or {}), access_right=str(access_right),
            docker_image=docker_image,
        )  # fmt: skip

    def get_model(self, model_id: str) -> Json:
        """One model: for its owner and admins."""
        return self._one(models.GET_MODEL, model_id=model_id)

    def download_model_file(
        self, model_id: str, out_model_file_path: str | Path, *, progress: Progress | None = None
    ) -> Json:
        """Write the file of a model to ``out_model_file_path``; returns the model."""
        self._caller.call_to_file(
            models.GET_MODEL_FILE, Path(out_model_file_path), progress=progress, model_id=model_id
        )
        return self.get_model(model_id)

    def get_model_file(self, model_id: str) -> bytes:
        """The file of a model: for its owner and admins."""
        return cast(bytes, self._caller.call(models.GET_MODEL_FILE, model_id=model_id))

    def get_available_models(self, task: str | None = None) -> list[Json]:
        """Your own models and all public ones (of one task)."""
        return self._many(models.GET_AVAILABLE_MODELS, task=task)

    def delete_model(self, model_id: str) -> Json:
        """Delete a model that no train job refers to."""
        return self._one(models.DELETE_MODEL, model_id=model_id)

    # ---- environments --------------------------------------------------------------------------------------

    def get_environments(self) -> list[Json]:
        """The installed sets of packages that models depend on; for others than admins, of models they can use."""
        return self._many(environments.GET_ENVIRONMENTS)

    def get_environment_log(self, key: str) -> Json:
        """``key`` and ``lines``: what was said when an environment was built."""
        return self._one(environments.GET_ENVIRONMENT_LOG, key=key)

    def create_environment(self, dependencies: Mapping[str, str]) -> Json:
        """Begin to install packages, as :meth:`create_model` does, without waiting for the end.

        Returns:
            ``key`` (None: all of them are there already), ``status`` (``READY``, ``BUILDING``, ``FAILED``), ``reason``.
        """
        return self._one(environments.CREATE_ENVIRONMENT, dependencies=dict(dependencies))

    def remove_environment(self, key: str) -> Json:
        """Delete an environment that no live job uses; returns what it was. It is built again when it is needed."""
        return self._one(environments.REMOVE_ENVIRONMENT, timeout_s=JOB_CALL_TIMEOUT_S, key=key)

    # ---- train jobs and trials -----------------------------------------------------------------------------

    def create_train_job(
        self,
        app: str,
        task: str,
        train_dataset_id: str,
        val_dataset_id: str,
        budget: Mapping[str, Any] | None = None,
        models: Sequence[str] | None = None,
        train_args: Mapping[str, Any] | None = None,
        advisor: str | Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Json:
        """Start training models under a budget.

        Args:
            budget: keys of :class:`~rafiki.constants.BudgetOption`.
            models: ids of models; None = every available model of the task.
            train_args: passed on to each model's ``train``.
            advisor: how to search: the name of a scheme, or settings such as ``{"scheme": "asha", "options": {"eta":
                4}}``; None = by the knobs.
            labels: notes on the job, such as the commit that it was made from.

        Returns:
            ``id``, ``app``, ``app_version``.
        """
        return self._one(
            train_jobs.CREATE_TRAIN_JOB, timeout_s=JOB_CALL_TIMEOUT_S, app=app, task=task,
            train_dataset_id=train_dataset_id, val_dataset_id=val_dataset_id,
            budget={str(k): v for k, v in (budget or {}).items()},
            model_ids=None if models is None else list(models),
            train_args=None if train_args is None else dict(train_args),
            advisor=dict(advisor) if isinstance(advisor, Mapping) else advisor, labels=dict(labels or {}),
        )  # fmt: skip

    def get_train_jobs_by_user(self, user_id: str | None = None) -> list[Json]:
        """Train jobs of a user; None = yourself."""
        return self._many(train_jobs.GET_TRAIN_JOBS_BY_USER, user_id=user_id)

    def get_train_jobs_of_app(self, app: str) -> list[Json]:
        """Your train jobs of an app, newest first."""
        return self._many(train_jobs.GET_TRAIN_JOBS_OF_APP, app=app)

    def get_train_job(self, app: str, app_version: int = -1) -> Json:
        """One of your train jobs; version -1 is the latest."""
        return self._one(train_jobs.GET_TRAIN_JOB, app=app, app_version=app_version)

    def stop_train_job(self, app: str, app_version: int = -1) -> Json:
        """Stop a train job; its finished trials stay."""
        return self._one(train_jobs.STOP_TRAIN_JOB, timeout_s=JOB_CALL_TIMEOUT_S, app=app, app_version=app_version)

    def get_trials_of_train_job(
        self, app: str, app_version: int = -1, *, offset: int = 0, limit: int | None = None
    ) -> list[Json]:
        """The trials of a train job: ``limit`` of them from ``offset`` on, None = all."""
        return self._many(
            train_jobs.GET_TRIALS_OF_TRAIN_JOB, app=app, app_version=app_version, offset=offset, limit=limit
        )

    def get_best_trials_of_train_job(self, app: str, app_version: int = -1, max_count: int = 2) -> list[Json]:
        """The trials with the highest scores, best first, among those whose parameters are saved."""
        return self._many(
            train_jobs.GET_TRIALS_OF_TRAIN_JOB,
            app=app,
            app_version=app_version,
            type="best",
            max_count=max_count,
        )

    def get_trial(self, trial_id: str) -> Json:
        """One trial: for its owner and admins."""
        return self._one(train_jobs.GET_TRIAL, trial_id=trial_id)

    def get_trial_logs(self, trial_id: str) -> Json:
        """What the model logged in a trial: ``messages``, ``metrics``, ``plots``."""
        return self._one(train_jobs.GET_TRIAL_LOGS, trial_id=trial_id)

    def get_trial_parameters(self, trial_id: str) -> bytes:
        """The trained parameters of a trial, as the bytes of a safetensors file."""
        return cast(bytes, self._caller.call(train_jobs.GET_TRIAL_PARAMETERS, trial_id=trial_id))

    def download_trial_parameters(
        self, trial_id: str, out_path: str | Path, *, progress: Progress | None = None
    ) -> None:
        """Write the trained parameters of a trial to a safetensors file, as they come in."""
        self._caller.call_to_file(train_jobs.GET_TRIAL_PARAMETERS, Path(out_path), progress=progress, trial_id=trial_id)

    def load_trial_model(self, trial_id: str, ModelClass: type[M]) -> M:
        """The trained model of a trial, in this process: a ``ModelClass`` with its parameters loaded."""
        from rafiki.param_store.codec import decode_params

        trial = self.get_trial(trial_id)
        params = decode_params(self.get_trial_parameters(trial_id))
        model = ModelClass(**trial["proposal"]["knobs"])
        model.load_parameters(params)
        return model

    # ---- inference jobs ------------------------------------------------------------------------------------

    def create_inference_job(
        self,
        app: str,
        app_version: int = -1,
        budget: Mapping[str, Any] | None = None,
        ensemble: Mapping[str, Any] | None = None,
        deployment: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Json:
        """Serve the best trials of a stopped train job, one per model, as an ensemble.

        Args:
            budget: keys of :class:`~rafiki.constants.InferenceBudgetOption`.
            ensemble: ``method`` (``best``, ``mean``, ``greedy``) and ``size``: how its members are chosen; None = the
                best trial of each model, all counting alike.
            deployment: ``latency_budget_ms`` and ``batch_size``; None = as the stack's settings say.
            labels: notes on the job, such as the commit that it was made from.

        Returns:
            ``id``, ``train_job_id``, ``app``, ``app_version``, ``predictor_host`` (``host:port``).
        """
        return self._one(
            inference_jobs.CREATE_INFERENCE_JOB, timeout_s=JOB_CALL_TIMEOUT_S,
            app=app, app_version=app_version,
            budget=None if budget is None else {str(k): v for k, v in budget.items()},
            ensemble=None if ensemble is None else dict(ensemble),
            deployment=None if deployment is None else dict(deployment), labels=dict(labels or {}),
        )  # fmt: skip

    def preview_ensemble(self, app: str, app_version: int = -1, method: str = "mean", size: int | None = None) -> Json:
        """What an inference job would serve: ``trial_ids``, ``weights`` and ``ensemble`` with its validation scores."""
        return self._one(
            inference_jobs.PREVIEW_ENSEMBLE, timeout_s=JOB_CALL_TIMEOUT_S, app=app, app_version=app_version,
            method=method, size=size,
        )  # fmt: skip

    def get_inference_jobs_by_user(self, user_id: str | None = None) -> list[Json]:
        """Inference jobs of a user; None = yourself."""
        return self._many(inference_jobs.GET_INFERENCE_JOBS_BY_USER, user_id=user_id)

    def get_inference_jobs_of_app(self, app: str) -> list[Json]:
        """Your inference jobs of an app, newest first."""
        return self._many(inference_jobs.GET_INFERENCE_JOBS_OF_APP, app=app)

    def get_running_inference_job(self, app: str, app_version: int = -1) -> Json:
        """Your running inference job of an app's version; -1 is the latest."""
        return self._one(inference_jobs.GET_RUNNING_INFERENCE_JOB, app=app, app_version=app_version)

    def stop_inference_job(self, app: str, app_version: int = -1) -> Json:
        """Stop serving."""
        return self._one(
            inference_jobs.STOP_INFERENCE_JOB, timeout_s=JOB_CALL_TIMEOUT_S, app=app, app_version=app_version
        )

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
            ``members``, ``models``, ``task``, ``ensemble``, ``examples`` and what else an export's manifest tells.
        """
        return self._one(
            exports.GET_EXPORT, timeout_s=INSTALL_TIMEOUT_S, app=app, app_version=app_version, trial_id=trial_id,
            method=None if method is None else str(method), size=size, max_examples=max_examples,
        )  # fmt: skip

    def collect_garbage(
        self,
        what: Sequence[str] | None = None,
        *,
        keep: int = garbage.DEFAULT_KEEP,
        older_than_s: float = garbage.DEFAULT_OLDER_THAN_S,
        apply: bool = False,
        only: Sequence[str] | None = None,
    ) -> Json:
        """Free what is not needed any more, or tell what would go: for admins.

        Args:
            what: kinds of :class:`~rafiki.constants.GarbageKind`; None = all.
            keep: the best trials of each model of each train job whose parameters stay.
            older_than_s: nothing goes that was of use within this time.
            apply: False = only tell.
            only: ids of items told before; nothing else goes.

        Returns:
            ``is_applied``, ``items`` (``id``, ``kind``, ``name``, ``size_bytes``, ``reason``, ``is_freed``, ``error``)
            and ``size_bytes`` of all of them.
        """
        return self._one(
            garbage.COLLECT_GARBAGE, timeout_s=INSTALL_TIMEOUT_S, what=None if what is None else list(map(str, what)),
            keep=keep, older_than_s=older_than_s, apply=apply, only=None if only is None else list(only),
        )  # fmt: skip

    def stop_all_jobs(self) -> Json:
        """Stop every train and inference job of everyone: for the superadmin."""
        return self._one(inference_jobs.STOP_ALL_JOBS, timeout_s=JOB_CALL_TIMEOUT_S)
