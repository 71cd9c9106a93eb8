"""The tables of names: what comes with Rafiki of each kind, and where others declare theirs.

A new search scheme, stopping rule, task, kind of store, container back end or tracker is a file of its own and one
line here. The command line, the job file's schema, the checks of the admin and the documentation read these tables;
nothing is loaded by reading them.
"""

from __future__ import annotations

from rafiki.registry import Kind

SCHEMES = Kind(
    what="search scheme",
    plural="search schemes",
    group="rafiki.schemes",
    registry="rafiki.advisor.schemes:SCHEMES",
    # Of those that `auto` may choose, it takes the first that fits the knobs.
    builtin={
        "fixed": "rafiki.advisor.fixed:SCHEME",
        "sharing": "rafiki.advisor.sharing_scheme:SCHEME",
        "bayes": "rafiki.advisor.bayes_scheme:SCHEME",
        "enas": "rafiki.advisor.enas_scheme:SCHEME",
        "random": "rafiki.advisor.random:SCHEME",
        "grid": "rafiki.advisor.grid:SCHEME",
        "tpe": "rafiki.advisor.tpe_scheme:SCHEME",
        "cmaes": "rafiki.advisor.cmaes_scheme:SCHEME",
        "asha": "rafiki.advisor.asha:SCHEME",
        "pbt": "rafiki.advisor.pbt:SCHEME",
    },
)

RULES = Kind(
    what="stopping rule",
    plural="stopping rules",
    group="rafiki.rules",
    registry="rafiki.advisor.rules:RULES",
    builtin={
        "none": "rafiki.advisor.stopping:RULE",
        "median": "rafiki.advisor.median_rule:RULE",
        "asha": "rafiki.advisor.asha_rule:RULE",
    },
)

TASKS = Kind(
    what="task",
    plural="tasks",
    group="rafiki.tasks",
    registry="rafiki.tasks.registry:TASKS",
    builtin={
        "IMAGE_CLASSIFICATION": "rafiki.tasks.image_classification:ImageClassificationTask",
        "POS_TAGGING": "rafiki.tasks.pos_tagging:PosTaggingTask",
        "TABULAR_CLASSIFICATION": "rafiki.tasks.tabular:TabularClassificationTask",
        "TABULAR_REGRESSION": "rafiki.tasks.tabular:TabularRegressionTask",
        "SPEECH_RECOGNITION": "rafiki.tasks.speech_recognition:SpeechRecognitionTask",
    },
)

STORES = Kind(
    what="kind of store",
    plural="kinds of stores",
    group="rafiki.stores",
    registry="rafiki.stores:STORES",
    builtin={
        "folder": "rafiki.stores.folder:FOLDER",
        "http": "rafiki.stores.remote.kind:HTTP",
        "https": "rafiki.stores.remote.kind:HTTP",
        "http+unix": "rafiki.stores.remote.kind:HTTP",
        "s3": "rafiki.stores.s3.kind:S3",
    },
)

CONTAINERS = Kind(
    what="container back end",
    plural="container back ends",
    group="rafiki.containers",
    registry="rafiki.container:BACKENDS",
    builtin={"process": "rafiki.container.process:PROCESS", "swarm": "rafiki.container.swarm:SWARM"},
)

TRACKERS = Kind(
    what="tracker",
    plural="trackers",
    group="rafiki.trackers",
    registry="rafiki.trackers:TRACKERS",
    builtin={
        "mlflow": "rafiki.trackers.mlflow:MLFLOW",
        "tensorboard": "rafiki.trackers.tensorboard:TENSORBOARD",
        "wandb": "rafiki.trackers.wandb:WANDB",
    },
)

KINDS = (SCHEMES, RULES, TASKS, STORES, CONTAINERS, TRACKERS)
