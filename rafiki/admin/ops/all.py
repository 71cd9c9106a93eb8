"""The operation of every endpoint: each module of a noun tells its own."""

from __future__ import annotations

from rafiki.admin.operation import Operation
from rafiki.admin.ops import (
    api_tokens,
    audit,
    datasets,
    environment_events,
    environments,
    exports,
    garbage,
    inference_job_events,
    inference_jobs,
    models,
    nodes,
    oidc,
    predictor_keys,
    rollouts,
    service_events,
    stack,
    train_job_events,
    train_jobs,
    trial_log_events,
    trials,
    users,
    webhooks,
)
from rafiki.contract.all import ENDPOINTS

OPERATIONS: dict[str, Operation] = {
    operation.endpoint.name: operation
    for group in (
        stack.OPERATIONS,
        users.OPERATIONS,
        webhooks.OPERATIONS,
        api_tokens.OPERATIONS,
        datasets.OPERATIONS,
        models.OPERATIONS,
        environments.OPERATIONS,
        nodes.OPERATIONS,
        train_jobs.OPERATIONS,
        trials.OPERATIONS,
        inference_jobs.OPERATIONS,
        rollouts.OPERATIONS,
        oidc.OPERATIONS,
        predictor_keys.OPERATIONS,
        exports.OPERATIONS,
        garbage.OPERATIONS,
        audit.OPERATIONS,
        train_job_events.OPERATIONS,
        trial_log_events.OPERATIONS,
        inference_job_events.OPERATIONS,
        environment_events.OPERATIONS,
        service_events.OPERATIONS,
    )
    for operation in group
}
"""By the name of the endpoint."""

if lacking := ENDPOINTS.keys() - OPERATIONS.keys():
    raise LookupError(f"No operation serves the endpoint(s) {', '.join(sorted(lacking))}.")
