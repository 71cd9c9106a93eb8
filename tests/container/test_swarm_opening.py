"""What keeps a stack from running in a Swarm is said when it starts, in one line, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.services.container_rooms import Doorstep
from support.services.fake_engine import FakeEngine

from rafiki.container import ContainerManager, ContainerSetup, open_container_manager
from rafiki.distribution import IMAGE
from rafiki.entities import Gpu
from rafiki.errors import ConfigError, ContainerError
from rafiki.settings import ClusterConfig, Config, ContainerConfig


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    fake = FakeEngine()
    fake.images.add(IMAGE)
    yield fake
    fake.close()


def open_swarm(
    url: str, folder: Path, advertise_host: str | None = None, gpus: list[int] | None = None
) -> ContainerManager:
    config = Config(
        container=ContainerConfig(backend="swarm", engine=url, gpus=gpus),
        cluster=ClusterConfig(advertise_host=advertise_host),
    )
    setup = ContainerSetup(
        config=config, stack_root=folder, stack_id="s", run_folder=folder, log_folder=folder, model_environment={},
        door=Doorstep(),
    )  # fmt: skip
    return open_container_manager(setup)


def test_no_engine(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match=r"No Docker engine answers at unix:///nowhere.*container\.engine"):
        open_swarm("unix:///nowhere/docker.sock", tmp_path)


def test_an_engine_at_a_public_address_without_tls(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rafiki.container.swarm.find_public", lambda host: "203.0.113.7")
    with pytest.raises(ConfigError, match=r"container\.engine leads to 203\.0\.113\.7.*ssh://.*cluster\.insecure"):
        open_swarm(engine.url, tmp_path)


def test_an_engine_that_is_too_old(engine: FakeEngine, tmp_path: Path) -> None:
    engine.api_version = "1.40"
    with pytest.raises(ContainerError, match=r"too old \(API 1\.40\): Docker 20\.10"):
        open_swarm(engine.url, tmp_path)


def test_an_engine_that_is_no_manager(engine: FakeEngine, tmp_path: Path) -> None:
    engine.swarm = {"NodeID": "n1", "LocalNodeState": "active", "ControlAvailable": False}
    with pytest.raises(ContainerError, match=r"worker of its Swarm.*docker node promote"):
        open_swarm(engine.url, tmp_path)


def test_an_image_that_is_missing(engine: FakeEngine, tmp_path: Path) -> None:
    engine.images.clear()
    with pytest.raises(ContainerError, match=rf"{IMAGE} is not on the node.*rafiki image build"):
        open_swarm(engine.url, tmp_path)


def test_other_nodes_that_do_not_reach_this_machine(engine: FakeEngine, tmp_path: Path) -> None:
    engine.nodes = ["h1", "h2"]
    for host in (None, "127.0.0.1", "localhost"):
        with pytest.raises(ConfigError, match=r"2 nodes \(h1, h2\).*cluster\.advertise_host"):
            open_swarm(engine.url, tmp_path, host)
    open_swarm(engine.url, tmp_path, "10.0.0.1").close()


def test_docker_without_a_swarm_is_made_one_and_it_is_said(
    engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine.swarm = {"LocalNodeState": "inactive", "ControlAvailable": False}
    open_swarm(engine.url, tmp_path).close()
    assert engine.asked.count("POST /swarm/init") == 1
    assert "a Swarm of this one node is made" in caplog.text


def test_gpus_are_those_of_the_nodes_labels_and_of_the_setting_for_the_engines_own(
    engine: FakeEngine, tmp_path: Path
) -> None:
    engine.nodes = ["h1", "h2"]
    labels = [Gpu("h1", "1"), Gpu("h1", "GPU-7"), Gpu("h2", "2"), Gpu("h2", "GPU-7")]
    assert open_swarm(engine.url, tmp_path, "10.0.0.1").gpus() == labels
    assert open_swarm(engine.url, tmp_path, "10.0.0.1", [5]).gpus() == [Gpu("h1", "5"), *labels[2:]]
