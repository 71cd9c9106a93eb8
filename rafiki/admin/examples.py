"""Examples of a train job's validation dataset, as queries.

A process of its own reads them: what it loads goes with it.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rafiki.entities import TrainJob
from rafiki.errors import InvalidDatasetError
from rafiki.tasks.registry import get_task
from rafiki.utils.request_process import RequestProcessError, answer_request, ask_process
from rafiki.utils.values import JsonObject, JsonValue

if TYPE_CHECKING:
    from rafiki.admin.context import AdminContext

_logger = logging.getLogger(__name__)

_TIMEOUT_S = 60.0
_MOST_BYTES = 8 << 20


class ExamplesRequest(msgspec.Struct, frozen=True, kw_only=True):
    task: str
    train_path: str
    val_path: str
    train_args: JsonObject
    max_examples: int


def read_examples(context: AdminContext, job: TrainJob, max_examples: int) -> list[JsonValue]:
    """At most so many queries, as clients send them. None is no error: the task may have no format for them, or the
    dataset may be gone."""
    if max_examples < 1:
        return []
    store = context.store.datasets
    try:
        paths = [
            str(context.datasets.get_path(store.get_dataset(dataset_id).store_id))
            for dataset_id in (job.train_dataset_id, job.val_dataset_id)
        ]
        request = ExamplesRequest(
            task=job.task, train_path=paths[0], val_path=paths[1], train_args=job.train_args, max_examples=max_examples
        )
        return ask_process("rafiki.admin.examples", request, list[JsonValue], _TIMEOUT_S)
    except InvalidDatasetError as e:
        reason = e.message
    except RequestProcessError as e:
        reason = str(e)
    _logger.warning("no examples of %s v%s: %s", job.app, job.app_version, reason, extra={"job": job.id})
    return []


def answer(request: ExamplesRequest) -> list[msgspec.Raw]:
    """The examples, as JSON."""
    found = get_task(request.task).read_examples(
        Path(request.val_path), Path(request.train_path), request.train_args, request.max_examples
    )
    kept: list[msgspec.Raw] = []
    for query in found:
        if sum(len(bytes(k)) for k in kept) + len(query) <= _MOST_BYTES:
            kept.append(msgspec.Raw(query))
    return kept


if __name__ == "__main__":
    sys.exit(answer_request(ExamplesRequest, answer))
