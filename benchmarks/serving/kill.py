"""What clients see when the process of the model is killed under load."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle, pairwise

import msgspec

from benchmarks.serving.peer import Running

N_CLIENTS = 8
WINDOW_S = 10.0
_BEFORE_S = 1.0
_TIMEOUT_S = 10.0
_PAUSE_S = 0.02


class Killed(msgspec.Struct, frozen=True):
    """What came of it."""

    n_failed: int
    """Requests that were refused, lost, or not answered within 10 s."""
    gap_s: float | None
    """The longest time without an answer after the kill; None = none came any more."""


async def _request(server: Running, body: bytes) -> bool:
    """Whether it was answered with 200."""
    head = (
        f"POST {server.path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer = None
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(head.encode() + body)
            return (await reader.read()).startswith(b"HTTP/1.1 200")
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()


async def _kill(server: Running, bodies: list[bytes]) -> Killed:
    ends = time.perf_counter() + _BEFORE_S + WINDOW_S
    answered: list[float] = []
    n_failed = 0
    sent = cycle(bodies)

    async def client() -> None:
        nonlocal n_failed
        while time.perf_counter() < ends:
            if await _request(server, next(sent)):
                answered.append(time.perf_counter())
            else:
                n_failed += 1
                # As clients do that try again; without it they would only measure how fast it refuses.
                await asyncio.sleep(_PAUSE_S)

    clients = [asyncio.create_task(client()) for _ in range(N_CLIENTS)]
    await asyncio.sleep(_BEFORE_S)
    victims = await asyncio.to_thread(server.models)
    killed_at = time.perf_counter()
    for process in victims:
        process.kill()
    await asyncio.gather(*clients)
    return Killed(n_failed, longest_gap_s(killed_at, answered, killed_at + WINDOW_S))


def longest_gap_s(killed_at: float, answered: list[float], ends: float) -> float | None:
    """The longest time without an answer from a kill on; None when the last gap goes on to the end.

    Args:
        answered: when answers came, in order.
    """
    later = [at for at in answered if at > killed_at]
    times = [killed_at, *later]
    gaps = [b - a for a, b in pairwise(times)]
    if not later or ends - later[-1] > max(1.0, 2 * max(gaps)):
        return None
    return max(gaps)


def kill_model(server: Running, bodies: list[bytes]) -> Killed:
    """Kill every process of the model with SIGKILL while 8 clients ask, and go on for 10 s."""
    return asyncio.run(_kill(server, bodies))
