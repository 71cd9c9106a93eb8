"""An admin's host and nodes, as network namespaces of this machine that a bridge connects. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

HUB_ADDRESS = "10.213.0.1"


def in_namespace(name: str, command: Sequence[str]) -> list[str]:
    """A command that runs there."""
    return ["ip", "netns", "exec", name, *command]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=30)


@contextlib.contextmanager
def network(n_nodes: int, wire_gbit: float | None) -> Iterator[tuple[str, list[str]]]:
    """The namespaces of the admin's host and of the nodes; they are gone afterwards.

    Args:
        n_nodes: how many.
        wire_gbit: what each node's wire carries, both ways; None = what the kernel does.
    """
    prefix = f"rfb{os.getpid()}"
    hub, nodes = f"{prefix}h", [f"{prefix}n{i}" for i in range(n_nodes)]
    made: list[str] = []
    try:
        for name in (hub, *nodes):
            _ip("netns", "add", name)
            made.append(name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", hub, "link", "add", "br0", "type", "bridge")
        _ip("-n", hub, "addr", "add", f"{HUB_ADDRESS}/24", "dev", "br0")
        _ip("-n", hub, "link", "set", "br0", "up")
        for i, node in enumerate(nodes):
            port = f"port{i}"
            _ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", node)
            _ip("-n", hub, "link", "set", port, "master", "br0", "up")
            _ip("-n", node, "addr", "add", f"10.213.0.{10 + i}/24", "dev", "eth0")
            _ip("-n", node, "link", "set", "eth0", "up")
            for namespace, device in ((hub, port), (node, "eth0")) if wire_gbit is not None else ():
                limit = ["rate", f"{wire_gbit}gbit", "burst", "1mb", "latency", "20ms"]
                command = ["tc", "qdisc", "add", "dev", device, "root", "tbf", *limit]
                subprocess.run(in_namespace(namespace, command), check=True, capture_output=True, timeout=30)
        yield hub, nodes
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=30)
