"""How stores are opened by their location, and how packages of others add a kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.data.packages import installed

from rafiki.errors import ConfigError
from rafiki.store_location import StoreLocation, find_folder, folder_location, parse_location
from rafiki.stores import STORES, open_data_store, open_param_store

SECRET = StoreLocation(url="https://me:hunter2@admin:3000/datasets?key=hunter3", credential="hunter4")


@pytest.mark.parametrize("name", ["params", "with space", "100%", "é#?"])
def test_a_folder_is_found_again_from_its_location(tmp_path: Path, name: str) -> None:
    assert find_folder(folder_location(tmp_path / name)) == tmp_path / name


def test_a_location_never_shows_what_lets_its_opener_in() -> None:
    shown = [str(SECRET), repr(SECRET), f"{[SECRET]}", str(SECRET.__rich_repr__())]
    assert not any("hunter" in text for text in shown)
    assert str(SECRET) == "https://admin:3000/datasets?..."


def test_a_location_travels_with_its_credential() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(SECRET), type=StoreLocation) == SECRET


@pytest.mark.parametrize("text", ["", "/data/params", "params", "me:hunter2@host", "folder://data/params", "folder://"])
def test_what_names_no_store_is_refused_with_the_setting(text: str) -> None:
    with pytest.raises(ConfigError, match=r"folder:///data/params") as caught:
        parse_location(text, "stores.params")
    assert "hunter" not in caught.value.message


def test_an_unknown_kind_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"tape://reel/1: Unknown kind of store 'tape'.*There are: folder"):
        open_param_store(StoreLocation(url="tape://reel/1"))


SOURCE = """
from pathlib import Path
from rafiki.param_store.folder import FolderParamStore
from rafiki.stores import StoreKind

def open_params(location):
    return FolderParamStore(Path(location.url.partition("://")[2]) / location.credential)

TAPE = StoreKind(about="a tape", open_param_store=open_params)
"""


@pytest.fixture
def tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a package that brings a kind of store keeps parameters."""
    points = "tape = tape_store:TAPE\nbroken = tape_store:NOTHING"
    with installed(tmp_path / "packages", "tape_store", SOURCE, points, STORES, monkeypatch):
        yield tmp_path / "reel"


def test_a_package_brings_a_kind_of_store(tape: Path) -> None:
    location = StoreLocation(url=f"tape://{tape}", credential="of-job-1")
    params_id = open_param_store(location).save({"x": 1})
    assert open_param_store(location).load(params_id) == {"x": 1}
    assert (tape / "of-job-1").is_dir()
    with pytest.raises(ConfigError, match="keeps no datasets"):
        open_data_store(location)


def test_a_kind_of_store_that_is_broken_is_named_and_left_out(tape: Path) -> None:
    assert [name for name, _ in STORES.items()] == ["folder", "http", "https", "http+unix", "s3", "tape"]
    assert [(b.name, b.package) for b in STORES.broken()] == [("broken", "tape_store")]
    with pytest.raises(ConfigError, match="tape_store cannot be used"):
        open_param_store(StoreLocation(url="broken://x"))
