"""Jobs for an admin over paper, as users make them."""

from __future__ import annotations

import msgspec

from rafiki.budget import InferenceBudget, TrainBudget
from rafiki.constants import ModelAccessRight, TrainJobStatus, UserType
from rafiki.entities import InferenceJob, TrainJob
from rafiki.meta_store import MetaStore
from rafiki.model.knobs import CategoricalKnob, FloatKnob, IntegerKnob, to_knob_specs
from rafiki.proposals import Proposal
from rafiki.search_setting import AdvisorSetting

_KNOBS = to_knob_specs(
    {
        "depth": IntegerKnob(1, 32),
        "rate": FloatKnob(1e-5, 1e-1, is_exp=True),
        "criterion": CategoricalKnob(["gini", "entropy"]),
    }
)
_MODEL_FILE = b"# A model template on paper.\n" * 200
_N_MODELS = 8


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of what size."""

    n_train_jobs: int
    n_inference_jobs: int
    n_workers: int
    """Train workers a job."""
    n_trials: int
    """A job."""
    n_members: int = 2
    """Served trials an inference job."""
    n_replicas: int = 2
    """Inference workers a served trial."""

    @property
    def n_jobs(self) -> int:
        return self.n_train_jobs + self.n_inference_jobs

    @property
    def n_elsewhere(self) -> int:
        """Services on other hosts, once all run."""
        return self.n_train_jobs * self.n_workers + self.n_inference_jobs * self.n_members * self.n_replicas

    @property
    def n_services(self) -> int:
        """With an advisor or predictor a job."""
        return self.n_elsewhere + self.n_jobs


class Population:
    """One user with models and a dataset; their jobs."""

    def __init__(self, store: MetaStore) -> None:
        self._store = store
        self._user = store.users.create_user("somebody@example.org", "-", UserType.MODEL_DEVELOPER)
        self._dataset = store.datasets.create_dataset(
            user_id=self._user.id, name="digits", task="IMAGE_CLASSIFICATION", size_bytes=1, sha256="-", store_id="-"
        )
        self._models = [
            store.models.create_model(
                user_id=self._user.id, name=f"model{i}", task="IMAGE_CLASSIFICATION", model_class="Model",
                model_file=_MODEL_FILE, model_file_sha256="-", dependencies={"msgspec": "", "redis": ""},
                access_right=ModelAccessRight.PRIVATE, knob_config=_KNOBS,
            )
            for i in range(_N_MODELS)
        ]  # fmt: skip

    def train_job(self, no: int, load: Load) -> TrainJob:
        budget = TrainBudget(time_hours=24, model_trial_count=load.n_trials, cpu_worker_count=load.n_workers)
        return self._store.train_jobs.create_train_job(
            user_id=self._user.id, app=f"train{no}", task="IMAGE_CLASSIFICATION", train_dataset_id=self._dataset.id,
            val_dataset_id=self._dataset.id, budget=budget, train_args={}, models=[self._models[no % _N_MODELS]],
            advisor=AdvisorSetting(scheme="random"),
        )  # fmt: skip

    def inference_job(self, no: int, load: Load) -> InferenceJob:
        """Of a search that is over."""
        jobs, trials = self._store.train_jobs, self._store.trials
        job = jobs.create_train_job(
            user_id=self._user.id, app=f"served{no}", task="IMAGE_CLASSIFICATION", train_dataset_id=self._dataset.id,
            val_dataset_id=self._dataset.id, budget=TrainBudget(), train_args={},
            models=[self._models[no % _N_MODELS]],
        )  # fmt: skip
        [sub] = jobs.list_sub_train_jobs(job.id)
        served = []
        for trial_no in range(1, load.n_members + 1):
            proposal = Proposal(knobs={"depth": trial_no})
            trial = trials.create_trial(sub_train_job=sub, no=trial_no, worker_id="-", proposal=proposal, owner_id=None)
            trials.complete_trial(trial.id, score=0.5, params_id=f"{no}-{trial_no}", owner_id=None)
            served.append(trial.id)
        jobs.set_sub_train_job_status(sub.id, TrainJobStatus.STOPPED, owner_id=None)
        job = jobs.set_train_job_status(job.id, TrainJobStatus.STOPPED)
        return self._store.inference_jobs.create_inference_job(
            user_id=self._user.id, train_job_id=job.id, app=job.app, app_version=1,
            budget=InferenceBudget(replica_count=load.n_replicas), trial_ids=served,
        )  # fmt: skip
