"""Two machines for a lesson that needs several: the Docker hosts of the tests, under names that a page can show."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from docs._generate.lessons import ROOT


@contextlib.contextmanager
def two_hosts() -> Iterator[dict[str, str]]:
    """Variables for the shells of the lesson.

    ``DOCKER_HOST`` is the engine of ``node1``, a manager, ``NODE2`` that of the other one; ``ADDRESS`` is where both
    reach this machine.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from support.swarm.docker_hosts import DockerHosts

    hosts = DockerHosts(hostnames=("node1", "node2"))
    try:
        hosts.up()
        yield {"DOCKER_HOST": hosts.manager.socket, "NODE2": hosts.other.socket, "ADDRESS": hosts.address}
    finally:
        hosts.down()
