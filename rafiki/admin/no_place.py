"""Why no host takes a worker, for people."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

_MOST_NAMED = 3
_PLURALS = {"is": "are", "lacks": "lack"}


class Obstacle(msgspec.Struct, frozen=True):
    """What speaks against a host: its state, or that it has too little memory left."""

    host: str
    state: str | None = None
    """``is draining``."""
    free_bytes: int | None = None


def explain(obstacles: Sequence[Obstacle], need_bytes: int) -> str:
    """One line for all hosts, whose number may be large."""
    small = [o for o in obstacles if o.free_bytes is not None]
    parts = []
    if small:
        most = max(small, key=lambda o: o.free_bytes or 0)
        other = "node" if len(small) == len(obstacles) else "other node"
        parts.append(f"no {other} has {_gb(need_bytes)} free ({most.host} has {_gb(most.free_bytes or 0)})")
    states: dict[str, list[str]] = {}
    for obstacle in obstacles:
        if obstacle.state is not None:
            states.setdefault(obstacle.state, []).append(obstacle.host)
    told = [_state(hosts, state) for state, hosts in states.items()]
    return "; ".join([*told, *parts]) or "there is no node"


def _state(hosts: list[str], state: str) -> str:
    """``node n2 is draining``, ``nodes n1, n2 and 9 more are draining``."""
    if len(hosts) == 1:
        return f"node {hosts[0]} {state}"
    named, more = hosts[:_MOST_NAMED], len(hosts) - _MOST_NAMED
    listed = f"{', '.join(named)} and {more} more" if more > 0 else f"{', '.join(named[:-1])} and {named[-1]}"
    verb, _, rest = state.partition(" ")
    return f"nodes {listed} {_PLURALS.get(verb, verb)} {rest}"


def _gb(count_bytes: int) -> str:
    """As people set limits: 8192 MB are 8 GB."""
    return f"{count_bytes / (1 << 30):.3g} GB"
