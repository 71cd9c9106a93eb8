"""Images that models name: had from a registry with a login or not at all, tried, and recorded as what they are."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from support.services.container_rooms import SwarmRoom
from support.swarm.docker_hosts import DockerHosts
from support.swarm.image_registry import PASSWORD, ImageRegistry
from support.swarm.worker_image import TEST_IMAGE, added_bytes

from rafiki.container import ContainerManager
from rafiki.container.image_digests import is_pinned, pinned
from rafiki.distribution import IMAGE
from rafiki.errors import InvalidImageError

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def api(docker_hosts: DockerHosts) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=docker_hosts.manager.socket, version="auto", timeout=600)
    yield client
    client.close()


@pytest.fixture
def manager(docker_hosts: DockerHosts, tmp_path: Path, image_registry: ImageRegistry) -> Iterator[ContainerManager]:
    """With the right login for the registry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_CONFIG", str(image_registry.login(tmp_path / "login")))
        SwarmRoom.hosts = docker_hosts
        room = SwarmRoom(tmp_path / "room")
        opened = room.manager()
        yield opened
        opened.close()
        room.close()


def build(api: docker.APIClient, name: str, dockerfile: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for file, text in {"Dockerfile": dockerfile, "file": "one"}.items():
            info = tarfile.TarInfo(file)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    out.seek(0)
    for line in api.build(fileobj=out, custom_context=True, tag=name, rm=True, decode=True):
        assert "error" not in line, line


def push(name: str, hosts: DockerHosts, login: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rafiki_cli", "image", "push", "--name", name, "--engine", hosts.manager.socket],
        env={**os.environ, "DOCKER_CONFIG": str(login)}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def test_the_image_of_workers_is_small(api: docker.APIClient) -> None:
    """225 MB beside python:3.11-slim, which is of 124 MB where it comes from its registry: together below 350 MB."""
    assert added_bytes(api, IMAGE) < 225e6
    assert api.inspect_image(IMAGE)["Size"] < 350e6


def test_an_image_of_a_registry_is_had_by_its_digest_and_a_moved_tag_is_told(
    api: docker.APIClient, docker_hosts: DockerHosts, image_registry: ImageRegistry, manager: ContainerManager,
    tmp_path: Path,
) -> None:  # fmt: skip
    name = f"{image_registry.address}/team/model:1"
    api.tag(TEST_IMAGE, f"{image_registry.address}/team/model", "1")

    wrong = push(name, docker_hosts, image_registry.login(tmp_path / "wrong", "nonsense-password"))
    assert wrong.returncode != 0
    assert f"docker login {image_registry.address}" in wrong.stderr
    assert "nonsense-password" not in wrong.stderr + wrong.stdout
    right = push(name, docker_hosts, image_registry.login(tmp_path / "right"))
    assert right.returncode == 0, right.stderr
    assert PASSWORD not in right.stderr + right.stdout

    # The engine's node has forgotten it: it is pulled.
    api.remove_image(name)
    first = manager.check_image(name)
    assert first.digest is not None
    assert first.note is None
    assert is_pinned(first.digest)
    assert manager.find_image_problem(name, first.digest) is None
    assert manager.find_image_change(name, first.digest) is None

    build(api, name, f"FROM {TEST_IMAGE}\nCOPY file /tmp/other\n")
    assert push(name, docker_hosts, image_registry.login(tmp_path / "right")).returncode == 0
    change = manager.find_image_change(name, first.digest)
    assert change is not None
    assert "means another image by now" in change
    assert manager.check_image(name).digest != first.digest
    api.pull(pinned(name, first.digest), auth_config={"username": "ada", "password": PASSWORD})


def test_a_wrong_login_of_the_admin_is_said(
    docker_hosts: DockerHosts, image_registry: ImageRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(image_registry.login(tmp_path / "wrong", "nonsense-password")))
    SwarmRoom.hosts = docker_hosts
    room = SwarmRoom(tmp_path / "room")
    manager = room.manager()
    try:
        with pytest.raises(InvalidImageError, match=r"cannot be pulled: .*docker login") as refusal:
            manager.check_image(f"{image_registry.address}/team/secret:1")
        assert "nonsense-password" not in str(refusal.value)
    finally:
        manager.close()
        room.close()


def test_an_image_that_nodes_have_loaded_is_recorded_as_what_it_is(
    api: docker.APIClient, manager: ContainerManager
) -> None:
    name = "127.0.0.1:1/tests-own:1"
    api.tag(TEST_IMAGE, "127.0.0.1:1/tests-own", "1")
    digest = manager.check_image(name).digest
    assert digest is not None
    assert not is_pinned(digest)
    assert manager.find_image_problem(name, digest) is None
    assert manager.find_image_change(name, digest) is None

    problem = manager.find_image_problem(name, digest.replace("sha256:", "sha256:0"))
    assert problem is not None
    assert "another one by now" in problem
    problem = manager.find_image_problem("127.0.0.1:1/tests-gone:1", digest)
    assert problem is not None
    assert "not on the node" in problem


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM scratch\nCOPY file /file\n", r"no program `python`"),
        ("FROM python:3.11-slim\n", r"it has no Rafiki.*FROM the image of `rafiki image build`"),
        (f"FROM {TEST_IMAGE}\nENV PYTHONPATH=/nowhere\n", r"it has no Rafiki"),
    ],
)
def test_an_image_in_which_no_worker_runs_is_refused_with_the_reason(
    api: docker.APIClient, manager: ContainerManager, dockerfile: str, words: str
) -> None:
    name = "127.0.0.1:1/tests-unfit:1"
    build(api, name, dockerfile)
    with pytest.raises(InvalidImageError, match=words):
        manager.check_image(name)


def test_an_image_that_is_nowhere_is_refused_with_what_to_do(manager: ContainerManager) -> None:
    with pytest.raises(InvalidImageError, match=r"cannot be pulled: no registry has it.*rafiki image spread"):
        manager.check_image("127.0.0.1:1/tests-nowhere:1")


def test_two_builds_have_equal_layers(api: docker.APIClient, tmp_path: Path) -> None:
    """The engine's own part: the folders that hold ours have times, too."""
    from rafiki_cli.images import compile_library, parts
    from rafiki_cli.images.build_context import DOCKERFILE, pack

    own = {
        f"{part}/opt/rafiki/{name.replace('.', '/')}.py": "import json, logging\n"
        if part == parts.WORKERS
        else "import csv"
        for part, names in parts.PROGRAMS.items()
        for name in names
    }
    for module in (compile_library, parts):
        file = Path(str(module.__file__))
        own[f"{parts.WORKERS}/opt/rafiki/rafiki_cli/images/{file.name}"] = file.read_text()
    layers = []
    for name in ("first", "second"):
        folder = tmp_path / name
        (folder / parts.WORKERS / "var/lib/rafiki").mkdir(parents=True)
        for path, text in own.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (folder / "Dockerfile").write_text(DOCKERFILE.read_text())
        pack(folder, tmp_path / f"{name}.tar")
        with (tmp_path / f"{name}.tar").open("rb") as context:
            for line in api.build(
                fileobj=context, custom_context=True, tag=f"127.0.0.1:1/tests-{name}:1", rm=True, decode=True,
                nocache=True,
            ):  # fmt: skip
                assert "error" not in line, line
        layers.append(api.inspect_image(f"127.0.0.1:1/tests-{name}:1")["RootFS"]["Layers"])
    assert layers[0] == layers[1]
