"""The nodes of a Swarm as hosts, over an engine on paper: GPUs by label and by inventory, images, names, joining."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.services.container_rooms import Doorstep
from support.services.fake_engine import FakeEngine

from rafiki.constants import NodeRole
from rafiki.container import ContainerManager, ContainerSetup, open_container_manager
from rafiki.container.hosts import Host
from rafiki.container.inventory import FoundGpu, Inventory, count_driver_gpus, read_gpus
from rafiki.container.swarm_nodes import names_of, reserved_by_others
from rafiki.container.swarm_tasks import Node, Task
from rafiki.distribution import IMAGE
from rafiki.entities import Gpu
from rafiki.errors import InvalidNodeError, NodeInUseError
from rafiki.settings import ClusterConfig, Config, ContainerConfig
from rafiki.utils.clock import Deadline
from rafiki.utils.process import wait_until

H200 = FoundGpu(name="0", model="NVIDIA H200", memory_bytes=143771 << 20)
MB = 1 << 20
LOOK_S = 30.0


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    fake = FakeEngine()
    fake.images.add(IMAGE)
    fake.nodes = ["h1", "h2"]
    yield fake
    fake.close()


@pytest.fixture
def manager(engine: FakeEngine, tmp_path: Path) -> Iterator[ContainerManager]:
    config = Config(
        container=ContainerConfig(backend="swarm", engine=engine.url), cluster=ClusterConfig(advertise_host="10.0.0.1")
    )
    setup = ContainerSetup(
        config=config, stack_root=tmp_path, stack_id="s", run_folder=tmp_path, log_folder=tmp_path,
        model_environment={}, door=Doorstep(),
    )  # fmt: skip
    opened = open_container_manager(setup)
    yield opened
    opened.close()


def by_name(hosts: list[Host]) -> dict[str, Host]:
    return {host.name: host for host in hosts}


# ---- what nodes have


def test_gpus_are_found_by_looking_and_a_label_goes_before_what_was_found(
    engine: FakeEngine, manager: ContainerManager
) -> None:
    engine.labels = {"h1": {}, "h2": {"rafiki.gpus": "0"}}
    engine.inventories = {
        "h1": Inventory(gpus=[H200], free_disk_bytes=7),
        "h2": Inventory(gpus=[H200, msgspec.structs.replace(H200, name="1")]),
    }
    found = by_name(manager.look_at_hosts(LOOK_S))
    assert [(g.gpu, g.model, g.memory_bytes) for g in found["h1"].gpus] == [
        (Gpu("h1", "0"), "NVIDIA H200", 143771 << 20)
    ]
    # Of the two that are there, one is to be shared out.
    assert [(g.gpu, g.model) for g in found["h2"].gpus] == [(Gpu("h2", "0"), "NVIDIA H200")]
    assert manager.gpus() == [Gpu("h1", "0"), Gpu("h2", "0")]
    assert (found["h1"].free_disk_bytes, found["h1"].has_image, found["h1"].reservable_bytes) == (7, True, 8 << 30)
    # What looked is gone, and it was one for all nodes, that sees all GPUs and reserves nothing.
    assert engine.services == set()
    [spec] = engine.created
    assert spec["Mode"] == {"GlobalJob": {}}
    template = msgspec.json.encode(spec["TaskTemplate"]).decode()
    assert "NVIDIA_VISIBLE_DEVICES=all" in template
    assert "Reservations" not in template


def test_a_label_says_that_a_node_has_gpus_where_nothing_was_found(
    engine: FakeEngine, manager: ContainerManager
) -> None:
    engine.labels = {"h1": {"rafiki.gpus": ""}, "h2": {"rafiki.gpus": "0, 1"}}
    engine.inventories = {"h1": Inventory(gpus=[H200])}
    assert [g.gpu for h in manager.look_at_hosts(LOOK_S) for g in h.gpus] == [Gpu("h2", "0"), Gpu("h2", "1")]


def test_a_node_without_the_image_and_gpus_that_containers_do_not_see_are_told(
    engine: FakeEngine, manager: ContainerManager
) -> None:
    engine.inventories = {"h1": Inventory(n_hidden_gpus=2), "h2": f"No such image: {IMAGE}"}
    found = by_name(manager.look_at_hosts(LOOK_S))
    assert "2 GPUs that containers do not see" in (found["h1"].note or "")
    assert (found["h2"].has_image, found["h2"].can_fetch_image) == (False, False)


def test_a_node_that_cannot_be_looked_at_says_why(engine: FakeEngine, manager: ContainerManager) -> None:
    engine.inventories = {"h2": "mount failed"}
    found = by_name(manager.look_at_hosts(LOOK_S))
    assert "cannot be seen: mount failed" in (found["h2"].note or "")
    assert found["h2"].has_image is None


def test_a_lost_node_is_one_and_keeps_its_gpus(engine: FakeEngine, manager: ContainerManager) -> None:
    engine.states = {"h2": "down"}
    found = by_name(manager.look_at_hosts(LOOK_S))
    assert [(h.name, h.why_closed) for h in found.values()] == [("h1", None), ("h2", "is lost")]
    assert Gpu("h2", "GPU-7") in manager.gpus()


def test_a_node_that_joins_later_is_looked_at_once_somebody_has_wanted_to_know(
    engine: FakeEngine, manager: ContainerManager
) -> None:
    engine.labels = {"h1": {}, "h2": {}, "h3": {}}
    engine.inventories = {"h3": Inventory(gpus=[H200])}
    manager.look_at_hosts(LOOK_S)
    engine.nodes.append("h3")
    # As the supervisor does while jobs live.
    assert wait_until(lambda: any(h.gpus for h in manager.hosts()), Deadline(LOOK_S))


def test_nobody_looks_before_somebody_asks(engine: FakeEngine, manager: ContainerManager) -> None:
    assert [h.name for h in manager.hosts()] == ["h1", "h2"]
    assert manager.look_at_hosts(0.0)
    assert engine.created == []


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("0, NVIDIA H200, 143771\n", [H200]),
        ("0, T4, [N/A]\n1, T4, 1\n", [FoundGpu(name="0", model="T4"), FoundGpu(name="1", model="T4", memory_bytes=MB)]),
        ("No devices were found\n", []),
        ("", []),
    ],
)  # fmt: skip
def test_what_nvidia_smi_lists_is_read(listed: str, expected: list[FoundGpu]) -> None:
    assert read_gpus(listed) == expected


def test_gpus_that_the_driver_knows_are_counted(tmp_path: Path) -> None:
    assert count_driver_gpus(tmp_path / "none") == 0
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert count_driver_gpus(tmp_path) == 2


# ---- names and memory


def node(node_id: str, host: str, state: str = "ready") -> Node:
    return msgspec.convert({"ID": node_id, "Description": {"Hostname": host}, "Status": {"State": state}}, Node)


def test_a_node_that_joined_again_has_the_plain_name_and_two_of_one_name_have_none() -> None:
    assert names_of([node("aaaaaaa", "h1"), node("bbbbbbb", "h1", "down")]) == {"aaaaaaa": "h1", "bbbbbbb": "h1-bbbbb"}
    assert names_of([node("aaaaaaa", "h1"), node("bbbbbbb", "h1")]) == {"aaaaaaa": "h1-aaaaa", "bbbbbbb": "h1-bbbbb"}
    assert names_of([node("bbbbbbb", "h1", "down")]) == {"bbbbbbb": "h1"}


def test_memory_that_others_have_reserved_is_counted_until_their_tasks_end() -> None:
    def task(service: str, state: str) -> Task:
        return msgspec.convert(
            {
                "ID": "t", "ServiceID": service, "CreatedAt": "2026-11-30T10:00:00Z", "NodeID": "n1",
                "Status": {"State": state}, "Spec": {"Resources": {"Reservations": {"MemoryBytes": 100}}},
            },
            Task,
        )  # fmt: skip

    tasks = [task("theirs", "running"), task("theirs", "preparing"), task("theirs", "failed"), task("ours", "running")]
    assert reserved_by_others(tasks, {"ours": tasks[-1]}) == {"n1": 200}


# ---- joining and leaving


@pytest.mark.parametrize("address", ["127.0.0.1:2377", "[::1]:2377", ""])
def test_no_machine_is_told_to_join_a_manager_that_it_cannot_reach(
    engine: FakeEngine, manager: ContainerManager, address: str
) -> None:
    engine.manager_address = address
    assert manager.cluster is not None
    with pytest.raises(InvalidNodeError, match=r"other machines do not reach.*cluster\.advertise_host"):
        manager.cluster.join_order(NodeRole.WORKER, is_new=False)


def test_the_node_of_the_engine_is_not_removed_and_one_that_is_not_there_is_named(manager: ContainerManager) -> None:
    assert manager.cluster is not None
    with pytest.raises(NodeInUseError, match="works through the Docker engine of node h1"):
        manager.cluster.remove("h1")
    with pytest.raises(InvalidNodeError, match="no node 'h9'"):
        manager.cluster.drain("h9")
