"""How a container back end is chosen, and how packages of others add one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.services.container_rooms import ContainerRoom, ProcessRoom

from rafiki.config import check_backend
from rafiki.container import BACKENDS
from rafiki.errors import ConfigError
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
    """What an installer leaves of a package that brings a back end, and one that is broken."""
    info = tmp_path / "rockets-1.0.dist-info"
    info.mkdir()
    (tmp_path / "rockets.py").write_text(SOURCE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rockets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rafiki.containers]\nrocket = rockets:ROCKET\nbroken = rockets:NOTHING\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    BACKENDS.forget()
    yield
    sys.modules.pop("rockets", None)
    BACKENDS.forget()


class RocketRoom(ProcessRoom):
    backend = "rocket"


def test_a_package_brings_a_back_end(rocket: None, tmp_path: Path) -> None:
    room: ContainerRoom = RocketRoom(tmp_path / "stack")
    assert type(room.manager()).__name__ == "RocketContainerManager"


def test_an_unknown_back_end_is_refused_with_those_that_there_are(rocket: None) -> None:
    expected = r"rafiki.yaml, line 2: container.backend = 'swam': Unknown container back end 'swam'. There are: process, rocket"
    with pytest.raises(ConfigError, match=expected):
        check_backend("swam", "rafiki.yaml, line 2")


def test_a_back_end_that_is_broken_is_named_and_left_out(rocket: None) -> None:
    assert [name for name, _ in BACKENDS.items()] == ["process", "rocket"]
    assert [(b.name, b.package) for b in BACKENDS.broken()] == [("broken", "rockets")]
    with pytest.raises(ConfigError, match="rockets cannot be used"):
        check_backend("broken", "rafiki.yaml")


def test_editors_and_shells_are_told_what_is_registered(rocket: None) -> None:
    schema: dict[str, Any] = json.loads(json.dumps(config_schema()))
    assert schema["$defs"]["ContainerConfig"]["properties"]["backend"]["enum"] == ["process", "rocket"]
    assert "container.backend" in dict(completers.settings())

    class Typed:
        params = {"key": "container.backend"}

    values: Callable[[Any], list[tuple[str, str]]] = completers.setting_values
    assert values(Typed()) == [("process", "processes of this machine"), ("rocket", "rockets")]
    Typed.params = {"key": "admin.port"}
    assert values(Typed()) == []
