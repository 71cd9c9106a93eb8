"""What travels between processes: specs of services, and messages through the cache. msgspec structs, no pickle.

Deadlines are Unix milliseconds of the cache's clock. ``bytes`` fields hold JSON that is passed on unparsed.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from rafiki.constants import SharePolicy
from rafiki.deployment import LATE_TARGET
from rafiki.entities import TrialCheckpoint, TrialLog
from rafiki.knob_specs import Knobs, KnobSpecs
from rafiki.sandbox.limits import Limits
from rafiki.settings import HttpConfig, LoggingConfig
from rafiki.store_location import StoreLocation
from rafiki.utils.certificates import CertificateFiles
from rafiki.utils.traces import Span
from rafiki.utils.values import JsonObject

PROTOCOL = 1
"""The number of what travels through the cache. It goes up when messages change so that earlier services would not
understand them; new fields with defaults, and new events that only services of the same version get, leave it."""
OLDEST_PROTOCOL = 1
"""The oldest protocol that is still understood. A service that speaks an older one is replaced at once."""

# ---- specs: what a service is started with (a private file; never the command line) ------------------------------


class CacheTls(msgspec.Struct, frozen=True, kw_only=True):
    """What TLS to the cache is spoken with: PEM texts, because services on other hosts have no files of the stack."""

    authorities: str | None = None
    """Who may have signed the server's certificate; None = whom the machine trusts."""
    certificate: str | None = None
    """What the client shows, where the server asks for it."""
    key: str | None = None

    def __repr__(self) -> str:
        return "CacheTls(...)"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return []


class CacheAddress(msgspec.Struct, frozen=True, kw_only=True):
    """How one job's services reach the cache. ``username`` may touch keys under ``prefix`` only."""

    host: str
    port: int
    db: int
    username: str | None
    password: str | None
    prefix: str
    use_tls: bool = False
    tls: CacheTls | None = None
    """Of an address with ``use_tls``; None = the machine's authorities, and no certificate of one's own."""
    socket: str | None = None
    """The path of its Unix socket, for who is on its machine and shares no network with it; None = host and port."""


class ExamineCache(msgspec.Struct, frozen=True, kw_only=True):
    """A request to examine a cache server (:mod:`rafiki.cache.examine`): by its URL, or by its address."""

    url: str | None = None
    tls: CacheTls | None = None
    """For the URL."""
    address: CacheAddress | None = None


class CacheExamined(msgspec.Struct, frozen=True, kw_only=True):
    """What the examination of a cache server found."""

    server: str | None = None
    """Its name and version; None when it could not be asked."""
    problem: str | None = None
    """What keeps it from its work, and what to do; None when a job could work with it."""
    warning: str | None = None
    """What may go wrong with it later."""


class ModelSource(msgspec.Struct, frozen=True, kw_only=True):
    """A model template's file, with the class to use."""

    file: bytes
    model_class: str
    name: str


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the frame of every service reads (:mod:`rafiki.service`)."""

    kind: ClassVar[str]
    """Names the program and its log."""
    runs_model_code: ClassVar[bool] = False

    service_id: str
    job_id: str
    """The train job or inference job that the service belongs to."""
    cache: CacheAddress
    heartbeat_s: float
    logging: LoggingConfig = LoggingConfig()
    limits: Limits = Limits()


class AdvisorSpec(ServiceSpec, frozen=True, kw_only=True):
    kind = "advisor"

    sub_train_job_id: str
    meta_store_url: str
    knob_config: KnobSpecs
    max_trial_attempts: int
    lost_after_s: float
    knob_constraints: list[str] = []
    n_workers: int = 1
    """How many train workers the model has."""
    params: StoreLocation | None = None
    """Where workers keep parameters and checkpoints, which the advisor removes; None = they are left there."""
    keep_params: int | None = None
    """So many trials, the best ones, keep their parameters during the search; None = all."""
    watched_folders: list[str] = []
    """No new trial starts while the disk of one of them has less space than ``min_free_mb``."""
    min_free_mb: int = 0


class TrainWorkerSpec(ServiceSpec, frozen=True, kw_only=True):
    kind = "train"
    runs_model_code = True

    sub_train_job_id: str
    model: ModelSource
    knob_config: KnobSpecs
    datasets: StoreLocation
    train_store_id: str
    """Of the train dataset, in the store ``datasets``."""
    val_store_id: str
    dataset_names: dict[str, str] = {}
    """What people call them, by their ids in the store."""
    train_args: JsonObject
    params: StoreLocation
    task: str = ""
    validation_predictions: int = 0
    """Validation examples for which predictions of the best trials are kept; 0 = none."""
    checkpoint_s: float = 0.0
    """The least time between two checkpoints of a trial; 0 = none are kept."""
    checkpoint_max_bytes: int = 0
    """The largest checkpoint that is kept."""
    wait_for_space_s: float = 600.0
    """How long trained parameters wait for space in their store; 0 = not at all."""


class InferenceWorkerSpec(ServiceSpec, frozen=True, kw_only=True):
    kind = "inference"
    runs_model_code = True

    trial_id: str
    trial_no: int | None = None
    task: str
    model: ModelSource
    knobs: Knobs
    params: StoreLocation
    params_id: str
    batch_size: int
    is_traced: bool = False
    """Whether queries may carry a trace."""
    direct_folder: str | None = None
    """Where it sees the sockets of its job's predictors; None = queries come through the cache alone."""


class EnsembleMember(msgspec.Struct, frozen=True, kw_only=True):
    """One served trial, best first in a list of them."""

    trial_id: str
    model_name: str
    score: float | None
    weight: float = 1.0
    """How much its predictions count, relative to those of the others."""


MOST_DRAIN_S = 60.0
"""The longest that a predictor which is to end goes on with what it has in hand."""


def drain_s(deadline_s: float) -> float:
    """How long a predictor which is to end goes on with the queries that it has in hand."""
    return min(deadline_s, MOST_DRAIN_S)


class TracingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Where a predictor sends spans, and of which requests."""

    endpoint: str
    ratio: float
    """The share of requests that are traced where they do not say so themselves, 0 to 1."""
    headers_file: str | None = None
    """Holds headers that are sent along."""


class MetricsAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Who may read the metrics of a predictor."""

    token_file: str | None = None
    """Holds the token that they take; None = a key of the app, where queries take one."""
    is_public: bool = False
    """Whether they take nothing."""


class PredictorSpec(ServiceSpec, frozen=True, kw_only=True):
    kind = "predict"

    app: str = ""
    query_schema: JsonObject = {}
    """A JSON Schema of its queries; empty = the task's own is all that is known."""
    task: str
    batch_size: int = 64
    """The most queries that an inference worker takes at once."""
    subset_scores: dict[int, float] = {}
    """Of subsets of the members, as bit masks, bit ``m`` the ``m``-th; empty = unknown."""
    late_target: float = LATE_TARGET
    """The share of answers that may be late."""
    host: str = ""
    port: int = 0
    """Where it is to listen: the container manager allocates it."""
    tls: CertificateFiles | None = None
    """What it shows; None = it speaks no TLS."""
    members: list[EnsembleMember]
    deadline_s: float
    max_waiting: int
    max_body_mb: int
    http: HttpConfig = HttpConfig()
    key_file: str | None = None
    """Hashes of the keys that it takes; None = it asks for none."""
    most_cached: int = 0
    direct_folder: str | None = None
    """Where workers of this host reach it by a socket; None = queries go through the cache alone."""
    metrics: MetricsAccess = MetricsAccess()
    app_version: int | None = None
    tracing: TracingSpec | None = None
    """None = no request is traced."""
    versions_file: str | None = None
    """Which versions it serves at the moment (:class:`ServedVersions`), while the admin may change that; None = the one
    that is described here."""


class ServedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One inference job that a predictor serves."""

    job_id: str
    app_version: int | None = None
    task: str
    cache: CacheAddress
    members: list[EnsembleMember]
    deadline_s: float
    batch_size: int = 64
    subset_scores: dict[int, float] = {}
    late_target: float = LATE_TARGET
    """See :class:`PredictorSpec`."""
    most_cached: int = 0
    """So many of its predictions are kept."""
    direct_folder: str | None = None
    """See :class:`PredictorSpec`."""
    share: float = 0.0
    """Of a candidate: which part of the requests it answers, 0 to 1. The first version answers the rest."""
    is_shadow: bool = False
    """It is asked with copies, and its answers are compared, not given."""
    is_leaving: bool = False
    """It answers what it has in hand, and nothing new."""
    may_sleep: bool = False
    """Its workers end while nobody asks, and the next query starts them: without any it is ready, too."""


class ServedVersions(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions a predictor serves: what the admin writes into a file of theirs, whenever that changes."""

    versions: list[ServedVersion]
    """The first one answers whatever no other one does."""
    key_file: str | None = None
    """Hashes of the keys that it takes; None = it asks for none."""


# ---- training: worker and admin -> advisor -----------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A train worker has no trial, and waits for an order."""

    worker_id: str


class TrialProgress(msgspec.Struct, frozen=True, tag="progress"):
    """Log lines of a running trial."""

    worker_id: str
    logs: list[TrialLog]


class TrialScored(msgspec.Struct, frozen=True, tag="scored"):
    """An intermediate score of a running trial."""

    worker_id: str
    trial_id: str
    attempt: int
    step: float
    score: float


class CheckpointSaved(msgspec.Struct, frozen=True, tag="checkpoint"):
    """The state of a running trial is in the parameter store. The advisor keeps the newest and removes the others."""

    worker_id: str
    trial_id: str
    attempt: int
    step: int
    params_id: str


class TrialDone(msgspec.Struct, frozen=True, tag="done"):
    """A trial finished; kept by the worker, and sent again, until the next order comes."""

    worker_id: str
    trial_id: str
    attempt: int
    score: float
    params_id: str | None
    """None when it trained nothing of its own: it evaluated shared parameters."""
    logs: list[TrialLog]
    ended_early: str | None = None
    """Why it was ended before its training was over."""


class TrialFailed(msgspec.Struct, frozen=True, tag="failed"):
    """Model code failed in a trial; kept and sent again like :class:`TrialDone`."""

    worker_id: str
    trial_id: str
    attempt: int
    reason: str
    logs: list[TrialLog]


class WorkerLost(msgspec.Struct, frozen=True, tag="lost"):
    """A train worker does its work no more."""

    worker_id: str
    reason: str
    has_ended: bool = False
    """The admin saw it end. What is heard of it after that comes from a host that was cut off: it gets no order but to
    end. A worker that was silent for too long may come back."""


class StopRequested(msgspec.Struct, frozen=True, tag="stop"):
    """The job's owner wants it stopped."""


class RetireWorker(msgspec.Struct, frozen=True, tag="retire"):
    """The admin wants a train worker replaced (it is of another version): end it once it has no trial."""

    worker_id: str


TrainEvent = (
    Hello
    | TrialProgress
    | TrialScored
    | CheckpointSaved
    | TrialDone
    | TrialFailed
    | WorkerLost
    | StopRequested
    | RetireWorker
)


# ---- training: advisor -> worker ---------------------------------------------------------------------------------


class TrainOrder(msgspec.Struct, frozen=True, tag="train"):
    """Run this trial, with the knobs of its proposal. Any order acknowledges the result that the worker holds."""

    trial_id: str
    no: int
    attempt: int
    knobs: Knobs
    start_from: SharePolicy | None = None
    """Shared parameters to start from, where there are any."""
    start_from_params: str | None = None
    """A trial's own parameters to start from, by their id in the parameter store."""
    checkpoint: TrialCheckpoint | None = None
    """The state that an earlier attempt has left, to go on from."""


class EndTrialOrder(msgspec.Struct, frozen=True, tag="end_trial"):
    """End the trial that runs: it is hopeless. It does not wait in the queue: the worker looks at it at each report."""

    trial_id: str
    attempt: int
    reason: str


class EndOrder(msgspec.Struct, frozen=True, tag="end"):
    """The search is over: end."""


Order = TrainOrder | EndOrder | EndTrialOrder


# ---- serving -----------------------------------------------------------------------------------------------------


class Query(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One query on the queue of a served trial."""

    reply_to: str
    """The predictor's reply queue."""
    query_id: int
    deadline_ms: int
    query: bytes
    """The query's JSON, as the client sent it."""
    trace: bytes = b""
    """The span that it belongs to (:func:`rafiki.utils.traces.pack`); empty = it is not traced."""

    @property
    def tail(self) -> bytes:
        """What follows the query's JSON when it is encoded."""
        return msgspec.msgpack.encode(self.trace)


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One answer; a batch of them travels as one list."""

    query_id: int
    status: Literal["ok", "invalid_query", "model_error"]
    payload: bytes
    """The prediction's JSON if ok, else the reason as UTF-8 text."""
    batch: int = 0
    """In the first reply of a batch to a predictor: how many queries the batch held, of all predictors."""
    took_s: float = 0.0
    """There, too: how long it took."""
    spans: list[Span] = []
    """In the first reply of a trace in a batch: what the worker tells of it."""


class MemberReport(msgspec.Struct, frozen=True, array_like=True):
    """One member of the ensemble, as a predictor sees it."""

    trial_id: str
    workers: int
    """How many take its queries now."""
    waiting: int
    """Its queries that are not answered yet."""
    shed: int = 0
    """Queries that it was not asked, since the predictor's start, as it could not answer in time."""
    asked: int = 0
    """Queries that came since the predictor's start, with those that were refused or that it was not asked."""
    missed: int = 0
    """Those of them that it did not answer in time, or was not asked for want of time."""
    fixed_s: float = 0.0
    """What a batch costs one of its workers, whatever it holds; 0 = not known yet."""
    each_s: float = 0.0
    """What each query of a batch adds."""
    tail_ratio: float = 1.0
    """How many times longer 99 of 100 batches take at most."""
    batch_size: int = 64
    """The most queries that a batch holds."""


class PredictorReport(msgspec.Struct, frozen=True, kw_only=True):
    """How much a predictor serves: reported once a second, and forgotten when no report follows."""

    no: int
    """1, 2, 3 ... since its start."""
    requests_per_s: float
    """In the last second."""
    errors_per_s: float
    requests: int
    """Since its start."""
    errors: int
    """Those without a prediction as their answer."""
    latencies: dict[int, int]
    """Answers of the last ten seconds: bucket of :mod:`rafiki.utils.histogram` -> how many."""
    members: list[MemberReport]
    all_latencies: dict[int, int] = {}
    """Answers since its start."""
    in_hand: int = 0
    """Requests that are being answered now."""
    former: int = 0
    """Requests that former members of it are still answering."""
    is_leaving: bool = False
    """Whether the predictor gives it nothing new any more."""
    compared: int = 0
    """Answers of a shadow that were compared with those that were given, since its start."""
    agreed: int = 0
    """Those that said the same."""
    skipped: int = 0
    """Requests that a shadow was not asked, as it had too many in hand."""
    cache_hits: int = 0
    """Queries that were answered with kept predictions, since its start."""
    cache_misses: int = 0
    """Those that were not, where predictions are kept."""
    uptime_s: float = 0.0
    """Since its start."""


# ---- every service -> admin --------------------------------------------------------------------------------------


class ServiceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a service last reported of itself: its heartbeat."""

    state: Literal["preparing", "starting", "running", "failed"]
    """``preparing``: what it works on comes to its host, and its time to start does not count meanwhile."""
    reason: str | None = None
    is_permanent: bool = False
    """The failure would come again at once (the model file does not load): no restart."""
    version: str = ""
    """Of the Rafiki that the service runs; empty = one that did not say."""
    protocol: int = 1
    """The :data:`PROTOCOL` that it speaks."""
    memory_bytes: int | None = None
    """Resident, of it and of what it has started; None = it did not say."""
    cores: float | None = None
    """How many processor cores it used since its report before, on average."""
