"""How a container back end is chosen, and how packages of others add one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.data.packages import installed
from support.services.container_rooms import ContainerRoom, ProcessRoom

from rafiki.config import LoadedConfig, load_config
from rafiki.container import BACKENDS, open_container_manager
from rafiki.errors import ConfigError
from rafiki.settings import Config, ContainerConfig
from rafiki_cli.completion import completers
from rafiki_cli.jobs.schema import config_schema

SOURCE = """
from rafiki.container.base import ContainerBackend
from rafiki.container.process import ProcessContainerManager

class RocketContainerManager(ProcessContainerManager):
    pass

ROCKET = ContainerBackend(about="rockets", open=RocketContainerManager)
"""


@pytest.fixture
def rocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that brings a back end, and one that is broken."""
    points = "rocket = rockets:ROCKET\nbroken = rockets:NOTHING"
    with installed(tmp_path / "packages", "rockets", SOURCE, points, BACKENDS, monkeypatch):
        yield


class RocketRoom(ProcessRoom):
    backend = "rocket"


def test_a_package_brings_a_back_end(rocket: None, tmp_path: Path) -> None:
    room: ContainerRoom = RocketRoom(tmp_path / "stack")
    assert type(room.manager()).__name__ == "RocketContainerManager"


def load(folder: Path, backend: str) -> LoadedConfig:
    (folder / "rafiki.yaml").write_text(f"container:\n  backend: {backend}\n")
    return load_config(folder / "rafiki.yaml", environ={})


def test_an_unknown_back_end_is_refused_with_the_nearest_and_where_it_was_set(rocket: None, tmp_path: Path) -> None:
    loaded = load(tmp_path, "rokcet")
    with pytest.raises(ConfigError, match=r"rafiki.yaml, line 2: .*Did you mean 'rocket'.*process, swarm, rocket"):
        loaded.check_registered()
    load(tmp_path, "rocket").check_registered()


def test_a_back_end_that_is_broken_is_named_and_left_out(rocket: None, tmp_path: Path) -> None:
    assert [name for name, _ in BACKENDS.items()] == ["process", "swarm", "rocket"]
    assert [(b.name, b.package) for b in BACKENDS.broken()] == [("broken", "rockets")]
    with pytest.raises(ConfigError, match=r"line 2: .* of the package rockets cannot be used"):
        load(tmp_path, "broken").check_registered()


def test_a_manager_is_not_opened_for_an_unknown_back_end(rocket: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Unknown container back end 'swam'"):
        open_container_manager(
            msgspec.structs.replace(
                ProcessRoom(tmp_path / "stack").setup(), config=Config(container=ContainerConfig(backend="swam"))
            )
        )


def test_editors_and_shells_are_told_what_is_registered(rocket: None) -> None:
    schema: dict[str, Any] = json.loads(json.dumps(config_schema()))
    backend = schema["$defs"]["ContainerConfig"]["properties"]["backend"]
    assert backend["anyOf"][0] == {"enum": ["process", "swarm", "rocket"]}

    class Typed:
        params = {"key": "container.backend"}

    values: Callable[[Any], list[tuple[str, str]]] = completers.setting_values
    assert [name for name, _ in values(Typed())] == ["process", "swarm", "rocket"]
    Typed.params = {"key": "admin.port"}
    assert values(Typed()) == []
