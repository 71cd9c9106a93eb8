"""Environments in images of a registry: one a set of packages, made once, found again, and told when it cannot be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from support.stacks.running_stack import eventually

from rafiki.container.base import BuiltImage
from rafiki.container.swarm_packages import check_registry
from rafiki.environments.images import ImageEnvironments
from rafiki.environments.on_node import ANSWER, IMAGE_FOLDER, NodeAnswer, NodeRequest
from rafiki.environments.state import EnvironmentState, EnvironmentStatus
from rafiki.errors import ConfigError, ContainerError

READY, FAILED = EnvironmentStatus.READY, EnvironmentStatus.FAILED
GLIMMER = [Requirement("glimmer==1.0")]
KEY = "0123456789abcdef"


class Registry:
    """A registry and an engine on paper."""

    registry = "registry.example.org/team"

    def __init__(self) -> None:
        self.base_id = "sha256:1"
        self.there: dict[str, str] = {}
        self.answer = NodeAnswer(size_bytes=100)
        self.problem: str | None = None
        self.built: list[NodeRequest] = []

    def identify_image(self, image: str | None) -> tuple[str, Mapping[str, str]]:
        return (self.base_id, {"numpy": "2.0"})

    def find(self, tag: str) -> str | None:
        return self.there.get(tag)

    def build(
        self, tag: str, image: str | None, program: Sequence[str], request: bytes, *, log: Callable[[bytes], None],
        is_wanted: Callable[[], bool], timeout_s: float, stop: threading.Event,
    ) -> BuiltImage | None:  # fmt: skip
        self.built.append(msgspec.json.decode(request, type=NodeRequest))
        # The answer comes without the end of its line.
        log(b"Collecting glimmer\n" + ANSWER.encode() + msgspec.json.encode(self.answer))
        if not is_wanted():
            return None
        if self.problem is not None:
            raise ContainerError(self.problem)
        self.there[tag] = f"{self.registry}/rafiki-packages@sha256:{len(self.built)}"
        return BuiltImage(image=self.there[tag], size_bytes=50)

    def remove(self, tag: str) -> None: ...


@pytest.fixture
def registry() -> Registry:
    return Registry()


def open_environments(folder: Path, registry: Registry) -> ImageEnvironments:
    return ImageEnvironments(
        registry, folder / "images.json", lambda key: folder / f"{key}.log", timeout_s=60.0, only_wheels=False,
        variables={"PIP_NO_INDEX": "1"}, changed=lambda: None,
    )  # fmt: skip


@pytest.fixture
def environments(tmp_path: Path, registry: Registry) -> Iterator[ImageEnvironments]:
    opened = open_environments(tmp_path, registry)
    yield opened
    opened.shut_down()


def wait(environments: ImageEnvironments) -> EnvironmentState:
    environments.look(KEY, GLIMMER, None)
    eventually(lambda: not environments.is_building(KEY), "the end of builds")
    return environments.look(KEY, GLIMMER, None)


def image_of(environments: ImageEnvironments) -> str | None:
    found = environments.packages(KEY, GLIMMER, None)
    return None if found is None else found.image


def test_a_set_is_built_once_and_found_again(
    environments: ImageEnvironments, registry: Registry, tmp_path: Path
) -> None:
    assert wait(environments).status is READY
    assert wait(environments).status is READY
    (request,) = registry.built
    assert (request.volume, request.requirements) == (IMAGE_FOLDER, ["glimmer==1.0"])
    found = environments.packages(KEY, GLIMMER, None)
    assert found is not None
    assert found.folder.startswith(f"{IMAGE_FOLDER}/{KEY}-")
    assert found.image == "registry.example.org/team/rafiki-packages@sha256:1"
    (view,) = environments.list_environments()
    assert (view.status, view.size_bytes) == (READY, 50)
    assert "registry.example.org/team: Collecting glimmer" in (tmp_path / f"{KEY}.log").read_text()
    # An admin that was started anew knows it, one that has lost its record finds it in the registry.
    for has_record in (True, False):
        if not has_record:
            (tmp_path / "images.json").unlink()
        again = open_environments(tmp_path, registry)
        assert wait(again).status is READY
        assert image_of(again) == found.image
        again.shut_down()
    assert len(registry.built) == 1


def test_another_image_of_workers_has_images_of_its_own(environments: ImageEnvironments, registry: Registry) -> None:
    wait(environments)
    registry.base_id = "sha256:2"
    assert wait(environments).status is READY
    assert image_of(environments) == "registry.example.org/team/rafiki-packages@sha256:2"


def test_why_there_is_no_image_is_the_reason_until_it_is_tried_again(
    environments: ImageEnvironments, registry: Registry
) -> None:
    registry.problem = "the registry refuses the login"
    state = wait(environments)
    assert state.status is FAILED
    assert state.reason is not None
    assert "could not be installed into an image: the registry refuses the login (on registry.example" in state.reason
    registry.problem = None
    environments.retry(KEY)
    assert wait(environments).status is READY


def test_what_pip_cannot_install_makes_no_image(environments: ImageEnvironments, registry: Registry) -> None:
    registry.answer = NodeAnswer(reason="there is no glimmer")
    assert "there is no glimmer" in str(wait(environments).reason)
    assert registry.there == {}


def test_what_the_image_has_without_saying_so_needs_no_other(
    environments: ImageEnvironments, registry: Registry
) -> None:
    registry.answer = NodeAnswer(is_base=True)
    assert wait(environments).status is READY
    assert environments.packages(KEY, GLIMMER, None) is None
    assert registry.there == {}


@pytest.mark.parametrize("name", ["", "team", "Registry.example.org/TEAM", "https://registry.example.org", "a b/c"])
def test_what_is_no_registry_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(ConfigError, match=r"container\.registry.*registry\.example\.org:5000/team"):
        check_registry(name)


@pytest.mark.parametrize("name", ["registry.example.org", "127.0.0.1:5000/team", "localhost/a/b"])
def test_registries_with_and_without_folders_are_taken(name: str) -> None:
    check_registry(name)
