"""Examples of a train job's validation dataset, as queries.

A process of its own reads them: what it loads goes with it.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import rafiki
from rafiki.entities import TrainJob
from rafiki.errors import InvalidDatasetError
from rafiki.tasks.registry import get_task

if TYPE_CHECKING:
    from rafiki.admin.context import AdminContext

_logger = logging.getLogger(__name__)

_TIMEOUT_S = 60.0
_MOST_BYTES = 8 << 20


class ExamplesRequest(msgspec.Struct, frozen=True, kw_only=True):
    task: str
    train_path: str
    val_path: str
    train_args: dict[str, Any]
    max_examples: int


def read_examples(context: AdminContext, job: TrainJob, max_examples: int) -> list[Any]:
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
        child = subprocess.run(
            [sys.executable, "-m", "rafiki.admin.examples"], input=msgspec.json.encode(request), capture_output=True,
            timeout=_TIMEOUT_S, check=True,
            # Rafiki may itself have been found by the working folder alone.
            cwd=Path(rafiki.__file__).resolve().parent.parent,
        )  # fmt: skip
        return msgspec.json.decode(child.stdout, type=list[Any])
    except InvalidDatasetError as e:
        reason = e.message
    except subprocess.CalledProcessError as e:
        reason = e.stderr.decode(errors="replace")[-2000:]
    except (subprocess.TimeoutExpired, msgspec.DecodeError, OSError) as e:
        reason = str(e)
    _logger.warning("no examples of %s v%s: %s", job.app, job.app_version, reason, extra={"job": job.id})
    return []


def main() -> int:
    """The process."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=ExamplesRequest)
    found = get_task(request.task).read_examples(
        Path(request.val_path), Path(request.train_path), request.train_args, request.max_examples
    )
    kept: list[msgspec.Raw] = []
    for query in found:
        if sum(len(bytes(k)) for k in kept) + len(query) <= _MOST_BYTES:
            kept.append(msgspec.Raw(query))
    sys.stdout.buffer.write(msgspec.json.encode(kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
