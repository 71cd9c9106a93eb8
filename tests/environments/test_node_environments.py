"""Environments on nodes: built once on each, in the workers' image; one that fails keeps workers off its node alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from support.data.wheels import make_wheel, pip_variables
from support.stacks.running_stack import eventually

from rafiki.environments.build import HEADING
from rafiki.environments.nodes import NodeEnvironments
from rafiki.environments.on_node import ANSWER, NodeAnswer, NodeRequest, fulfil
from rafiki.environments.state import EnvironmentState, EnvironmentStatus
from rafiki.errors import ContainerError
from rafiki.utils.clock import utc_now

READY, BUILDING, FAILED = EnvironmentStatus.READY, EnvironmentStatus.BUILDING, EnvironmentStatus.FAILED
GLIMMER = [Requirement("glimmer==1.0")]
KEY = "0123456789abcdef"


class Nodes:
    """Nodes on paper."""

    def __init__(self) -> None:
        self.there = {"n1": "red", "n2": "blue"}
        self.image_id, self.versions = "sha256:1", {"numpy": "2.0"}
        self.answers: dict[str, NodeAnswer | str] = {}
        """What a build says, by node; a text is how the service ended that said nothing."""
        self.gate = threading.Event()
        self.gate.set()
        self.built: list[tuple[str, NodeRequest]] = []
        self.is_silent = False

    def list_nodes(self) -> Mapping[str, str]:
        if self.is_silent:
            raise ContainerError("The engine does not answer.")
        return dict(self.there)

    def identify_image(self, image: str | None) -> tuple[str, Mapping[str, str]]:
        return (image or self.image_id, self.versions)

    def run_once(
        self, node_id: str, image: str | None, program: Sequence[str], request: bytes, *, log: Callable[[bytes], None],
        timeout_s: float, stop: threading.Event,
    ) -> str | None:  # fmt: skip
        self.built.append((node_id, msgspec.json.decode(request, type=NodeRequest)))
        assert self.gate.wait(30)
        answer = self.answers.get(node_id, NodeAnswer(size_bytes=100))
        if isinstance(answer, str):
            return answer
        log(HEADING + b"2026-11-30 glimmer\nCollecting gli")
        log(b"mmer\n" + f"{ANSWER}{msgspec.json.encode(answer).decode()}\n".encode())
        return None


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def open_environments(folder: Path, nodes: Nodes, **options: int) -> NodeEnvironments:
    return NodeEnvironments(
        nodes, folder / "nodes.json", lambda key: folder / f"{key}.log", timeout_s=60.0, only_wheels=False,
        variables={"PIP_NO_INDEX": "1"}, max_bytes=options.get("max_bytes"), changed=lambda: None,
    )  # fmt: skip


@pytest.fixture
def environments(tmp_path: Path, nodes: Nodes) -> Iterator[NodeEnvironments]:
    opened = open_environments(tmp_path, nodes)
    yield opened
    nodes.gate.set()
    opened.shut_down()


def wait(environments: NodeEnvironments) -> EnvironmentState:
    """The state when nothing is being built."""
    environments.look(KEY, GLIMMER, None)
    eventually(lambda: not environments.is_building(KEY), "the end of builds")
    return environments.look(KEY, GLIMMER, None)


def where(environments: NodeEnvironments) -> list[str]:
    found = environments.packages(KEY, GLIMMER, None)
    return [] if found is None else sorted(found.nodes)


def test_packages_are_installed_once_on_each_node(environments: NodeEnvironments, nodes: Nodes, tmp_path: Path) -> None:
    nodes.gate.clear()
    assert environments.look(KEY, GLIMMER, None).status is BUILDING
    nodes.gate.set()
    for _ in range(2):
        assert wait(environments).status is READY
    assert sorted(node for node, _ in nodes.built) == ["n1", "n2"]
    assert nodes.built[0][1].requirements == ["glimmer==1.0"]
    assert nodes.built[0][1].variables == {"PIP_NO_INDEX": "1"}
    assert where(environments) == ["n1", "n2"]
    (view,) = environments.list_environments()
    assert (view.key, view.status, view.size_bytes, view.reason) == (KEY, READY, 200, None)
    log = (tmp_path / f"{KEY}.log").read_text()
    assert "red: Collecting glimmer\n" in log
    assert "--- 2026-11-30 glimmer on blue\n" in log
    assert ANSWER not in log


def test_what_the_image_says_that_it_has_is_not_installed(environments: NodeEnvironments, nodes: Nodes) -> None:
    assert environments.look(KEY, [Requirement("numpy>=1.26")], None).status is READY
    assert environments.packages(KEY, [Requirement("numpy>=1.26")], None) is None
    assert nodes.built == []


def test_what_the_image_has_without_saying_so_needs_no_volume(environments: NodeEnvironments, nodes: Nodes) -> None:
    nodes.answers = dict.fromkeys(("n1", "n2"), NodeAnswer(is_base=True))
    assert wait(environments).status is READY
    assert environments.packages(KEY, GLIMMER, None) is None
    assert environments.list_environments() == []


def test_a_node_where_it_fails_gets_no_workers_and_the_reason_is_shown(
    environments: NodeEnvironments, nodes: Nodes
) -> None:
    nodes.answers = {"n2": NodeAnswer(reason="No space left on the disk.")}
    assert wait(environments).status is READY
    assert where(environments) == ["n1"]
    (view,) = environments.list_environments()
    assert (view.status, view.reason) == (FAILED, "No space left on the disk (on blue)")


def test_failures_on_all_nodes_are_one_reason_until_it_is_tried_again(
    environments: NodeEnvironments, nodes: Nodes
) -> None:
    nodes.answers = {"n1": NodeAnswer(reason="there is no glimmer"), "n2": "it could not be started: No such image"}
    state = wait(environments)
    assert state.status is FAILED
    assert state.reason is not None
    assert "it could not be started: No such image (on blue); there is no glimmer (on red)" in state.reason
    assert f"rafiki environment log {KEY}" in state.reason
    assert len(nodes.built) == 2
    nodes.answers = {}
    environments.retry(KEY)
    assert wait(environments).status is READY


def test_a_node_that_comes_later_gets_them_while_others_work(environments: NodeEnvironments, nodes: Nodes) -> None:
    wait(environments)
    nodes.there["n3"] = "green"
    nodes.gate.clear()
    assert environments.look(KEY, GLIMMER, None).status is READY
    assert where(environments) == ["n1", "n2"]
    nodes.gate.set()
    assert wait(environments).status is READY
    assert where(environments) == ["n1", "n2", "n3"]


def test_a_node_that_failed_and_comes_back_is_tried_again(environments: NodeEnvironments, nodes: Nodes) -> None:
    nodes.answers = {"n2": "its host is lost"}
    wait(environments)
    nodes.answers, lost = {}, nodes.there.pop("n2")
    assert environments.look(KEY, GLIMMER, None).status is READY
    nodes.there["n2"] = lost
    wait(environments)
    assert where(environments) == ["n1", "n2"]


def test_where_a_worker_missed_its_packages_they_are_installed_again(
    environments: NodeEnvironments, nodes: Nodes
) -> None:
    wait(environments)
    environments.doubt("n1")
    assert where(environments) == ["n2"]
    wait(environments)
    assert sorted(node for node, _ in nodes.built) == ["n1", "n1", "n2"]


def test_another_image_has_environments_of_its_own(environments: NodeEnvironments, nodes: Nodes) -> None:
    wait(environments)
    nodes.image_id = "sha256:2"
    wait(environments)
    assert len({request.folder for _, request in nodes.built}) == 2


def test_a_restarted_admin_knows_what_is_where_but_no_failures(tmp_path: Path, nodes: Nodes) -> None:
    first = open_environments(tmp_path, nodes)
    nodes.answers = {"n2": NodeAnswer(reason="No space.")}
    wait(first)
    first.shut_down()
    nodes.answers = {}
    second = open_environments(tmp_path, nodes)
    assert where(second) == ["n1"]
    assert wait(second).status is READY
    second.shut_down()
    assert sorted(node for node, _ in nodes.built) == ["n1", "n2", "n2"]


def test_an_engine_that_is_silent_decides_nothing(environments: NodeEnvironments, nodes: Nodes) -> None:
    wait(environments)
    nodes.is_silent = True
    assert environments.look(KEY, GLIMMER, None).status is BUILDING


def test_what_had_to_make_room_is_built_again_when_it_is_needed(environments: NodeEnvironments, nodes: Nodes) -> None:
    wait(environments)
    folder = nodes.built[0][1].folder
    nodes.answers = {"n1": NodeAnswer(removed=[folder])}
    environments.look("f" * 16, [Requirement("shimmer==2.0")], None)
    eventually(lambda: not environments.is_building("f" * 16), "the end of builds")
    assert where(environments) == ["n2"]
    requests = [request for node, request in nodes.built if node == "n1"]
    assert folder in requests[-1].needed, "a live job needs it"
    assert folder in requests[-1].last_used


def test_a_removed_environment_goes_from_nodes_at_the_next_build_there(
    environments: NodeEnvironments, nodes: Nodes
) -> None:
    wait(environments)
    folder = nodes.built[0][1].folder
    environments.remove(KEY)
    assert environments.list_environments() == []
    environments.look("f" * 16, [Requirement("shimmer==2.0")], None)
    eventually(lambda: not environments.is_building("f" * 16), "the end of builds")
    assert all(folder in request.unwanted for _, request in nodes.built[-2:])


# ---- what runs on a node


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    for name in ("glimmer", "shimmer"):
        make_wheel(tmp_path / "wheels", name, "1.0")
    return tmp_path / "wheels"


def request_for(wheels: Path, folder: str, requirement: str, **more: object) -> NodeRequest:
    plain = {"folder": folder, "requirements": [requirement], "variables": pip_variables(wheels), **more}
    return msgspec.convert(plain, NodeRequest)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def test_a_node_keeps_what_it_has_and_makes_room_for_what_it_needs(volume: Path, wheels: Path, tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    now = utc_now()
    first = fulfil(request_for(wheels, "a", "glimmer==1.0"), volume, log)
    assert (first.reason, first.is_base) == (None, False)
    assert first.size_bytes > 0
    n_lines = len(log.read_text().splitlines())
    assert fulfil(request_for(wheels, "a", "glimmer==1.0"), volume, log).size_bytes == first.size_bytes
    assert len(log.read_text().splitlines()) == n_lines, "nothing was installed again"
    used = {"a": now, "b": now - timedelta(days=1)}
    fulfil(request_for(wheels, "b", "shimmer==1.0", last_used=used), volume, log)

    little = int(first.size_bytes * 2.5)
    third = fulfil(request_for(wheels, "c", "glimmer>=1", last_used=used, max_bytes=little), volume, log)
    assert third.removed == ["b"], "the one that was not used for the longest time"
    full = fulfil(
        request_for(wheels, "d", "shimmer>=1", last_used=used, max_bytes=little, needed=["a", "c"]), volume, log
    )
    assert full.reason is not None
    assert "environments.node_max_mb" in full.reason
    assert sorted(f.name for f in volume.iterdir()) == ["a", "c"]


def test_a_build_that_was_killed_leaves_nothing_and_one_that_fails_says_why(
    volume: Path, wheels: Path, tmp_path: Path
) -> None:
    (volume / "half" / "lib").mkdir(parents=True)
    answer = fulfil(request_for(wheels, "a", "nowhere==1.0"), volume, tmp_path / "build.log")
    assert answer.reason is not None
    assert "nowhere" in answer.reason
    assert list(volume.iterdir()) == []
    assert fulfil(request_for(wheels, "a", "numpy>=1.26"), volume, tmp_path / "build.log").is_base
