"""What every server is to the benchmark: it is started with a model and a setting, has an address, and is stopped."""

from __future__ import annotations

import http.client
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import msgspec
import psutil

from benchmarks.bench_stack import BenchError

_TIMEOUT_S = 30.0


class Setting(msgspec.Struct, frozen=True):
    """One way to set a server up."""

    name: str
    batch: int = 1
    """The largest batch; 1 = no batches."""
    wait_ms: float = 0.0
    """How long a batch waits for more."""


class Running(ABC):
    """A server that answers."""

    host = "127.0.0.1"
    port: int
    path: str

    def body_of(self, query: Any) -> bytes:
        return json.dumps({"query": query}, separators=(",", ":")).encode()

    def prediction_in(self, answer: Any) -> list[float]:
        """The probabilities, in the answer's JSON."""
        return list(answer["prediction"])

    @abstractmethod
    def front(self) -> list[psutil.Process]:
        """The processes between the clients and the model."""

    @abstractmethod
    def models(self) -> list[psutil.Process]:
        """The processes that hold the model."""

    @abstractmethod
    def others(self) -> list[psutil.Process]:
        """What else runs for it."""

    def ask(self, query: Any) -> list[float]:
        """The answer to one query.

        Raises:
            BenchError: when it is no prediction.
            OSError: when there is none.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", self.path, self.body_of(query), {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except http.client.HTTPException as e:
            raise BenchError(f"no HTTP came: {e!r}") from e
        finally:
            connection.close()
        if response.status != 200:
            raise BenchError(f"status {response.status}: {content[:200].decode(errors='replace')}")
        return self.prediction_in(json.loads(content))

    def check(self, queries: Sequence[Any], expected: Sequence[Sequence[float]]) -> None:
        """Every query once: what is measured afterwards is the right answer.

        Raises:
            BenchError: when an answer is another one.
        """
        for no, (query, wanted) in enumerate(zip(queries, expected, strict=True)):
            found = self.ask(query)
            if len(found) != len(wanted) or max(abs(f - w) for f, w in zip(found, wanted, strict=True)) > 1e-6:
                raise BenchError(f"query {no}: {found} was answered, and {list(wanted)} is right")


class Peer(ABC):
    """One server product."""

    name: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]]
    """All that are measured; the best one of a row is told beside the common one."""
    common: ClassVar[Setting]
    """The one for all rows; of :attr:`settings`."""

    @abstractmethod
    def find_missing(self) -> str | None:
        """Why it cannot be measured here; None when it can. Installs what it needs."""

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def serve(self, model: str, setting: Setting) -> AbstractContextManager[Running]:
        """Serves while the context is open.

        Raises:
            BenchError: when it does not answer in time.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to stop
        """Stop what outlives the single server."""


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """The memory of processes together: PSS, where pages that they share are counted once; RSS where there is none."""
    total = 0
    for process in processes:
        try:
            used = process.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(used, "pss", 0) or used.rss
    return round(total / 2**20, 1)
