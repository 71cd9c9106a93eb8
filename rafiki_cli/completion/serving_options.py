"""Options of the commands that deploy, and what they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from rafiki.constants import EnsembleMethod, InferenceBudgetOption

if TYPE_CHECKING:
    from rafiki.budget import InferenceBudget
    from rafiki.contract.deployments import DeploymentRequest
    from rafiki.deployment import Replicas
    from rafiki.ensembles import EnsembleSetting

GpusOption = Annotated[int | None, typer.Option(min=0, help="GPUs for the whole job. [default: 0]")]
SharedOption = Annotated[
    int | None, typer.Option(min=1, max=64, help="Inference workers that share one GPU. [default: 1]")
]
ReplicasOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|MIN..MAX",
        help="Inference workers of each served trial; 1..4: as many between the two as the load needs, 0..4: none "
        "while nobody asks. [default: 1]",
        show_default=False,
    ),
]
IdleOption = Annotated[
    float | None,
    typer.Option(min=1, help="With --replicas 0..MAX: none after so many seconds without a query. [default: 300]"),
]
EnsembleOption = Annotated[
    EnsembleMethod | None,
    typer.Option(
        help="best: the best trial alone. mean: with equal weights. greedy: members and weights that do best "
        "together on validation data. [default: mean, one trial of each model]",
        show_default=False,
    ),
]
SizeOption = Annotated[
    int | None, typer.Option(min=1, max=100, help="Trials to serve at most. [default: 5 for greedy]")
]
KeyOption = Annotated[
    bool, typer.Option("--require-key", help="Take queries with a key of the app only: `rafiki key create`.")
]
DamagedOption = Annotated[
    bool,
    typer.Option(
        "--replace-damaged",
        help="Let the next best trials take the place of members that cannot be loaded. [default: others go on]",
        show_default=False,
    ),
]
LatencyOption = Annotated[
    float | None,
    typer.Option(
        min=0.001, max=3_600_000,
        help="Milliseconds within which a query is answered, or refused with a reason. [default: predictor.deadline_s]",
        show_default=False,
    ),
]  # fmt: skip
BatchOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=4096, help="Queries that a worker takes at once, at most. [default: predictor.batch_size]",
        show_default=False,
    ),
]  # fmt: skip
CacheOption = Annotated[
    int | None,
    typer.Option(min=0, max=10_000_000, help="Keep so many predictions, by the content of queries. [default: 0]"),
]


class Chosen(NamedTuple):
    """What the options of a deployment ask for; None = nothing."""

    budget: InferenceBudget | None
    ensemble: EnsembleSetting | None
    deployment: DeploymentRequest


def choose(
    gpus: int | None, workers_per_gpu: int | None, replicas: tuple[int | None, Replicas | None],
    ensemble: EnsembleMethod | None, size: int | None, require_key: bool, replace_damaged: bool,
    latency_budget_ms: float | None, batch_size: int | None, cache: int | None,
) -> Chosen:  # fmt: skip
    from rafiki.budget import InferenceBudget
    from rafiki.contract.deployments import DeploymentRequest
    from rafiki.ensembles import EnsembleSetting

    count, limits = replicas
    options = {
        InferenceBudgetOption.GPU_COUNT: gpus,
        InferenceBudgetOption.REPLICA_COUNT: count,
        InferenceBudgetOption.WORKERS_PER_GPU: workers_per_gpu,
    }
    given = {str(k): v for k, v in options.items() if v is not None}
    setting = None
    if ensemble is not None or size is not None:
        setting = EnsembleSetting(method=ensemble or EnsembleMethod.MEAN, size=size)
    deployment = DeploymentRequest(
        require_key=require_key or None, replace_damaged=replace_damaged or None, latency_budget_ms=latency_budget_ms,
        batch_size=batch_size, cache=cache, replicas=limits,
    )  # fmt: skip
    return Chosen(InferenceBudget.from_request(given) if given else None, setting, deployment)
