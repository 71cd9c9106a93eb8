"""The image of the tests' workers: that of ``rafiki image build``, with the program of the contract suite."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import docker
from support.swarm.docker_hosts import BASE, DockerHosts

from rafiki.distribution import IMAGE

ADMIN_IMAGE = "127.0.0.1:1/rafiki-tests-admin:1"
"""That of ``rafiki image build --all``."""
TEST_IMAGE = "127.0.0.1:1/rafiki-tests:1"
_SERVICE = Path(__file__).parents[1] / "services" / "container_service.py"
_WRONG_CLOCK = Path(__file__).with_name("wrong_clock.py")
_DOCKERFILE = f"FROM {IMAGE}\nCOPY tests /opt/tests\nENV PYTHONPATH=/opt/rafiki:/opt/tests\n"


def build_images(hosts: DockerHosts) -> None:
    """Build both with the command that people type, and spread them over both hosts with it."""
    manager, other = hosts.manager.socket, hosts.other.socket
    _rafiki("image", "build", "--engine", manager, "--extras", "templates")
    client = docker.APIClient(base_url=manager, version="auto", timeout=600)
    for line in client.build(fileobj=_context(), custom_context=True, tag=TEST_IMAGE, rm=True, decode=True):
        assert "error" not in line, line
    client.close()
    _rafiki("image", "spread", other, "--engine", manager, "--name", TEST_IMAGE)
    other_client = docker.APIClient(base_url=other, version="auto", timeout=600)
    repository, _, tag = IMAGE.rpartition(":")
    # Its layers have come with the other one: only a name is missing for the stacks of acceptance tests.
    other_client.tag(TEST_IMAGE, repository, tag)
    other_client.close()


def build_admin_image(hosts: DockerHosts) -> None:
    """On the manager; its lower layers are those of the workers' image."""
    _rafiki("image", "build", "--engine", hosts.manager.socket, "--all", "--name", ADMIN_IMAGE)


def added_bytes(client: docker.APIClient, image: str) -> int:
    """What an image takes beyond its base."""
    return int(client.inspect_image(image)["Size"] - client.inspect_image(BASE)["Size"])


def _context() -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(_DOCKERFILE)
        tar.addfile(info, io.BytesIO(_DOCKERFILE.encode()))
        tar.add(_SERVICE, "tests/support/services/container_service.py")
        tar.add(_WRONG_CLOCK, "tests/sitecustomize.py")
    out.seek(0)
    return out


def _rafiki(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rafiki_cli", *arguments], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
