"""Names that travel: every status, role, option and exit code. Each member *is* its string."""

from enum import IntEnum, StrEnum
from typing import Literal, TypeAlias

LogFormat: TypeAlias = Literal["text", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
MappedRole: TypeAlias = Literal["ADMIN", "MODEL_DEVELOPER", "APP_DEVELOPER"]
"""What a claim of an OpenID Connect provider can make somebody: there is one superadmin."""


class BudgetOption(StrEnum):
    """Keys of a train job's budget."""

    TIME_HOURS = "TIME_HOURS"
    GPU_COUNT = "GPU_COUNT"
    MODEL_TRIAL_COUNT = "MODEL_TRIAL_COUNT"
    CPU_WORKER_COUNT = "CPU_WORKER_COUNT"
    """Train workers of each model that is left without a GPU (an extension; default 1)."""
    WORKERS_PER_GPU = "WORKERS_PER_GPU"
    """Train workers that share one GPU (an extension; default 1)."""


class EnsembleMethod(StrEnum):
    """How the members of an inference job are chosen."""

    BEST = "best"
    """The best trial alone."""
    MEAN = "mean"
    """The best trial of each model, or the best trials of all, with equal weights."""
    GREEDY = "greedy"
    """Members and weights that did best together on validation data."""


class ExistingName(StrEnum):
    """What the upload of a model means whose name its owner has used already."""

    REFUSE = "refuse"
    """It is refused."""
    VERSION = "version"
    """It is a new version of that model; when nothing differs from the newest one, nothing is uploaded."""


class LoadFailure(StrEnum):
    """What kind of reason a model does not load for."""

    FILE = "file"
    """Its file: checked again it fails again."""
    MACHINE = "machine"
    """It took too long or was killed, so that a busy machine may be the reason."""
    PACKAGES = "packages"
    """What it depends on could not be installed."""


CAN_CHANGE = (LoadFailure.MACHINE, LoadFailure.PACKAGES)
"""Failures that another check of the model may not find again."""


class InferenceBudgetOption(StrEnum):
    """Keys of an inference job's budget."""

    GPU_COUNT = "GPU_COUNT"
    REPLICA_COUNT = "REPLICA_COUNT"
    """Inference workers of each served trial (an extension; default 1)."""
    WORKERS_PER_GPU = "WORKERS_PER_GPU"
    """Inference workers that share one GPU (an extension; default 1)."""


Budget: TypeAlias = dict[BudgetOption, int | float | str]
"""A train job's budget: option -> number. A number may be written as text."""
InferenceBudget: TypeAlias = dict[InferenceBudgetOption, int | float | str]
"""An inference job's budget: option -> number. A number may be written as text."""
ModelDependencies: TypeAlias = dict[str, str]
"""What a model depends on: PyPI package -> version."""


class ModelAccessRight(StrEnum):
    PUBLIC = "PUBLIC"
    PRIVATE = "PRIVATE"


class ModelDependency(StrEnum):
    """Names of common PyPI packages that model templates depend on."""

    TENSORFLOW = "tensorflow"
    KERAS = "Keras"
    SCIKIT_LEARN = "scikit-learn"
    TORCH = "torch"
    TORCHVISION = "torchvision"
    SINGA = "singa"
    XGBOOST = "xgboost"
    DS_CTCDECODER = "ds-ctcdecoder"


class TrainJobStatus(StrEnum):
    STARTED = "STARTED"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    ERRORED = "ERRORED"


class TrainJobOutcome(StrEnum):
    """How a train job ended, in the words of people: its published status is STOPPED also where nobody stopped it."""

    COMPLETED = "COMPLETED"
    """Its search ended by itself: the budget was used."""
    STOPPED = "STOPPED"
    """Somebody stopped it before that."""
    ERRORED = "ERRORED"


class InferenceJobStatus(StrEnum):
    STARTED = "STARTED"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    ERRORED = "ERRORED"


class TrialStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    ERRORED = "ERRORED"
    COMPLETED = "COMPLETED"


class ServiceType(StrEnum):
    TRAIN = "TRAIN"
    ADVISOR = "ADVISOR"
    PREDICT = "PREDICT"
    INFERENCE = "INFERENCE"


class ServingRole(StrEnum):
    """What an inference job is to the address of its app."""

    PRIMARY = "PRIMARY"
    """It answers whatever no other one does."""
    CANDIDATE = "CANDIDATE"
    """It is to take the place of the first one: it starts, is tried, or is compared."""
    LEAVING = "LEAVING"
    """It answers what it has in hand, and ends."""


class RolloutKind(StrEnum):
    """How an app goes over to another inference job."""

    REPLACE = "replace"
    """It answers all, as soon as its workers are ready."""
    CANARY = "canary"
    """It answers a share, until it is promoted or taken back."""
    SHADOW = "shadow"
    """It is asked with copies: its answers are compared, not given."""


class RolloutStatus(StrEnum):
    STARTED = "STARTED"
    """The workers of the new inference job start."""
    RUNNING = "RUNNING"
    """The new one is tried or compared."""
    PROMOTED = "PROMOTED"
    """The new one has taken the place of the one before."""
    ROLLED_BACK = "ROLLED_BACK"
    """It was taken back, by somebody or by a rule."""
    ERRORED = "ERRORED"
    """The new one could not run, or the app was stopped."""


class RolloutOrder(StrEnum):
    """What somebody wants to be done with an update."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


class DeliveryStatus(StrEnum):
    """Whether a receiver was told of an event."""

    WAITING = "WAITING"
    """It will be, as soon as it takes it."""
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    """It was given up."""


class ServiceStatus(StrEnum):
    STARTED = "STARTED"
    DEPLOYING = "DEPLOYING"
    RUNNING = "RUNNING"
    ERRORED = "ERRORED"
    STOPPED = "STOPPED"


class UserType(StrEnum):
    SUPERADMIN = "SUPERADMIN"
    ADMIN = "ADMIN"
    MODEL_DEVELOPER = "MODEL_DEVELOPER"
    APP_DEVELOPER = "APP_DEVELOPER"


class SharePolicy(StrEnum):
    """Which parameters of earlier trials a trial starts from."""

    LOCAL_RECENT = "LOCAL_RECENT"
    LOCAL_BEST = "LOCAL_BEST"
    GLOBAL_RECENT = "GLOBAL_RECENT"
    GLOBAL_BEST = "GLOBAL_BEST"


class Task(StrEnum):
    """The tasks with a dataset, query and prediction format of their own; any other string is a custom task."""

    IMAGE_CLASSIFICATION = "IMAGE_CLASSIFICATION"
    POS_TAGGING = "POS_TAGGING"
    TABULAR_CLASSIFICATION = "TABULAR_CLASSIFICATION"
    TABULAR_REGRESSION = "TABULAR_REGRESSION"
    SPEECH_RECOGNITION = "SPEECH_RECOGNITION"


class GarbageKind(StrEnum):
    """What `rafiki gc` frees."""

    PARAMS = "params"
    """Parameters of trials that are neither among the best nor deployed."""
    ENVIRONMENTS = "environments"
    """Installed packages that no model depends on."""
    LOGS = "logs"
    """Logs of services that have ended."""
    ORPHANS = "orphans"
    """Files in the stores that nothing refers to, and half-written ones."""


class NodeRole(StrEnum):
    """What a machine becomes that joins the nodes of a stack."""

    WORKER = "worker"
    MANAGER = "manager"
    """It also takes part in what the Swarm decides."""


class NodeState(StrEnum):
    """How a node is."""

    READY = "READY"
    PAUSED = "PAUSED"
    """It takes no new services; those that run there stay."""
    DRAINING = "DRAINING"
    """Its services end when they have done what they do."""
    DRAINED = "DRAINED"
    """It is empty."""
    LOST = "LOST"


class ExitCode(IntEnum):
    """What the command line and every process of Rafiki exit with; the documentation has a page of them."""

    OK = 0
    """Done."""
    FAILURE = 1
    """Something went wrong that has no code of its own."""
    USAGE = 2
    """The command, its options, a job file or rafiki.yaml is wrong."""
    REFUSED = 3
    """The admin understood the request and refuses it (bad input, wrong state, unknown id)."""
    UNAUTHORIZED = 4
    """Not logged in, wrong password, or not allowed."""
    UNREACHABLE = 5
    """No stack runs (it was put down, or never up), or a server does not answer within its deadline."""
    JOB_ERRORED = 6
    """A train or inference job that was waited for ended ERRORED."""
    NO_RESULT = 7
    """A train job that was waited for ended without one completed trial."""
    NOT_FOUND = 8
    """A name or id means nothing: no such app, model, dataset, trial, user or service."""
    GATE_MISSED = 9
    """A job ended well, but below what its spec asks for (gates): it was not deployed; what served before goes on."""
    TIMED_OUT = 10
    """The time that the command was given is over; the job that it waited for goes on."""
    UNHEALTHY = 11
    """The stack should run, but something that every job needs does not work: the cache, the database, the supervisor,
    or the admin itself, which hangs or has ended without `rafiki down`."""
    NO_PACKAGES = 12
    """A worker found the packages of its model gone from its node; they are installed there again."""
    INTERRUPTED = 130
    """Ctrl-C, also at a question for a password and while a command waits for a job."""
