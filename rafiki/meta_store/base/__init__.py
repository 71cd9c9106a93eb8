"""The meta store's interface. These docstrings are the law; a back end adds nothing to the promise."""

from rafiki.meta_store.base.api_tokens import ApiTokenStore
from rafiki.meta_store.base.datasets import DatasetStore
from rafiki.meta_store.base.inference_jobs import InferenceJobStore
from rafiki.meta_store.base.models import ModelStore
from rafiki.meta_store.base.outbox import NamedReceiver, OutboxStore
from rafiki.meta_store.base.predictor_keys import PredictorKeyStore
from rafiki.meta_store.base.rollouts import RolloutStore
from rafiki.meta_store.base.services import ServiceStore
from rafiki.meta_store.base.status_counts import StatusCounts
from rafiki.meta_store.base.store import MetaStore
from rafiki.meta_store.base.train_jobs import TrainJobStore
from rafiki.meta_store.base.trials import TrialStore
from rafiki.meta_store.base.users import UserStore

__all__ = [
    "ApiTokenStore",
    "DatasetStore",
    "InferenceJobStore",
    "MetaStore",
    "ModelStore",
    "NamedReceiver",
    "OutboxStore",
    "PredictorKeyStore",
    "RolloutStore",
    "ServiceStore",
    "StatusCounts",
    "TrainJobStore",
    "TrialStore",
    "UserStore",
]
