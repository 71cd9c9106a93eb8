"""The tests' images, built once for all pairs of Docker hosts of one run of the tests."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

from support.swarm.docker_hosts import BASE, DockerHost, DockerHosts
from support.swarm.worker_image import TEST_IMAGE, build_images

from rafiki.distribution import IMAGE

_NAMES = (BASE, IMAGE, TEST_IMAGE)


def bring_images(hosts: DockerHosts, folder: Path | None) -> None:
    """Build the images, and keep them in ``folder``; or load those that another process has kept there."""
    if folder is None:
        _build(hosts)
        return
    kept = folder / "docker-images.tar"
    with kept.with_suffix(".lock").open("w") as lock:
        # Who comes second waits for whoever builds.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _build(hosts)
            part = kept.with_suffix(".part")
            _docker(hosts.manager, "save", "--output", str(part), *_NAMES)
            # Whole, or not there.
            part.rename(kept)
            return
    for host in hosts.hosts:
        _docker(host, "load", "--quiet", "--input", str(kept))


def _build(hosts: DockerHosts) -> None:
    hosts.import_base()
    build_images(hosts)


def _docker(host: DockerHost, *arguments: str) -> None:
    done = subprocess.run(
        ["docker", "--host", host.socket, *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
