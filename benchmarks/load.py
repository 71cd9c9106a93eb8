"""The load generator: a process of its own; each of its keep-alive connections has one request under way.

It shares the machine with what it measures, so it does next to nothing: raw sockets on uvloop, requests built in
advance, answers read just as far as status and length go. Every answer's status is looked at.

``python -m benchmarks.load`` reads a :class:`LoadRequest` as JSON on stdin and prints a :class:`LoadResult`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from array import array
from itertools import cycle
from pathlib import Path
from typing import cast

import msgspec
import uvloop

_GRACE_S = 15.0
"""Requests that are still without an answer so long after the end count as errors."""


class LoadRequest(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    port: int
    path: str = "/predict"
    bodies: list[bytes]
    """Sent in turn."""
    n_connections: int
    warm_up_s: float
    duration_s: float
    max_requests: int


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    n_requests: int
    """Answered within the measured time, errors not counted."""
    n_errors: int
    first_error: str | None
    duration_s: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_s: float
    """What the generator itself used of a core, warm-up included."""


class _Run:
    """What all connections share."""

    def __init__(self, request: LoadRequest) -> None:
        head = "POST {} HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
        made = [head.format(request.path, request.host, request.port, len(b)).encode() + b for b in request.bodies]
        self.messages = cycle(made)
        self.left = request.max_requests
        self.begins = time.perf_counter() + request.warm_up_s
        self.ends = self.begins + request.duration_s
        self.latencies = array("d")
        self.last_answer = self.begins
        self.n_errors = 0
        self.first_error: str | None = None

    def fail(self, what: str) -> None:
        self.n_errors += 1
        self.first_error = self.first_error or what


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._wanted = -1
        self._sent_at: float | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send(time.perf_counter())

    def _send(self, now: float) -> None:
        run, transport = self._run, self._transport
        assert transport is not None
        if now >= run.ends or run.left <= 0:
            self._sent_at = None
            transport.close()
            return
        run.left -= 1
        self._sent_at = now
        transport.write(next(run.messages))

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._wanted < 0:
            head_end = self._buffer.find(b"\r\n\r\n")
            if head_end < 0:
                return
            at = self._buffer.lower().find(b"content-length:", 0, head_end)
            line_end = self._buffer.find(b"\r\n", at)
            self._wanted = head_end + 4 + int(self._buffer[at + 15 : line_end])
        if len(self._buffer) < self._wanted:
            return
        now, run = time.perf_counter(), self._run
        if self._buffer[9:12] != b"200":
            run.fail(self._buffer[:300].decode("latin-1"))
        elif self._sent_at is not None and self._sent_at >= run.begins and now <= run.ends:
            run.latencies.append(now - self._sent_at)
            run.last_answer = now
        self._buffer, self._wanted = b"", -1
        self._send(now)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sent_at is not None:
            self._run.fail(f"a connection was lost under way: {exc}")
        self.closed.set_result(None)


async def _generate(request: LoadRequest) -> LoadResult:
    run, loop = _Run(request), asyncio.get_running_loop()
    pairs = [
        await loop.create_connection(lambda: _Connection(run), request.host, request.port)
        for _ in range(request.n_connections)
    ]
    closed = [connection.closed for _, connection in pairs]
    await asyncio.wait(closed, timeout=run.ends - time.perf_counter() + _GRACE_S)
    for future in closed:
        if not future.done():
            run.fail(f"no answer within {_GRACE_S:g} s after the end")
    # With a bound on the number of requests the work may end before the time does.
    duration_s = min(run.ends, run.last_answer) - run.begins if run.left <= 0 else request.duration_s
    ranked = sorted(run.latencies)

    def at(share: float) -> float:
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))] * 1000 if ranked else 0.0

    used = os.times()
    return LoadResult(
        n_requests=len(ranked), n_errors=run.n_errors, first_error=run.first_error, duration_s=duration_s,
        requests_per_s=len(ranked) / duration_s if duration_s > 0 else 0.0, p50_ms=at(0.5), p99_ms=at(0.99),
        cpu_s=used.user + used.system,
    )  # fmt: skip


class LoadError(RuntimeError):
    """The load generator itself failed."""


def run_load(
    address: str, bodies: list[bytes], *, n_connections: int, warm_up_s: float, duration_s: float,
    max_requests: int = 1_000_000, path: str = "/predict",
) -> LoadResult:  # fmt: skip
    """Load the predictor at ``address`` (``host:port``) from a process of its own.

    Raises:
        LoadError: with what the generator said.
    """
    host, _, port = address.rpartition(":")
    request = LoadRequest(
        host=host, port=int(port), path=path, bodies=bodies, n_connections=n_connections, warm_up_s=warm_up_s,
        duration_s=duration_s, max_requests=max_requests,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"], input=msgspec.json.encode(request), capture_output=True,
        cwd=Path(__file__).resolve().parent.parent, timeout=warm_up_s + duration_s + 2 * _GRACE_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise LoadError(f"the load generator failed: {done.stderr.decode(errors='replace')[-2000:]}")
    result = msgspec.json.decode(done.stdout, type=LoadResult)
    if not result.n_requests:
        raise LoadError(f"no request was answered: {result.first_error or 'no error either'}")
    return result


def main() -> int:
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=LoadRequest)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_generate(request))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
