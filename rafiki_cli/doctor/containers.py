"""The container engine, for stacks that run their workers in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rafiki import registries
from rafiki.distribution import IMAGE, LOCAL_REGISTRY
from rafiki_cli.doctor.findings import Finding, ok, problem, skipped
from rafiki_cli.doctor.subject import Subject

_TIMEOUT_S = 5
_SOCKET = Path("/var/run/docker.sock")


def check_engine(subject: Subject) -> Iterator[Finding]:
    """Docker and its Swarm. Information only, unless the stack's workers run there."""
    name = subject.config.container.backend
    backend = registries.CONTAINERS.open().find(name)
    is_needed = bool(getattr(backend, "uses_docker", False))
    program = shutil.which("docker")
    host = subject.config.container.engine or os.environ.get("DOCKER_HOST")
    if host is None and not _SOCKET.exists():
        told = f"{'docker is installed, but t' if program else 'T'}here is no {_SOCKET}."
        yield _absent(told, "Install Docker and start its service.", name, is_needed=is_needed)
        return
    if host is None and not os.access(_SOCKET, os.R_OK | os.W_OK):
        cure = "Join the group docker: sudo usermod -aG docker $USER, then log in anew."
        yield _absent(f"You may not use {_SOCKET}.", cure, name, is_needed=is_needed)
        return
    # Loaded on demand: it takes a quarter of a second.
    import docker
    from docker.errors import DockerException

    try:
        client = docker.DockerClient(base_url=host, timeout=_TIMEOUT_S) if host else docker.from_env(timeout=_TIMEOUT_S)
        try:
            about = client.info()
            image = subject.config.container.image or IMAGE
            # Others are fetched from their registry.
            is_missing = is_needed and image.startswith(LOCAL_REGISTRY) and not client.images.list(image)
        finally:
            client.close()
    except (DockerException, OSError) as e:
        told = f"Docker does not answer: {' '.join(str(e).split())[:200]}"
        yield _absent(told, "Start Docker's service.", name, is_needed=is_needed)
        return
    if is_missing:
        yield problem(
            "container engine",
            f"The image {image} is not there, which workers run in.",
            "`rafiki image build` makes it, and `rafiki image spread` brings it to other nodes.",
        )
        return
    swarm = about.get("Swarm", {})
    if is_needed and swarm.get("LocalNodeState") == "active" and not swarm.get("ControlAvailable"):
        told = "This Docker is a worker of its Swarm, and services are made by managers."
        yield problem("container engine", told, "Name a manager's with container.engine in rafiki.yaml.")
        return
    state = swarm.get("LocalNodeState", "unknown")
    role = ", a manager" if swarm.get("ControlAvailable") else ""
    nodes = f", {swarm['Nodes']} node(s)" if swarm.get("Nodes") else ""
    used = "" if is_needed else f" It is not used: {_place(name)}."
    yield ok("container engine", f"Docker {about.get('ServerVersion', '?')}; Swarm {state}{role}{nodes}.{used}")


def _absent(told: str, cure: str, backend: str, *, is_needed: bool) -> Finding:
    if is_needed:
        return problem("container engine", told, cure)
    return skipped("container engine", f"{told} It is not needed: {_place(backend)}.")


def _place(backend: str) -> str:
    return "workers run as processes" if backend == "process" else f"container.backend is {backend}"
