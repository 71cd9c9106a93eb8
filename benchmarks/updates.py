"""What clients notice of updates, stops and kills: ``python -m benchmarks.updates``.

So many clients ask one after another over connections that stay. Meanwhile the app is updated behind its address, is
stopped with queries in hand, and its predictor, its inference worker and the cache are killed (SIGKILL), so many times
each. Each request is counted: answered; refused, with a reason in JSON (429, 503) or a connection that was refused or
closed; failed (any other answer); hung (none within its deadline and ten seconds more).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from benchmarks.bench_stack import BenchError, wait_for
from benchmarks.datasets import number_queries
from benchmarks.machine import describe_machine
from benchmarks.session import QUICK, Session

RESULTS = Path(__file__).resolve().parent / "results" / "updates.json"
_APP = "tree64"
_DEADLINE_S = 10.0
_HUNG_S = _DEADLINE_S + 10.0
_SETTLE_S = 1.0
"""Of load before and after each blow."""
_KINDS = ("update", "stop", "kill predictor", "kill worker", "kill cache")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the clients noticed of one kind of blow."""

    kind: str
    rounds: int
    answered: int
    refused: int
    """With a reason in JSON."""
    no_connection: int
    """Refused or closed connections."""
    failed: int
    hung: int
    median_s: float
    """From the blow until all is as before."""
    worst_s: float


class Clients:
    """They ask in an event loop of a thread of their own."""

    def __init__(self, address: str, n_clients: int) -> None:
        self._url = f"http://{address}/predict"
        self._n_clients = n_clients
        self.seen: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask() for _ in range(self._n_clients)))

    async def _ask(self) -> None:
        body = msgspec.json.encode({"query": number_queries().queries[0]})
        async with httpx.AsyncClient(timeout=_HUNG_S) as client:
            while not self._stopped.is_set():
                self.seen[await self._one(client, body)] += 1

    async def _one(self, client: httpx.AsyncClient, body: bytes) -> str:
        try:
            response = await client.post(self._url, content=body)
        except httpx.TimeoutException:
            return "hung"
        except httpx.TransportError:
            # Whoever is refused tries again soon.
            await asyncio.sleep(0.02)
            return "no_connection"
        if response.status_code == 200:
            return "answered"
        is_told = response.headers.get("content-type") == "application/json" and b'"error"' in response.content
        return "refused" if response.status_code in (429, 503) and is_told else "failed"

    def go_on(self) -> None:
        """Until more are answered."""
        before = self.seen["answered"]
        wait_for(lambda: self.seen["answered"] >= before + 2 * self._n_clients, "answers", every_s=0.01)

    def close(self) -> Counter[str]:
        self._stopped.set()
        self._thread.join(2 * _HUNG_S)
        if self._thread.is_alive():
            raise BenchError("clients did not end")
        return self.seen


class Blows:
    """What is done to a deployment."""

    def __init__(self, session: Session, n_clients: int) -> None:
        self._session, self._n_clients = session, n_clients
        self._client = session.stack.client
        self._app = session.trained(_APP)
        self._pause = threading.Event()

    def deploy(self) -> str:
        address: str = self._client.create_inference_job(self._app)["predictor_host"]
        wait_for(lambda: not httpx.get(f"http://{address}/").json()["absent"], "a member that serves", every_s=0.05)
        return address

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self._client.stop_inference_job(self._app)

    def measure(self, kind: str, rounds: int) -> Row:
        seen: Counter[str] = Counter()
        took_s: list[float] = []
        if kind == "stop":
            for _ in range(rounds):
                clients = Clients(self.deploy(), self._n_clients)
                clients.go_on()
                began = time.perf_counter()
                self._client.stop_inference_job(self._app)
                took_s.append(time.perf_counter() - began)
                seen += clients.close()
        elif kind == "update":
            # One address all the time.
            seen += self._hurt(self._update, rounds, took_s)
        else:
            # A service that ends again and again soon after its start is given up (supervisor.max_restarts).
            for _ in range(rounds):
                seen += self._hurt(self._kill_of(kind), 1, took_s)
        counts = {name: seen[name] for name in ("answered", "refused", "no_connection", "failed", "hung")}
        return Row(
            kind=kind,
            rounds=rounds,
            median_s=round(statistics.median(took_s), 2),
            worst_s=round(max(took_s), 2),
            **counts,
        )

    def _hurt(self, blow: Callable[[], None], times: int, took_s: list[float]) -> Counter[str]:
        """Blows to one deployment under load; what its clients saw."""
        clients = Clients(self.deploy(), self._n_clients)
        for _ in range(times):
            clients.go_on()
            self._pause.wait(_SETTLE_S)
            began = time.perf_counter()
            blow()
            clients.go_on()
            took_s.append(time.perf_counter() - began)
            self._pause.wait(_SETTLE_S)
        seen = clients.close()
        self.stop()
        return seen

    def _kill_of(self, kind: str) -> Callable[[], None]:
        process = {"kill predictor": "predictor", "kill worker": "inference", "kill cache": "cache"}[kind]

        def kill() -> None:
            victim = self._session.stack.process(process)
            victim.kill()
            with contextlib.suppress(Exception):
                victim.wait(10)

        return kill

    def _update(self) -> None:
        rollout = self._client.update_inference_job(self._app)
        if rollout["status"] != "PROMOTED":
            raise BenchError(f"the update is {rollout['status']}: {rollout['reason']}")


def broken_promises(rows: list[Row]) -> list[str]:
    """What a row shows that must not be."""
    broken = [f"{r.kind}: {r.hung} hung" for r in rows if r.hung]
    broken += [f"{r.kind}: {r.failed} failed" for r in rows if r.failed]
    for row in rows:
        if row.kind == "update" and row.refused + row.no_connection:
            broken.append(f"update: {row.refused + row.no_connection} not answered")
    return broken


def table(rows: list[Row]) -> str:
    lines = [
        "| blow | times | answered | refused with a reason | no connection | failed | hung | median | worst |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {r.kind} | {r.rounds} | {r.answered:,} | {r.refused:,} | {r.no_connection:,} | {r.failed} | {r.hung} | "
        f"{r.median_s:.2f} s | {r.worst_s:.2f} s |"
        for r in rows
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.updates", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=10, help="of each kind")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--only", nargs="+", choices=_KINDS, default=list(_KINDS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    with Session(QUICK) as session:
        blows = Blows(session, given.clients)
        for kind in given.only:
            try:
                rows.append(blows.measure(kind, given.rounds))
            finally:
                blows.stop()
            print(f"{kind}: {msgspec.to_builtins(rows[-1])}", flush=True)
    given.out.write_bytes(msgspec.json.format(msgspec.json.encode({"machine": describe_machine(), "rows": rows})))
    print(table(rows))
    for promise in (broken := broken_promises(rows)):
        print(f"BROKEN {promise}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
